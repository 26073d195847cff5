"""P2 and P3: claims whose claimer is gone without a trace, hard to see, or unaware of them."""

from __future__ import annotations

import os

import pytest

from tests.support import fire
from tests.support.databases import server_only, sqlite_only
from tests.support.look import delivery
from tests.support.project import Project
from tests.support.proxy import CuttingProxy


@pytest.mark.parametrize("when", ["after a boot", "once the lease has ended"])
def test_a_power_cut_has_taken_the_claimers_file(project: Project, when: str) -> None:
    fire.write(project, {"hold": '"handlers:hold"'})
    project.run("sweep")  # the first one since boot
    emit = project.start("emit", "hold")
    workers = fire.wait_for_held(project, 1)
    fire.kill(emit)
    fire.wait_until_dead(workers)
    # What was not flushed is gone: the file and its folder are as they were before.
    for path in (project.folder / "state" / "claims").iterdir():
        path.unlink()
    if when == "after a boot":
        boot = project.folder / "state" / "boot"
        boot.unlink()
        boot.symlink_to("another boot")
    else:
        project.execute("UPDATE eventctl_delivery SET due_at = 1")
    fire.go(project)
    project.run("sweep")
    fire.assert_all_processed(project, 1)
    # Nobody knows how far it had come, so it is charged.
    assert fire.attempts(project) == [("hold", 1, "lost"), ("hold", 2, "succeeded")]


def test_a_detached_emit_that_outlives_its_lease_is_not_run_a_second_time(
    project: Project,
) -> None:
    """On its own host the lock decides: the process in the background has taken it over."""
    code = fire.HANDLERS + (
        "\n\ndef first_holds(*args):\n"
        "    hold(*args) if _now().attempt == 1 else ok(*args)\n"
    )  # fmt: skip
    fire.write(project, {"first_holds": '"handlers:first_holds"'}, code=code)
    project.run("emit", "-q", "--detach", "first_holds")
    (worker,) = fire.wait_for_held(project, 1)
    background = fire.parent_of(worker)
    project.execute("UPDATE eventctl_delivery SET due_at = 1")
    project.run("sweep")
    assert fire.by_handler(project) == {"first_holds": ("running", 0)}
    assert fire.is_alive(worker)
    fire.go(project)
    fire.wait_until_dead([background])
    assert fire.by_handler(project) == {"first_holds": ("done", 1)}
    fire.assert_all_processed(project, 1)


@sqlite_only
@pytest.mark.parametrize("kind", ["fifo", "folder", "link to nowhere"])
def test_what_is_no_claimers_file_stops_no_sweep(project: Project, kind: str) -> None:
    fire.write(project, {"ok": '"handlers:ok"'})
    project.run("sweep")
    fire.defer(project, "ok")
    path = project.folder / "state" / "claims" / "0123456789ab"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    done = project.run("sweep")
    assert f"{path} is not a file of eventctl: delete it" in done.stderr
    assert fire.by_handler(project) == {"ok": ("done", 1)}


@sqlite_only
def test_a_journal_that_is_too_large_to_read_counts_as_lost(project: Project) -> None:
    """As after a fault of the file system: it is the size that is wrong, not what was started."""
    fire.write(project, {"hold": '"handlers:hold"'})
    emit = project.start("emit", "hold")
    workers = fire.wait_for_held(project, 1)
    fire.kill(emit)
    fire.wait_until_dead(workers)
    (journal,) = (project.folder / "state" / "claims").iterdir()
    os.truncate(journal, 2**36)
    fire.go(project)
    project.run("sweep")
    fire.assert_all_processed(project, 1)
    assert fire.attempts(project) == [("hold", 1, "lost"), ("hold", 2, "succeeded")]
    assert not journal.exists()


def test_what_was_not_started_has_ended_if_fewer_attempts_are_allowed_now(project: Project) -> None:
    fire.write(project, {"hold": '{ call = "handlers:hold", retry = { attempts = 3 } }'})
    emit = project.start("emit", "hold")
    workers = fire.wait_for_held(project, 1)
    fire.kill(emit)
    fire.wait_until_dead(workers)
    # As if its third attempt was claimed, and not started yet.
    (journal,) = (project.folder / "state" / "claims").iterdir()
    os.truncate(journal, 0)
    project.execute("UPDATE eventctl_delivery SET attempts = 2")
    toml = project.config.read_text()
    project.config.write_text(toml.replace("attempts = 3", "attempts = 2"))
    assert "ran out of retries" in project.run("sweep", check=1).stdout
    hold = delivery(project, "hold")
    assert (hold.state, hold.reason, hold.attempts) == ("failed", "exhausted", 2)


@server_only
@pytest.mark.parametrize("command", ["sweep", "replay"])
def test_a_claim_whose_commit_got_no_answer_is_found_by_the_next_sweep(
    project: Project, command: str
) -> None:
    """It is in the store, and its claimer can't know: it keeps its file for the next sweep."""
    code = fire.HANDLERS + (
        "\n\ndef moody(*args):\n    ok(*args) if (HERE / 'go').exists() else fail(*args)\n"
    )
    fire.write(
        project, {"moody": '{ call = "handlers:moody", retry = { attempts = 1 } }'}, code=code
    )
    fire.defer(project, "moody")
    project.run("sweep", check=1)
    if command == "sweep":
        project.run("replay", "1", "--yes")
    fire.go(project)
    before = len(fire.attempts(project))
    assert project.server
    direct = project.config.read_text()
    arguments = ("sweep",) if command == "sweep" else ("replay", "1", "--now", "--yes")
    with CuttingProxy(project.server.port, b"SET state = 'running'") as proxy:
        project.config.write_text(direct.replace(f":{project.server.port}/", f":{proxy.port}/"))
        project.run(*arguments, check=None)
        assert proxy.has_cut
    project.config.write_text(direct)
    assert delivery(project, "moody").state == "running"
    project.run("sweep")
    # It was never started, so nothing is charged: at most, its replay is noted.
    more = fire.attempts(project)[before:]
    assert more == ([("moody", 0, "replayed")] if command == "replay" else [])
    assert delivery(project, "moody").state == "done"
    fire.assert_all_processed(project, 1)
