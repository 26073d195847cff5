"""Documents for Elasticsearch, in an emulator of it (noida-db): not in the real one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from eventctl.alerts.channels import elasticsearch
from eventctl.config.model import Alert
from scripts import kibana_files
from tests.support import servers
from tests.support.hostile import HOSTILE, assert_harmless
from tests.support.incidents import (
    ERROR,
    HOUR,
    KEY,
    NOON,
    TOKEN,
    TRACEBACK,
    alert,
    digest,
    many,
    named,
    notice,
    one,
    refusal,
    texts,
)
from tests.support.receiver import Receiver


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Api]:
    with servers.elasticsearch(tmp_path_factory.mktemp("elasticsearch")) as api:
        # What the documentation says to load first.
        template = json.loads((kibana_files.FOLDER / "index-template.json").read_text())
        template.pop("data_stream")  # The emulator has none: it makes an index of that name.
        api.ask("PUT", "/_index_template/eventctl", template)
        yield api


def sent(emulator: servers.Api, name: str, **more: Any) -> Alert:
    return alert("elasticsearch", emulator.url, index=f"eventctl-{name}", **more)


def documents(emulator: servers.Api, name: str) -> dict[str, Any]:
    """Return the documents of an index, by their ids."""
    emulator.ask("POST", f"/eventctl-{name}/_refresh")
    found = emulator.get(f"/eventctl-{name}/_search?size=1000")
    return {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]}


def test_an_incident_is_a_document_in_the_names_of_ecs(emulator: servers.Api) -> None:
    elasticsearch.send(sent(emulator, "one"), one(sequence=2))
    prog = "/opt/eventctl/bin/eventctl --config /etc/eventctl/events.toml"
    assert documents(emulator, "one") == {
        f"{KEY}-2": {
            "@timestamp": "2026-11-23T12:00:01.500Z",
            "ecs": {"version": "8.11.0"},
            "message": f"lottery: 3 deliveries of purchased ran out of retries: {ERROR}",
            "event": {
                "kind": "alert",
                "module": "eventctl",
                "dataset": "eventctl.incident",
                "action": "exhausted",
                "outcome": "failure",
                "severity": 3,
                "start": "2026-11-23T12:00:00.000Z",
                "id": f"{KEY}-2",
            },
            "error": {
                "id": one().incidents[0].fingerprint,
                "type": "ConnectionRefusedError",
                "message": ERROR,
                "stack_trace": TRACEBACK.strip(),
            },
            "service": {"name": "eventctl", "type": "eventctl"},
            "host": {"name": "web1", "hostname": "web1"},
            "labels": {
                "kind": "exhausted",
                "handler": "lottery",
                "severity": "critical",
                "incident": KEY,
            },
            "eventctl": {
                "sequence": 2,
                "count": 3,
                "cancelled": 0,
                "given_up": 0,
                "attempts": 8,
                "event_ids": [42, 57, 91],
                "event_names": ["purchased"],
                "output": "trying db1\nfailed",
                "look": f"{prog} show 42",
                "replay": f"{prog} replay --incident 0f3c9a7b12",
                "advice": "Once the cause is fixed, let the next sweep run them again:",
                "config": "/etc/eventctl/events.toml",
            },
        }
    }


def test_what_has_recovered_has_its_end_and_how_long_it_took(emulator: servers.Api) -> None:
    elasticsearch.send(sent(emulator, "back"), one(ended=NOON + 2 * HOUR))
    (found,) = documents(emulator, "back").values()
    assert found["@timestamp"] == found["event"]["end"] == "2026-11-23T14:00:00.000Z"
    assert found["event"]["duration"] == 2 * 3600 * 10**9
    assert (found["event"]["action"], found["event"]["outcome"]) == ("resolved", "success")
    assert found["eventctl"]["replay"] is None


def test_what_was_given_up_has_its_end_too(emulator: servers.Api) -> None:
    for number, left in enumerate(({"given_up": 1}, {"cancelled": 3})):
        over = named(one(), key=f"{KEY}{number}", kind="failed", ended_at=NOON + HOUR, **left)
        elasticsearch.send(sent(emulator, "given-up"), over)
    found = [each["event"] for each in documents(emulator, "given-up").values()]
    assert [each["duration"] for each in found] == [3600 * 10**9] * 2
    assert {(each["action"], each["outcome"]) for each in found} == {("ended", "failure")}


def test_what_is_sent_again_makes_no_second_document(emulator: servers.Api) -> None:
    for _ in range(3):
        elasticsearch.send(sent(emulator, "again"), many(4))
    elasticsearch.send(sent(emulator, "again"), many(6))  # a part of it is there
    assert len(documents(emulator, "again")) == 6
    elasticsearch.send(sent(emulator, "again"), named(many(4), sequence=1))
    assert len(documents(emulator, "again")) == 10


def test_a_thousand_incidents_are_one_call(emulator: servers.Api) -> None:
    elasticsearch.send(sent(emulator, "many"), many(1000, traceback=TRACEBACK))
    assert len(documents(emulator, "many")) == 1000


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_text_of_others_is_data(emulator: servers.Api, number: int) -> None:
    evil = HOSTILE[number]
    odd = notice(handler=evil, name=evil, error=evil, traceback=evil, output=evil)
    elasticsearch.send(sent(emulator, f"evil{number}"), named(digest(odd, host=evil)))
    (found,) = documents(emulator, f"evil{number}").values()
    for text in texts(found):
        assert_harmless(text)


@pytest.mark.parametrize(
    ("error", "type_"),
    [
        ("KeyError: 'x'", "KeyError"),
        ("shop.errors.OutOfStock: no more", "shop.errors.OutOfStock"),
        ("KeyboardInterrupt", "KeyboardInterrupt"),
        ("exit code 3", None),
        ("timed out after 5 m", None),
        ("Killed by signal 9: it ran out of memory", None),
        ("", None),
    ],
)
def test_a_type_is_reported_where_the_error_has_one(error: str, type_: str | None) -> None:
    found = one(error=error)
    shown = elasticsearch.document(found, found.incidents[0])["error"]
    assert shown.get("type") == type_


# --- what is answered, by a server of the test's


def answering(body: Any, status: int = 200, **more: Any) -> str:
    """Return why an answer to three documents was not taken for a good one."""
    coded = body if isinstance(body, bytes) else json.dumps(body).encode()
    server = Receiver((status, coded))
    try:
        return refusal(elasticsearch.send, alert("elasticsearch", server.url(), **more), many(3))
    finally:
        server.close()


def items(*statuses: int, **error: str) -> dict[str, Any]:
    return {
        "errors": True,
        "items": [
            {"create": {"status": status, **({"error": error} if status > 299 else {})}}
            for status in statuses
        ],
    }


def test_a_document_that_is_refused_is_an_error() -> None:
    line = answering(items(201, 400, 429, type="document_parsing", reason="no\x1b number"))
    assert line.endswith(r": it refused 2 of 3 documents: document_parsing: no\x1b number")
    assert answering(items(201, 409, 500)).endswith("it refused 1 of 3 documents: status 500")
    plain = {"items": [{"create": {"status": 413, "error": "too large"}}] * 3}
    assert answering(plain).endswith("it refused 3 of 3 documents: too large")
    bare = {"items": [{"create": {"status": 1e999}}] * 3}
    assert answering(bare).endswith("it refused 3 of 3 documents: status inf")


def test_a_secret_in_a_refusal_is_not_reported_wherever_the_line_is_cut() -> None:
    for length in range(200, 360, 8):
        answering(items(400, 400, 400, type="x", reason="y" * length + TOKEN), secret=TOKEN)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"ok",
        b"<html>",
        b"[" * 60_000,
        [],
        7,
        {"items": [{"create": 1}] * 3},
        {"errors": False},
        {"items": [{}]},
        {"items": 3},
        items(201, 201),
    ],
)
def test_an_answer_that_is_not_of_bulk_is_an_error(body: Any) -> None:
    assert "its answer is " in answering(body)


def test_a_key_that_is_refused_is_not_reported() -> None:
    said = {"error": {"type": "security_exception", "reason": f"unable to use [{TOKEN}]"}}
    line = answering(said, 401, secret=TOKEN)
    assert "it answered 401 Unauthorized: " in line
    assert "security_exception" in line


def test_the_key_the_index_and_the_path_are_those_of_events_toml() -> None:
    server = Receiver((200, json.dumps(items(201)).encode()))
    try:
        url = server.url("/es/", login="me:word@")
        elasticsearch.send(alert("elasticsearch", url, index="a/b c"), one())
        elasticsearch.send(alert("elasticsearch", url, secret=TOKEN), one())
    finally:
        server.close()
    first, second = server.requests
    assert first.path.startswith("/es/a%2Fb%20c/_bulk?filter_path=")
    assert first.headers["content-type"] == "application/x-ndjson"
    assert base64.b64decode(first.headers["authorization"].split()[1]) == b"me:word"
    assert second.headers["authorization"] == f"ApiKey {TOKEN}"


# --- the files for Elasticsearch and Kibana


def test_the_files_are_those_that_the_script_writes() -> None:
    for name, content in kibana_files.files().items():
        there = (kibana_files.FOLDER / name).read_text(encoding="utf-8")
        assert there == content, f"run: python scripts/kibana_files.py, for {name}"


def test_every_field_of_a_document_has_a_type_in_the_template() -> None:
    found = one(ended=NOON + HOUR)
    shown = elasticsearch.document(found, found.incidents[0])
    assert set(_fields(shown)) == set(kibana_files.MAPPINGS)


def _fields(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _fields(item, f"{name}.{key}" if name else key)
    else:
        yield name


def test_every_reference_of_kibanas_objects_is_to_one_of_them() -> None:
    objects = [json.loads(line) for line in _ndjson()]
    there = {(each["type"], each["id"]) for each in objects}
    assert {kind for kind, _ in there} == {"index-pattern", "search", "dashboard"}
    for each in objects:
        for reference in each["references"]:
            assert (reference["type"], reference["id"]) in there


def _ndjson() -> list[str]:
    return (kibana_files.FOLDER / "kibana.ndjson").read_text(encoding="utf-8").splitlines()


def _panels() -> list[Any]:
    (dashboard,) = (each for each in map(json.loads, _ndjson()) if each["type"] == "dashboard")
    names = {reference["name"] for reference in dashboard["references"]}
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    for panel in panels:
        inner = panel["embeddableConfig"].get("attributes", {}).get("references", [])
        wanted = [each["name"] for each in inner] or [panel["panelRefName"]]
        assert {f"{panel['panelIndex']}:{name}" for name in wanted} <= names
    return list(panels)


def test_the_panels_of_the_dashboard_lie_beside_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in _panels():
        grid = panel["gridData"]
        assert grid["x"] + grid["w"] <= 48  # so wide is Kibana's grid
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken
        taken |= cells
    assert len({y for _, y in taken}) * 48 == len(taken), "there is a hole"


def test_the_dashboard_asks_for_fields_that_are_there_and_shows_columns_that_are() -> None:
    for panel in _panels():
        if panel["type"] != "lens":
            continue
        state = panel["embeddableConfig"]["attributes"]["state"]
        ((name, layer),) = state["datasourceStates"]["formBased"]["layers"].items()
        columns = layer["columns"]
        assert sorted(layer["columnOrder"]) == sorted(columns)
        shown = json.dumps(state["visualization"])
        assert all(f'"{column}"' in shown for column in columns)
        assert f'"layerId": "{name}"' in shown
        for column in columns.values():
            assert column["sourceField"] in kibana_files.MAPPINGS


def test_what_the_dashboard_counts_is_so(emulator: servers.Api) -> None:
    """By the aggregations that Kibana makes of its panels."""
    over = named(one(), key="over", ended_at=NOON + 2 * HOUR)
    for each in (many(3), named(many(3), sequence=1), over):
        elasticsearch.send(sent(emulator, "board"), each)
    emulator.ask("POST", "/eventctl-board/_refresh")
    found = emulator.ask(
        "POST",
        "/eventctl-board/_search?size=0",
        {
            "aggs": {
                "incidents": {"cardinality": {"field": "labels.incident"}},
                "mttr": {
                    "filter": {"term": {"event.action": "resolved"}},
                    "aggs": {"mean": {"avg": {"field": "event.duration"}}},
                },
                "handlers": {
                    "terms": {"field": "labels.handler"},
                    "aggs": {"most": {"max": {"field": "eventctl.count"}}},
                },
            }
        },
    )["aggregations"]
    assert found["incidents"]["value"] == 4
    assert found["mttr"]["mean"]["value"] == 2 * 3600 * 10**9
    handlers = {each["key"]: each["most"]["value"] for each in found["handlers"]["buckets"]}
    assert handlers == {"h1": 1, "h2": 1, "h3": 1, "lottery": 3}
