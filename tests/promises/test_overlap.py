"""P3 and P10: many at once, on one host and on two, and never two on one delivery."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support import fire
from tests.support.hosts import another_config, another_host
from tests.support.project import Project

LEASE = 350_000
"""Milliseconds: what the default timeout of 5 min and its grace come to, at least."""


def handlers(*names: str) -> dict[str, str]:
    return {name: f'"handlers:{name}"' for name in names}


def claims(project: Project) -> list[str]:
    return [str(path) for folder in ("state", "there") for path in claim_files(project, folder)]


def claim_files(project: Project, folder: str) -> list[Path]:
    return list((project.folder / folder / "claims").glob("*"))


def test_sixteen_emits_and_two_sweeps_at_once(project: Project) -> None:
    names = ["a", "b"]
    fire.write(project, dict.fromkeys(names, '"handlers:ok"'), {"both": names})
    second = another_config(project, "second.toml", ("[sweep]", '[sweep]\nlock = "second.lock"'))
    # Nothing is there yet: all of them make the store, and the state folder.
    emits = [
        project.start("emit", *["--defer"] * (number % 2), "both", str(number))
        for number in range(16)
    ]
    sweeps = [
        project.start("sweep", "--for", "4s", "--jobs", "2"),
        project.start("--config", second, "sweep", "--for", "4s"),
    ]
    ids = []
    for process in emits:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        ids.append(int(out))
    assert len(set(ids)) == 16
    for process in sweeps:
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0
    project.run("sweep")
    fire.assert_all_processed(project, 16)
    assert fire.runs_of(project) == {(event, name): 1 for event in ids for name in names}
    assert set(fire.deliveries(project).values()) == {("done", 1)}


def test_two_sweeps_share_the_work_and_run_nothing_twice(project: Project) -> None:
    fire.write(project, handlers("ok"))
    second = another_config(project, "second.toml", ("[sweep]", '[sweep]\nlock = "second.lock"'))
    ids = fire.defer(project, *["ok"] * 150)
    sweeps = [project.start("--config", c, "sweep") for c in (str(project.config), second)]
    for process in sweeps:
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0
    fire.assert_all_processed(project, 150)
    assert fire.runs_of(project) == {(event, "ok"): 1 for event in ids}
    assert len({run.pid for run in project.runs()}) >= 2


def test_a_second_sweep_on_one_host_steps_aside(project: Project) -> None:
    fire.write(project, handlers("hold", "ok"))
    fire.defer(project, "hold")
    first = project.start("sweep")
    fire.wait_for_held(project, 1)
    fire.defer(project, "ok")
    done = project.run("sweep")
    assert (done.stdout, done.stderr) == ("", "")
    assert "another sweep is running" in project.run("sweep", "-v").stderr
    assert fire.by_handler(project) == {"hold": ("running", 0), "ok": ("pending", 0)}
    fire.go(project)
    assert first.communicate(timeout=30) == ("", "")
    project.run("sweep")
    fire.assert_all_processed(project, 2)


def test_a_slow_handler_is_not_swept_a_second_time(project: Project) -> None:
    """On its own host the lock decides, however long ago the lease was over."""
    fire.write(project, handlers("hold"))
    second = another_config(project, "second.toml", ("[sweep]", '[sweep]\nlock = "second.lock"'))
    emit = project.start("emit", "hold")
    fire.wait_for_held(project, 1)
    project.execute("UPDATE eventctl_delivery SET due_at = 1")
    project.run("sweep")
    project.run("--config", second, "sweep")
    assert fire.by_handler(project) == {"hold": ("running", 0)}
    fire.go(project)
    emit.communicate(timeout=30)
    fire.assert_all_processed(project, 1)
    assert fire.by_handler(project) == {"hold": ("done", 1)}


def test_another_hosts_claim_is_taken_when_its_lease_has_ended_and_not_before(
    project: Project,
) -> None:
    fire.write(project, handlers("hold"))
    there = another_host(project)
    emit = project.start("--config", there, "emit", "hold")
    fire.wait_for_held(project, 1)
    # It is dead, and this host cannot know.
    left = project.value("SELECT due_at FROM eventctl_delivery") - time.time() * 1000
    assert LEASE < left < 2 * LEASE
    fire.kill(emit)
    fire.go(project)
    project.run("sweep")
    assert fire.by_handler(project) == {"hold": ("running", 0)}
    ended = int(time.time() * 1000) + 60_000
    project.execute("UPDATE eventctl_delivery SET due_at = ?", ended)
    project.run("sweep")
    assert fire.by_handler(project) == {"hold": ("running", 0)}
    project.execute("UPDATE eventctl_delivery SET due_at = ?", ended - 61_000)
    project.run("sweep")
    assert fire.by_handler(project) == {"hold": ("done", 2)}
    assert project.value("SELECT status FROM eventctl_event") == 2
    assert fire.attempts(project) == [("hold", 1, "lost"), ("hold", 2, "succeeded")]


@pytest.mark.parametrize("late", ["ok", "fail"])
def test_who_lost_his_claim_does_not_write_over_it(project: Project, late: str) -> None:
    """A host that slept through its lease wakes up when another one has done the work."""
    code = fire.HANDLERS + (
        "\n\ndef late(*args):\n"
        "    if _now().attempt == 1:\n"
        "        hold(*args)\n"
        f"        {late}(*args)\n"
        "    else:\n"
        "        raise eventctl.Discard('by the second host')\n"
    )
    fire.write(project, handlers("late"), code=code)
    emit = project.start("--config", another_host(project), "emit", "late")
    fire.wait_for_held(project, 1)
    project.execute("UPDATE eventctl_delivery SET due_at = 1")
    project.run("sweep", check=1)  # it is given up, and reported
    stands = project.rows("SELECT * FROM eventctl_delivery")
    event = project.rows("SELECT status FROM eventctl_event")
    assert fire.by_handler(project) == {"late": ("failed", 2)}
    history = fire.attempts(project)
    fire.go(project)
    emit.communicate(timeout=30)
    assert emit.returncode == 0
    assert project.rows("SELECT * FROM eventctl_delivery") == stands
    assert project.rows("SELECT status FROM eventctl_event") == event == [(3,)]
    assert fire.attempts(project) == history == [("late", 1, "lost"), ("late", 2, "discarded")]
    assert claims(project) == []


MEETING = """

def meet(*args):
    # Both handlers of an event return at the same instant, where both hosts have come to it.
    other = "b" if _now().handler == "a" else "a"
    (HERE / f"at.{_now().id}.{_now().handler}").touch()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        if (HERE / f"at.{_now().id}.{other}").exists():
            leave("met")
            return
"""


def test_two_hosts_finish_two_handlers_of_one_event_at_the_same_instant(
    project: Project,
) -> None:
    count = 40
    fire.write(
        project,
        dict.fromkeys(["a", "b"], '"handlers:meet"'),
        {"both": ["a", "b"]},
        code=fire.HANDLERS + MEETING,
        sweep='group_commit = "0"',
    )
    there = another_host(project)
    fire.defer(project, *["both"] * count)
    sweeps = [
        project.start("sweep", "--handler", "a"),
        project.start("--config", there, "sweep", "--handler", "b"),
    ]
    for process in sweeps:
        assert process.communicate(timeout=60) == ("", "")
        assert process.returncode == 0
    assert set(fire.deliveries(project).values()) == {("done", 1)}
    fire.assert_all_processed(project, count)
    assert claims(project) == []
    assert len(fire.files(project, "met")) > count  # most of them did meet
