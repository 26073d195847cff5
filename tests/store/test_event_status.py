"""An event's status: 0 emitted, 1 timeout, 2 processed, 3 failed, and the ways between them."""

from __future__ import annotations

from tests.support.gate import Gate
from tests.support.look import delivery, make_due, status
from tests.support.project import Project

TOML = """
[events]
purchased = ["lottery"]
both = ["lottery", "coupon"]

[handlers]
lottery = { call = "handlers:lottery", retry = { attempts = 2, delay = "0s" } }
coupon = "handlers:coupon"
"""

HANDLERS = """
import os

def lottery():
    if not os.path.exists("open"):
        raise RuntimeError("the lottery is closed")

def coupon():
    pass
"""


def test_processed_on_the_first_run_is_never_a_timeout(project: Project) -> None:
    project.write(TOML, HANDLERS)
    (project.folder / "open").touch()
    project.run("emit", "both")
    assert status(project) == 2


def test_deferred_and_swept_without_trouble_is_never_a_timeout(project: Project) -> None:
    gate = Gate(project.folder / "gate")
    project.write(TOML, "def lottery():\n    open('gate').read()\n")
    project.run("emit", "--defer", "purchased")
    assert status(project) == 0
    sweeping = project.start("sweep")
    with gate.somebody_waits():
        assert status(project) == 0
    assert sweeping.wait(30) == 0
    assert status(project) == 2


def test_emitted_timeout_processed(project: Project) -> None:
    gate = Gate(project.folder / "gate")
    project.write(
        TOML,
        """
        import eventctl

        def lottery():
            open("gate").read()
            if eventctl.current().attempt == 1:
                raise RuntimeError("the lottery is closed")
        """,
    )
    emitting = project.start("emit", "purchased")
    with gate.somebody_waits():
        assert status(project) == 0
    assert emitting.wait(30) == 0
    assert status(project) == 1
    sweeping = project.start("sweep")
    with gate.somebody_waits():
        assert status(project) == 1
    assert sweeping.wait(30) == 0
    assert status(project) == 2


def test_emitted_timeout_failed_replayed_processed(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "purchased")
    assert status(project) == 1
    project.run("sweep", check=1)
    assert status(project) == 3
    assert delivery(project, "lottery")[1:4] == ("failed", "exhausted", 2)
    make_due(project)
    project.run("sweep")
    assert status(project) == 3
    (project.folder / "open").touch()
    project.run("replay", "1")
    assert status(project) == 1
    assert delivery(project, "lottery")[1:4] == ("pending", None, 0)
    project.run("sweep")
    assert status(project) == 2
    assert delivery(project, "lottery").state == "done"


def test_one_failed_handler_makes_the_event_failed_and_its_neighbours_are_done(
    project: Project,
) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "both")
    assert status(project) == 1
    project.run("sweep", check=1)
    assert status(project) == 3
    assert delivery(project, "coupon")[1:4] == ("done", None, 1)


def test_failed_while_another_handler_still_has_retries(project: Project) -> None:
    project.write(
        TOML,
        """
        import eventctl

        def lottery():
            raise RuntimeError("again")

        def coupon():
            raise eventctl.Discard("no such user")
        """,
    )
    project.run("emit", "both")
    # A person must act already, whatever becomes of the other one.
    assert status(project) == 3
    assert delivery(project, "coupon")[1:3] == ("failed", "discarded")
    assert delivery(project, "lottery").state == "pending"
