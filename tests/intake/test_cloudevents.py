"""CloudEvents 1.0: what `list` writes and commands are given, and what `emit --batch` reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from eventctl.errors import UsageError
from eventctl.intake.cloudevents import read
from tests.support.databases import sqlite_only
from tests.support.look import count, script
from tests.support.project import Project

TOML = """
redact = ["card"]
[events]
purchased = ["ok"]
"user.signed_up" = ["ok", "never"]
[handlers]
ok = "handlers:ok"
never = "handlers:never"
"""

HANDLERS = """
def ok(*args, **fields):
    pass


def never(*args, **fields):
    raise ConnectionError("down")
"""


def parsed(line: str) -> CloudEvent:
    """Read a line as the SDK of CloudEvents does; it refuses what is none."""
    event = JSONFormat().read(None, line)
    assert isinstance(event, CloudEvent)
    return event


def written(attributes: dict[str, Any], data: Any) -> str:
    """Return a CloudEvent as the SDK writes it."""
    return JSONFormat().write(CloudEvent(attributes, data)).decode() + "\n"


def test_what_list_writes_is_read_by_the_sdk(project: Project) -> None:
    project.write(TOML, HANDLERS, store='source = "https://example.com/shop"\n')
    project.run("emit", "purchased", "--key", "order-17", "--json", '["user Ä😀", 5000, null]')
    project.run("emit", "user.signed_up", "--json", '{"user": "A", "card": "4111-1111"}')
    project.execute("UPDATE eventctl_event SET created_at = 1795396271000 WHERE id = 1")
    done = project.run("list", "--format", "cloudevents")
    purchased, signed_up = sorted(map(parsed, done.stdout.splitlines()), key=CloudEvent.get_type)
    assert purchased.get_attributes() == {
        "specversion": "1.0",
        "id": "order-17",
        "source": "https://example.com/shop",
        "type": "purchased",
        "time": datetime(2026, 11, 23, 1, 11, 11, tzinfo=UTC),
        "datacontenttype": "application/json",
        "eventctlid": "1",
        "eventctlstatus": "processed",
        "eventctlexpected": 1,
        "eventctldone": 1,
    }
    data: object = purchased.get_data()
    assert data == ["user Ä😀", 5000, None]
    assert signed_up.get_type() == "user.signed_up"
    assert signed_up.get_data() == {"user": "A", "card": "••••"}
    extensions = ("eventctlstatus", "eventctlexpected", "eventctldone")
    assert [signed_up.get_extension(name) for name in extensions] == ["timeout", 2, 1]


@sqlite_only
def test_damaged_args_are_text_and_a_source_is_there_without_one_in_the_file(
    project: Project,
) -> None:
    project.write(TOML.replace("redact", "# redact"), HANDLERS)
    project.run("emit", "--defer", "purchased")
    project.execute("UPDATE eventctl_event SET args = '[1, '")
    event = parsed(project.run("list", "--format", "cloudevents").stdout)
    assert (event.get_data(), event.get_datacontenttype()) == ("[1, ", "text/plain")
    assert event.get_source().startswith("/eventctl/")


def test_what_the_sdk_writes_is_read_by_emit_batch(project: Project) -> None:
    project.write(TOML, HANDLERS, store='source = "/shop"\n')
    about = {"type": "purchased", "source": "/tills/4", "subject": "till", "tillcolour": "red"}
    lines = (
        written(about | {"id": "1"}, {"user": "A", "amount": 5})
        + written(about | {"id": "1"}, {"user": "the same again"})
        + written(about | {"id": "1", "source": "/tills/5"}, ["A", 5])
        + written(about | {"id": "2"}, "text")
        + written(about | {"id": "3", "datacontenttype": "text/xml"}, "<x/>")
        + written(about | {"id": "4"}, None)
        + written(about | {"id": "5", "source": "/shop"}, [1])
        + written(about | {"id": "x" * 300}, [2])
        + '{"name": "purchased", "args": ["our own form"], "key": "5"}\n'
    )
    ids = project.run("emit", "--batch", "-", input=lines).stdout.split()
    assert ids[0] == ids[1]  # source and id are the identity
    assert ids[6] == ids[8]  # of our own source the id is the key
    stored = {key: json.loads(args) for key, args in project.rows(
        "SELECT `key`, args FROM eventctl_event"
    )}  # fmt: skip
    long_ones = [key for key in stored if key.startswith("cloudevent-")]
    assert stored.pop(long_ones[0]) == [2]
    assert stored == {
        "/tills/4 1": {"user": "A", "amount": 5},
        "/tills/5 1": ["A", 5],
        "/tills/4 2": ["text"],
        "/tills/4 3": ["<x/>"],
        "/tills/4 4": [],
        "5": [1],
    }
    project.run("emit", "--batch", "-", input=lines)
    assert count(project, "event") == 7


@sqlite_only
def test_a_store_reads_what_it_has_written_and_records_nothing_twice(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "--defer", "purchased", "--json", '{"user": "A"}')
    line = project.run("list", "--format", "cloudevents").stdout
    assert project.run("emit", "--batch", "-", input=line).stdout == "1\n"
    assert count(project, "event") == 1


def test_data_of_every_sort_becomes_args() -> None:
    about = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
    for data, args in (([1], [1]), ({"a": 1}, {"a": 1}), (None, [None]), ("x", ["x"]), (5, [5])):
        assert json.loads(read(about | {"data": data}, json.dumps(data), "/")[1]) == args
    assert read(about, "", "/") == ("t", "[]", "/s 1")
    empty = {"data_base64": None, "time": None, "datacontenttype": None}
    assert read(about | empty, "", "/")[1] == "[]"
    assert read(about | {"data": 1.1}, "1.10", "/")[1] == "[1.10]"
    # A text, and not JSON in it.
    assert read(about | {"data": "[1]"}, '"[1]"', "/")[1] == '["[1]"]'


@pytest.mark.parametrize(
    ("changed", "sent"),
    [
        ({"specversion": "0.3"}, "specversion '0.3'; only '1.0' is read"),
        ({"specversion": 1.0}, "specversion 1.0;"),
        ({"id": ""}, '"id", a string'),
        ({"source": None}, '"source", a string'),
        ({"type": 5}, '"type", a string'),
        ({"data_base64": "AAAA"}, "binary data"),
        ({"data": [1], "datacontenttype": "text/xml"}, "is not a string, as its datacontenttype"),
        ({"data": [1], "datacontenttype": 7}, '"datacontenttype" is not a string'),
    ],
)
def test_what_is_no_cloudevent_that_can_be_read(changed: dict[str, Any], sent: str) -> None:
    about = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"} | changed
    with pytest.raises(UsageError) as caught:
        read(about, "", "/")
    assert sent in str(caught.value)
    assert "\n" not in str(caught.value)


@sqlite_only
def test_one_bad_line_is_named_and_nothing_is_recorded(project: Project) -> None:
    project.write(TOML, HANDLERS)
    good = written({"type": "purchased", "source": "/s", "id": "1"}, [1])
    done = project.run("emit", "--batch", "-", input=good + good.replace('"1.0"', '"2.0"'), check=2)
    assert "stdin, line 2: a CloudEvent of specversion '2.0'" in done.stderr
    done = project.run("emit", "--batch", "-", input=good.replace("purchased", "sold"), check=2)
    assert "no event 'sold'" in done.stderr
    project.run("sweep")
    assert count(project, "event") == 0


@sqlite_only
def test_a_command_that_asks_for_it_gets_a_cloudevent(project: Project) -> None:
    project.write(
        """
        [events]
        purchased = ["cloud", "plain"]
        [handlers]
        cloud = { command = ["./keep"], format = "cloudevents" }
        plain = { command = ["./keep"] }
        """,
        store='source = "/shop"\n',
    )
    script(project.folder / "keep", '#!/bin/sh\ncat >"$EVENTCTL_HANDLER.json"\n')
    project.run("emit", "purchased", "--key", "k1", "--json", '{"user": "A"}', "--strict")
    event = parsed((project.folder / "cloud.json").read_text())
    assert (event.get_id(), event.get_source(), event.get_type()) == ("k1", "/shop", "purchased")
    assert event.get_data() == {"user": "A"}
    extensions = ("eventctlid", "eventctlhandler", "eventctlattempt")
    assert [event.get_extension(name) for name in extensions] == ["1", "cloud", 1]
    plain = json.loads((project.folder / "plain.json").read_text())
    assert (plain["eventName"], plain["args"]) == ("purchased", {"user": "A"})


@sqlite_only
def test_mistakes_in_events_toml(project: Project) -> None:
    project.write(
        '[handlers]\nx = { call = "a:b", format = "cloudevents" }\n'
        'y = { command = ["/bin/true"], format = "xml" }\n',
        store='source = "two words"\n',
    )
    lines = project.run("list", check=78).stderr.splitlines()
    assert [line.partition("events.toml: ")[2] for line in lines] == [
        'store.source: is not a URI reference; write one such as "/shop/db1" or'
        ' "https://example.com/shop"',
        "handlers.x.format: is for a command, and this is a call; remove it; only a command"
        " is given the event as JSON",
        'handlers.y.format: is "xml"; write "eventctl" or "cloudevents"',
    ]
