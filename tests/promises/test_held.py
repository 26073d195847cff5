"""Deliveries that cannot be run as they are: held, named once, in nobody's way, and fixed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import sqlite_only
from tests.support.look import count, delivery, make_due, make_notices_due, notes, status
from tests.support.noting import HANDLERS
from tests.support.project import Project

TOML = """
[events]
purchased = ["coupon", "lottery"]

[handlers]
coupon = "handlers:note"
lottery = "handlers:note"
"""

WITHOUT_LOTTERY = """
[events]
purchased = ["coupon"]

[handlers]
coupon = "handlers:note"
"""


def test_an_unknown_handler_is_held_until_it_is_back(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "purchased", "a")
    project.run("emit", "-q", "--defer", "purchased", "b")
    project.write(WITHOUT_LOTTERY)
    # Another events.toml may know the handler: it is reported with the next minute's sweep.
    assert project.run("sweep").stdout == ""
    make_notices_due(project)
    sent = project.run("sweep", check=1)
    assert sent.stdout.count("lottery: 2 deliveries of purchased are held") == 1
    assert "handler 'lottery' is not in events.toml" in sent.stdout
    assert 'Add the handler "lottery" back to [handlers]' in " ".join(sent.stdout.split())
    assert notes(project) == ['["a"]', '["b"]']
    assert delivery(project, "lottery")[1:4] == ("pending", "unknown handler", 0)
    assert status(project) == 1
    # It is checked again and again, but reported once.
    for _ in range(2):
        make_due(project)
        quiet = project.run("sweep")
        assert (quiet.stdout, quiet.stderr) == ("", "")
    project.write(TOML)
    make_due(project)
    project.run("sweep")
    assert notes(project, "lottery") == ['["a"]', '["b"]']
    assert delivery(project, "lottery")[1:4] == ("done", None, 1)
    assert [status(project, 1), status(project, 2)] == [2, 2]


def test_a_held_delivery_is_looked_at_again_within_a_minute(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "purchased", "a")
    project.write(WITHOUT_LOTTERY)
    project.run("sweep")
    swept = project.value("SELECT MAX(ended_at) FROM eventctl_sweep")
    assert project.value("SELECT due_at FROM eventctl_notice") <= swept + 50_000
    due_at = delivery(project, "lottery").due_at
    assert due_at is not None
    assert 30_000 < due_at - swept <= 50_000


DAMAGES = ("", "[", "7", '"text"', "null", "[1] [2]", "not JSON \x1b[31m", "[" * 50_000)


def test_damaged_args_are_held_until_they_are_fixed(project: Project) -> None:
    project.write(TOML, HANDLERS)
    events = [*(json.dumps({"name": "purchased", "args": [n]}) for n in range(len(DAMAGES)))]
    project.run("emit", "-q", "--batch", "-", input="\n".join(events))
    for number, damage in enumerate(DAMAGES):
        project.execute("UPDATE eventctl_event SET args = ? WHERE id = ?", damage, number + 1)
    project.run("emit", "-q", "--defer", "purchased", "good")
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert "16 deliveries are held (coupon, lottery)" in sent.stdout
    assert "\x1b" not in sent.stdout
    assert notes(project) == ['["good"]', '["good"]']
    for number in range(len(DAMAGES)):
        held = delivery(project, "coupon", number + 1)
        assert held[1:4] == ("pending", "damaged args", 0)
    for _ in range(2):
        make_due(project)
        assert project.run("sweep").stdout == ""
    project.execute("""UPDATE eventctl_event SET args = '["fixed"]' WHERE id < 9""")
    make_due(project)
    project.run("sweep")
    assert notes(project).count('["fixed"]') == 16
    assert project.value("SELECT COUNT(*) FROM eventctl_event WHERE status <> 2") == 0


@sqlite_only
@pytest.mark.parametrize("bad", ["args", "name", "key"])
def test_bytes_that_are_not_utf8_block_nothing(project: Project, bad: str) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "purchased", "bad")
    project.run("emit", "-q", "--defer", "purchased", "good")
    was = project.value(f"SELECT `{bad}` FROM eventctl_event WHERE id = 1")
    project.execute(f"UPDATE eventctl_event SET `{bad}` = CAST(X'5B22FF225D' AS TEXT) WHERE id = 1")
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert notes(project).count('["good"]') == 2
    assert "is held" in sent.stdout
    assert delivery(project, "coupon")[1:4] == ("pending", "damaged args", 0)
    make_due(project)
    assert project.run("sweep").stdout == ""
    project.execute(f"UPDATE eventctl_event SET `{bad}` = ? WHERE id = 1", was)
    make_due(project)
    project.run("sweep")
    assert notes(project).count('["bad"]') == 2


@sqlite_only
def test_a_handlers_name_that_is_not_utf8_blocks_nothing(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "purchased", "a")
    project.execute(
        "UPDATE eventctl_delivery SET handler = CAST(X'FF' AS TEXT) WHERE handler = 'coupon'"
    )
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert "held" in sent.stdout
    assert notes(project) == ['["a"]']
    make_due(project)
    assert project.run("sweep").stdout == ""


def test_an_event_whose_row_is_gone_blocks_nothing(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "purchased", "gone")
    project.run("emit", "-q", "--defer", "purchased", "there")
    project.execute("DELETE FROM eventctl_event WHERE id = 1")
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert "its event's row is gone" in sent.stdout
    assert notes(project) == ['["there"]', '["there"]']
    make_due(project)
    assert project.run("sweep").stdout == ""
    # Who deletes by hand may delete the rest by hand, and is heard of no more.
    project.execute("DELETE FROM eventctl_delivery WHERE event_id = 1")
    assert "2 problems resolved" in project.run("sweep").stdout
    assert count(project, "notice") == 0


def test_a_notice_whose_delivery_is_gone_blocks_no_report(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "purchased", "a")
    project.write(WITHOUT_LOTTERY)
    project.execute(
        "INSERT INTO eventctl_notice (kind, delivery_id, created_at, due_at)"
        " VALUES ('exhausted', 999, 1, 1)"
    )
    project.run("sweep")
    make_notices_due(project)
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert "lottery: 1 delivery of purchased is held" in sent.stdout
    assert project.run("sweep").stdout == ""


SHOP = '[events]\nbought = ["ship"]\n[handlers]\nship = { call = "handlers:note"%s }\n'
CLINIC = '[events]\nadmitted = ["greet"]\n[handlers]\ngreet = "handlers:%s"\n'


@pytest.fixture
def clinic(project: Project, tmp_path: Path) -> Iterator[Project]:
    """Another application, with an events.toml of its own, on the store of `project`."""
    project.write(SHOP % "", HANDLERS)
    other = Project(tmp_path / "clinic", project.server)
    other.database = project.database
    other.write(CLINIC % "note", HANDLERS)
    text = other.config.read_text()
    other.config.write_text(text.replace("events.db", str(project.folder / "events.db")))
    try:
        yield other
    finally:
        other.close()


def test_two_events_toml_on_one_store_hold_nothing_up(project: Project, clinic: Project) -> None:
    for number in range(3):
        project.run("emit", "-q", "--defer", "bought", str(number))
        clinic.run("emit", "-q", "--defer", "admitted", str(number))
        # Each one's sweep finds first what only the other can run, and nobody hears of that.
        for each in (clinic, project, clinic):
            done = each.run("sweep")
            assert (done.stdout, done.stderr) == ("", "")
    for each in (project, clinic):
        assert notes(each) == ['["0"]', '["1"]', '["2"]']
    make_notices_due(project)
    for each in (project, clinic):
        assert each.run("sweep").stdout == ""
    assert count(project, "incident") == 0
    assert "OK" in project.run("check").stdout


def test_one_does_not_shorten_the_waits_of_the_other(project: Project, clinic: Project) -> None:
    retry = ', retry = { attempts = 9, delay = "30d", max_delay = "90d", jitter = 0 }'
    project.write(SHOP.replace("note", "fail") % retry)
    project.run("emit", "-q", "bought")
    due_at = delivery(project, "ship").due_at
    for _ in range(2):
        clinic.run("sweep")
    assert delivery(project, "ship")[1:5] == ("pending", None, 1, due_at)


def test_one_does_not_hold_the_probes_of_the_other(project: Project, clinic: Project) -> None:
    project.write("[sweep]\nbreaker = 2\n" + SHOP.replace("note", "fail") % "")
    for _ in range(4):
        project.run("emit", "-q", "--defer", "bought")
    project.run("sweep", "--jobs", "1")
    assert count(project, "breaker") == 1
    make_due(project)
    clinic.run("sweep")
    project.write(SHOP % "")
    project.run("sweep")
    assert len(notes(project, "ship")) == 4


def test_a_host_with_an_older_events_toml_alarms_nobody(project: Project, clinic: Project) -> None:
    """As while a new release is installed on one host after another."""
    clinic.write(CLINIC % "note")
    text = clinic.config.read_text()
    clinic.config.write_text(text.replace("events.db", str(project.folder / "events.db")))
    project.run("emit", "-q", "--defer", "bought", "new")
    assert clinic.run("sweep").stdout == ""
    text = project.config.read_text().replace("events.db", str(project.folder / "events.db"))
    clinic.config.write_text(text)
    assert clinic.run("sweep").stdout == ""
    assert notes(clinic) == ['["new"]']
    make_notices_due(project)
    assert clinic.run("sweep").stdout == ""
