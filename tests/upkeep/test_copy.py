"""`eventctl copy`: the whole store in another database, whatever comes in between."""

from __future__ import annotations

from pathlib import Path

from eventctl.store.table_copy import TABLES
from tests.support import past
from tests.support.copies import clear, content, copy, live, target, url
from tests.support.databases import sqlite_only
from tests.support.load import Emits
from tests.support.mariadb import PASSWORD
from tests.support.project import Project
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
    assert {line[4] for line in lines} == {"same"}
    assert [line[1] for line in lines] == [line[2] for line in lines]
    assert lines[0][1] == "32"
    assert content(target) == content(project)
    assert PASSWORD not in done.stdout + done.stderr
    done = copy(project, target)
    assert "nothing more to copy: all " in done.stderr
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
    assert "is in use: it has event" in done.stderr


def test_what_has_changed_since_is_taken_over(project: Project, target: Project) -> None:
    live(project)
    copy(project, target)
    project.run("emit", "bought", "new")
    project.run("replay", "2")
    project.run("prune", "--older-than", "90d", "--limit", "3")
    project.run("sweep")
    assert content(target) != content(project)
    before = content(target)
    done = copy(project, target, "--dry-run")
    assert "eventctl_event: 4 of 31 rows to be copied, and 3 there taken out" in done.stderr
    assert content(target) == before
    done = copy(project, target)
    assert done.stderr.startswith("eventctl: copied ")
    assert content(target) == content(project)
    target.execute("UPDATE eventctl_event SET args = '[]' WHERE id = 20")
    target.execute("DELETE FROM eventctl_delivery WHERE id = 41")
    assert "copied 2 rows" in copy(project, target).stderr
    assert content(target) == content(project)


def test_killed_at_one_step_after_another_it_goes_on(project: Project, target: Project) -> None:
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
        done = copy(project, target)
        assert done.stdout.count("same") == len(TABLES), taken[-1]
        assert content(target) == wanted, taken[-1]
    assert content(project) == wanted


def test_events_come_in_while_it_copies(project: Project, target: Project) -> None:
    live(project, 400)
    with Emits(project, "meanwhile", "--defer", "bought") as emits:
        said = [copy(project, target).stderr for _ in range(2)]
    assert any("the source has changed meanwhile: run it again" in text for text in said)
    copy(project, target)
    assert "nothing more to copy" in copy(project, target).stderr
    keys = {row[0] for row in target.rows("SELECT `key` FROM eventctl_event")}
    assert keys >= set(emits.acknowledged)
    assert content(target) == content(project)


@sqlite_only
def test_the_verification_notices_what_is_changed_behind_its_back(
    project: Project, tmp_path: Path
) -> None:
    live(project)
    target = Project(tmp_path / "target")
    copy(project, target)
    target.execute("DELETE FROM eventctl_attempt WHERE id = 7")
    target.execute(
        "CREATE TRIGGER vandal AFTER INSERT ON eventctl_attempt BEGIN"
        " UPDATE eventctl_attempt SET error = 'another' WHERE id = 8; END"
    )
    done = copy(project, target, check=1)
    assert "eventctl_attempt is not the same on both sides: 60 rows here, 60 at" in done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines() if "DIFFERS" in line] == [
        "eventctl_attempt"
    ]
    target.execute("DROP TRIGGER vandal")
    assert "copied 1 row;" in copy(project, target).stderr
