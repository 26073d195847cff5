"""`emit --batch`: many events from JSON Lines, all of a file or none of it."""

from __future__ import annotations

import json

import pytest

from tests.support.databases import sqlite_only
from tests.support.look import count, notes
from tests.support.noting import HANDLERS
from tests.support.project import Project

TOML = """
[events]
purchased = ["coupon", "lottery"]
noted = ["note"]

[handlers]
coupon = "handlers:note"
lottery = "handlers:note"
note = "handlers:note"
"""


def lines(*events: object) -> str:
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)


def test_five_thousand_lines_in_their_order(project: Project) -> None:
    project.write(TOML, HANDLERS)
    batch = project.folder / "batch.jsonl"
    batch.write_text(lines(*({"name": "purchased", "args": [f"user {n}", n]} for n in range(5000))))
    done = project.run("emit", "--batch", "batch.jsonl")
    assert done.stderr == ""
    ids = [int(line) for line in done.stdout.split()]
    assert len(set(ids)) == 5000
    stored = dict(project.rows("SELECT id, args FROM eventctl_event"))
    assert [json.loads(stored[event]) for event in ids] == [[f"user {n}", n] for n in range(5000)]
    assert ids == sorted(ids)
    assert count(project, "delivery") == 10_000
    assert project.value("SELECT COUNT(*) FROM eventctl_delivery WHERE state <> 'pending'") == 0


def test_from_stdin_with_objects_lists_blank_lines_and_no_args(project: Project) -> None:
    project.write(TOML, HANDLERS)
    batch = lines({"name": "noted", "args": {"user": "Ä😀"}}, {"name": "noted"})
    batch += (
        '\n   \n{"name": "noted", "args": ["a\\u0000b"], "key": null}'  # no line feed at its end
    )
    assert project.run("emit", "--batch", "-", input=batch).stdout == "1\n2\n3\n"
    project.run("sweep")
    assert [json.loads(note) for note in notes(project)] == [[{"user": "Ä😀"}], [], ["a\0b"]]


def test_an_empty_file_is_no_mistake(project: Project) -> None:
    project.write(TOML, HANDLERS)
    done = project.run("emit", "--batch", "-", input="\n")
    assert (done.stdout, done.stderr) == ("", "")
    assert count(project, "event") == 0


def test_keys_are_recorded_once_in_the_batch_and_in_the_store(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "--defer", "--key", "old", "noted", "before")
    batch = lines(
        {"name": "noted", "args": ["b"], "key": "new"},
        {"name": "noted", "args": ["c"], "key": "old"},
        {"name": "noted", "args": ["d"], "key": "new"},
        {"name": "noted", "args": ["e"]},
        {"name": "noted", "args": ["f"], "key": "New"},
    )
    first = project.run("emit", "--batch", "-", input=batch).stdout.split()
    assert first[1] == "1"
    assert first[0] == first[2]
    assert len(set(first)) == 4
    # A batch that was cut off may be given again: what is there has its id already.
    second = project.run("emit", "--batch", "-", input=batch).stdout.split()
    assert second[:3] + second[4:] == first[:3] + first[4:]
    project.run("sweep")
    assert sorted(notes(project)) == ['["b"]', '["before"]', '["e"]', '["e"]', '["f"]']


def test_two_batches_with_the_same_keys_at_once(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "--defer", "noted")
    batch = project.folder / "batch.jsonl"
    for turn in range(3):
        batch.write_text(lines(*({"name": "noted", "key": f"{turn} {n}"} for n in range(1500))))
        emitting = [project.start("emit", "--batch", "batch.jsonl") for _ in range(3)]
        said = [process.communicate(timeout=60) for process in emitting]
        assert [err for _, err in said] == ["", "", ""]
        assert [process.returncode for process in emitting] == [0, 0, 0]
        assert said[0] == said[1] == said[2]
    assert count(project, "event") == count(project, "delivery") == 1 + 3 * 1500


def test_a_delay_is_for_all_of_them(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--delay", "1h", "--batch", "-", input=lines({"name": "noted"}) * 2)
    rows = project.rows(
        "SELECT d.due_at - e.created_at FROM eventctl_delivery d"
        " JOIN eventctl_event e ON e.id = d.event_id"
    )
    assert rows == [(3_600_000,), (3_600_000,)]
    project.run("sweep")
    assert notes(project) == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("{", "not JSON"),
        ('["noted"]', "not an object"),
        ('{"name": "notd"}', "did you mean 'noted'?"),
        ('{"name": 7}', '"name" must be a string'),
        ("{}", '"name" must be a string'),
        ('{"name": "noted", "args": "a"}', '"args" must be a list or an object'),
        ('{"name": "noted", "arg": []}', "unknown field 'arg'"),
        ('{"eventName": "noted", "id": 1}', "jq -c '{name: .eventName, args, key}'"),
        ('{"name": "noted", "key": 7}', '"key" must be a string'),
        ('{"name": "noted", "key": ""}', "a key has 1 to 191 characters"),
        ('{"name": "noted", "key": "order 7 "}', "no space at either end"),
        ('{"name": "noted", "args": ["' + "x" * 1_000_001 + '"]}', "max_args"),
        ('{"name": "noted", "args": [NaN]}', "JSON"),
        ("[" * 100_000, "not JSON"),
    ],
    ids=range(14),
)
@sqlite_only
def test_a_bad_line_anywhere_and_nothing_is_recorded(
    project: Project, bad: str, words: str
) -> None:
    project.write(TOML, HANDLERS)
    good = lines({"name": "noted"})
    for number, batch in ((1, f"{bad}\n{good}"), (1502, good * 1501 + bad)):
        done = project.run("emit", "--batch", "-", input=batch, check=2)
        assert done.stdout == ""
        assert f"line {number}: " in done.stderr
        assert words in done.stderr
        assert "othing was recorded" in done.stderr
        assert done.stderr.count("\n") == 1
        assert len(done.stderr) < 500
    assert not (project.folder / "events.db").exists()


def test_a_bad_line_leaves_the_store_as_it_was(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "--defer", "noted")
    batch = lines({"name": "noted"}) * 1200 + "{"
    project.run("emit", "--batch", "-", input=batch, check=2)
    assert count(project, "event") == count(project, "delivery") == 1


@sqlite_only
def test_not_utf8_and_files_that_cannot_be_read(project: Project) -> None:
    project.write(TOML, HANDLERS)
    latin = lines({"name": "noted"}).encode() * 2 + '{"name": "noted", "args": ["Ä"]}\n'.encode(
        "latin-1"
    )
    (project.folder / "latin").write_bytes(latin)
    done = project.run("emit", "--batch", "latin", check=2)
    assert "latin" in done.stderr
    assert "line 3" in done.stderr
    assert "UTF-8" in done.stderr
    for name, words in (("nowhere.jsonl", "No such file"), (".", "Is a directory")):
        done = project.run("emit", "--batch", name, check=2)
        assert name in done.stderr
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (project.folder / "events.db").exists()
