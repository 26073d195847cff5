"""`eventctl copy`: the whole store in another database, whatever comes in between."""

from __future__ import annotations

import subprocess
from pathlib import Path

from eventctl.store.tables import TABLES
from tests.support import past
from tests.support.copies import clear, content, copy, live, target, url
from tests.support.databases import sqlite_only
from tests.support.load import Emits
from tests.support.project import Project
from tests.support.server import PASSWORD
from tests.support.steps import killed_at, some

__all__ = ["target"]  # a fixture


def test_all_of_it_is_copied_and_the_target_goes_on(project: Project, target: Project) -> None:
    live(project)
    pending = project.rows(
        "SELECT id, handler, due_at FROM eventctl_delivery WHERE state = 'pending' ORDER BY id"
    )
    assert len(pending) == 3
    done = copy(project, target)
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == [table.name for table in TABLES]
    assert {line[3] for line in lines} == {"same"}
    assert lines[0][1] == "32"
    assert content(target) == content(project)
    assert PASSWORD not in done.stdout + done.stderr
    assert f'state = "{project.folder / "events"}' in done.stderr or project.server
    # The ids go on where the source's end: none that was written down is given twice.
    text = f'\n[store]\nurl = "{target.url}"\n'
    for name in ("handlers.py", "journal.py"):
        (target.folder / name).write_text((project.folder / name).read_text())
    target.config.write_text(past.TOML + text)
    target.config.chmod(0o600)
    assert int(target.run("emit", "bought").stdout) > max(past.ids(project))
    target.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('bought', '[]')")
    assert max(past.ids(target, "outbox")) > 2
    there = target.rows(
        "SELECT id, handler, due_at FROM eventctl_delivery WHERE state = 'pending' ORDER BY id"
    )
    assert there == pending
    target.execute("DELETE FROM eventctl_breaker")
    assert target.run("sweep", check=None).stderr == ""
    runs = {(run.event, run.handler) for run in target.runs()}
    due_now = {(32, handler) for _, handler, due_at in pending if due_at < 2**45} & runs
    assert due_now
    (waits,) = target.rows("SELECT status FROM eventctl_event WHERE `key` = 'order-17'")
    assert waits == (0,)
    # And a copy to a store that works by now is refused.
    done = copy(project, target, check=2)
    assert "is not empty: eventctl_event has rows" in done.stderr


def test_killed_at_one_step_after_another_it_starts_again(
    project: Project, target: Project
) -> None:
    live(project, 250)
    driver = "mysql" if target.server else "sqlite"
    command = ("copy", "--to", url(target))
    env = {"DB_PASSWORD": PASSWORD}
    _, steps = killed_at(project, 0, *command, driver=driver, env=env)
    wanted = content(project)
    assert content(target) == wanted
    for step in some(steps):
        clear(target)
        _, taken = killed_at(project, step, *command, driver=driver, env=env)
        refused = copy(project, target, check=None)
        if refused.returncode:  # it has rows: the message says how to empty it
            assert refused.returncode == 2, refused
            (line,) = refused.stderr.splitlines()
            assert "is not empty: eventctl_" in line
            empty(target, line.partition("empty it and copy again: ")[2])
            copy(project, target)
        assert content(target) == wanted, taken[-1]
    assert content(project) == wanted


def test_events_that_come_in_while_it_copies_are_noticed(project: Project, target: Project) -> None:
    live(project, 2000)
    with Emits(project, "meanwhile", "--defer", "bought") as emits:
        for _ in range(5):  # an emit may take as long as the copy
            clear(target)
            done = copy(project, target, check=None)
            if done.returncode:
                break
    assert done.returncode == 1, done
    assert {line.split("\t")[3] for line in done.stdout.splitlines()} == {"same"}
    assert "this store has changed since the copy began, and the target lacks that" in done.stderr
    clear(target)
    copy(project, target)
    keys = {row[0] for row in target.rows("SELECT `key` FROM eventctl_event")}
    assert keys >= set(emits.acknowledged)
    assert content(target) == content(project)


def empty(target: Project, how: str) -> None:
    """Empty a target as the message says."""
    if target.server:
        target.execute(how)
    else:
        subprocess.run(["sh", "-euc", how], check=True)


@sqlite_only
def test_the_verification_notices_what_is_changed_behind_its_back(
    project: Project, tmp_path: Path
) -> None:
    live(project)
    target = Project(tmp_path / "target")
    past.write(target)
    target.execute(
        "CREATE TRIGGER vandal AFTER INSERT ON eventctl_attempt BEGIN"
        " UPDATE eventctl_attempt SET error = 'another' WHERE id = 8; END"
    )
    done = copy(project, target, check=1)
    assert "eventctl_attempt is not the same on both sides: 60 rows here, 60 at" in done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines() if "DIFFERS" in line] == [
        "eventctl_attempt"
    ]
