"""Crash tests: a command is killed at one step after another, and the store looked at.

After each crash, fresh sweeps bring the store to rest; then all that was acknowledged has
to be there, run to its end and counted rightly, and nothing may be left lying about.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.support import journal, look
from tests.support.crash_at import sitecustomize
from tests.support.project import Finished, Project
from tests.support.wait import wait_until

MOST_SWEEPS = 6
"""After so many sweeps, each with all that waits made due, the store must be at rest."""


def _nothing(project: Project, serial: int) -> int:
    return 0


def _no_check(project: Project, serial: int, said: str) -> None:
    return


def _no_mend(project: Project) -> None:
    return


@dataclass(frozen=True)
class Scenario:
    """A command to be killed. `{serial}` in it or its input is a new number each time.

    `prepare` puts what it needs into the store, the spool or the outbox, and returns how
    many events must come of it. The command adds `emits` events, or none of them if it
    was killed before it said that it had recorded them. `fix` undoes what `prepare`
    broke. `check` looks at what is this scenario's own, once the store is at rest, and is
    given all that was printed since the command began.
    """

    name: str
    command: tuple[str, ...]
    prepare: Callable[[Project, int], int] = _nothing
    emits: int = 0
    workers: int = 1
    input: str | None = None
    victim: Literal["main", "worker"] = "main"
    fresh: bool = False
    """Whether each run begins with no tables and no state folder."""
    fix: Callable[[Project], None] = _no_mend
    check: Callable[[Project, int, str], None] = _no_check
    at_rest: tuple[str, ...] = ()
    """Files of the state folder, as globs, that are rightly there at rest."""


@dataclass
class Run:
    """One run of a scenario, to its end or to its crash."""

    step: int
    done: Finished
    steps: list[str]

    @property
    def reached(self) -> bool:
        """Whether it came to the step where it was to be killed."""
        return 0 < self.step <= len(self.steps)

    def __str__(self) -> str:
        if not self.reached:
            return f"a run to its end ({len(self.steps)} steps)"
        last = "\n  ".join(self.steps[max(0, self.step - 12) : self.step])
        return f"killed at step {self.step}, the last one of\n  {last}"


@dataclass
class Crasher:
    """Runs one scenario again and again in one project, and checks it each time."""

    project: Project
    scenario: Scenario
    serials: Iterator[int] = field(default_factory=lambda: itertools.count(1000))

    def steps(self) -> int:
        """Run it to its end, check that, and return how many steps it took."""
        run = self.run(0)
        assert run.done.returncode in (0, 1), run.done
        assert len(run.steps) > 4, "what it does is not counted"
        return len(run.steps)

    def run(self, step: int) -> Run:
        """Run it, kill it at `step` if it comes to it, sweep, and check all there is."""
        if self.scenario.fresh:
            _clear(self.project)
        serial = next(self.serials)
        before = set() if self.scenario.fresh else _events(self.project)
        prepared = self.scenario.prepare(self.project, serial)
        starts_before = _starts(self.project)
        claimers_before = _claimers(self.project)
        run = self._execute(step, serial)
        try:
            self.scenario.fix(self.project)
            acknowledged = self._acknowledged(run)
            started = _starts(self.project) - starts_before
            phantoms = {
                delivery
                for delivery in _marked(_claimers(self.project) - claimers_before)
                if _pair(self.project, delivery) not in started
            }
            assert len(phantoms) <= self.scenario.workers, f"marked, not started: {phantoms}"
            if not self.scenario.fresh:  # else the tables may not be there yet
                let_time_pass(self.project)
            said = run.done.stdout + bring_to_rest(self.project)
            self._check_events(prepared, acknowledged, before)
            new = _events(self.project) - before
            check_deliveries(self.project, new, phantoms, self._is_lax(run))
            check_reports(self.project, new, said)
            check_files(self.project, self.scenario.at_rest)
            self.project.assert_never_two_at_once()
            self.scenario.check(self.project, serial, said)
        except AssertionError as error:
            error.add_note(f"{self.scenario.name}: {run}\nit said: {run.done}")
            raise
        return run

    def _is_lax(self, run: Run) -> bool:
        # A worker killed between saying that it starts a handler and starting it.
        return run.reached and self.scenario.victim == "worker"

    def _execute(self, step: int, serial: int) -> Run:
        log = self.project.folder / "steps.log"
        log.unlink(missing_ok=True)
        plan = {
            "step": step,
            "victim": self.scenario.victim,
            "driver": "mysql" if self.project.server else "sqlite",
            "log": str(log),
        }
        text = self.scenario.input
        done = self.project.run(
            *(word.replace("{serial}", str(serial)) for word in self.scenario.command),
            input=text and text.replace("{serial}", str(serial)),
            env={
                "PYTHONPATH": str(Path(sitecustomize.__file__).parent),
                "CRASH_AT": json.dumps(plan),
            },
            check=None,
        )
        steps = log.read_text("ascii").splitlines() if log.exists() else []
        run = Run(step, done, [line.rstrip() for line in steps])
        # Workers die with their parent: by the kernel's hand, a moment later.
        pids = {int(line.split(maxsplit=1)[0]) for line in steps}
        wait_until(lambda: not any(map(journal.born, pids)), 15, f"the end of all, {run}")
        assert not [line for line in steps if "SURVIVED" in line], run
        killed = run.reached and self.scenario.victim == "main"
        assert (done.returncode == -9) is killed, f"{run}\n{done}"
        return run

    def _acknowledged(self, run: Run) -> list[int]:
        """Return the ids that it printed; 0 stands for one that it put into the spool."""
        if not self.scenario.emits:
            return []
        ids = [int(line) for line in run.done.stdout.split()]
        spooled = list((self.project.folder / "state" / "spool").glob("*.json"))
        if not ids and not run.reached:
            assert spooled, f"it said nothing: {run.done}"
        return ids or [0] * len(spooled)

    def _check_events(self, prepared: int, acknowledged: list[int], before: set[int]) -> None:
        """Check that all that was to come has come, and once."""
        now = _events(self.project)
        assert before <= now, f"lost: {before - now}"
        assert set(acknowledged) - {0} <= now, f"acknowledged and lost: {acknowledged}"
        emitted = len(now - before) - prepared
        allowed = (self.scenario.emits,) if acknowledged else (0, self.scenario.emits)
        assert emitted in allowed, f"{emitted} events more than prepared, not {allowed}"
        copies = self.project.rows(
            "SELECT name, args, COUNT(*) FROM eventctl_event GROUP BY name, args"
            " HAVING COUNT(*) > 1"
        )
        assert not copies, f"recorded twice: {copies}"


def bring_to_rest(project: Project) -> str:
    """Sweep until nothing is left to do, as if time had passed; return what was said."""
    said = ""
    for _ in range(MOST_SWEEPS):
        swept = project.run("sweep", check=None)
        assert swept.returncode in (0, 1), swept
        assert not swept.stderr, swept
        said += swept.stdout
        open_ = "SELECT COUNT(*) FROM eventctl_delivery WHERE state IN ('pending', 'running')"
        left = (project.value(open_), look.count(project, "notice"), _unreported(project))
        if not any(left):
            return said
        let_time_pass(project)
    raise AssertionError(
        f"not at rest after {MOST_SWEEPS} sweeps:"
        f" {project.rows('SELECT * FROM eventctl_delivery WHERE due_at IS NOT NULL')}"
        f" {project.rows('SELECT * FROM eventctl_notice')}"
    )


def _unreported(project: Project) -> int:
    """Return how many open incidents were not reported as they are now."""
    found = project.value(
        "SELECT COUNT(*) FROM eventctl_incident i WHERE i.ended_at IS NULL AND NOT EXISTS (SELECT 1"
        " FROM eventctl_telling t WHERE t.incident_id = i.id AND t.told_count = i.count)"
    )
    assert isinstance(found, int)
    return found


def let_time_pass(project: Project) -> None:
    """Make all due that waits for its time."""
    look.make_due(project)
    project.execute("UPDATE eventctl_notice SET due_at = 1")
    look.make_notifications_due(project)


def check_deliveries(project: Project, events: set[int], phantoms: set[int], lax: bool) -> None:
    """Check that each delivery of these events is over, and has counted each start of its handler.

    `phantoms` had been marked as started when their process died, and had not begun:
    they are charged. Where it is `lax` one of those that were lost may be such a one.
    """
    starts = _starts(project)
    history: dict[int, list[tuple[int, str]]] = {}
    for delivery, number, outcome in project.rows(
        "SELECT delivery_id, number, outcome FROM eventctl_attempt ORDER BY id"
    ):
        history.setdefault(delivery, []).append((number, outcome))
    states: dict[int, set[str]] = {}
    rows = project.rows(
        "SELECT id, event_id, handler, state, reason, attempts, due_at, claim, done_at"
        " FROM eventctl_delivery"
    )
    notified = look.notified(project)
    for row in rows:
        delivery, event, handler, state, reason, attempts, due_at, claim, done_at = row
        if event not in events:
            continue  # of an earlier run, and looked at then
        states.setdefault(event, set()).add(state)
        assert due_at is None, f"over, and due: {row}"
        assert claim is None, f"over, and claimed: {row}"
        assert state in ("done", "failed"), row
        assert (state == "done") is (done_at is not None), row
        assert state == "done" or reason, row
        is_known = delivery in notified or reason not in ("exhausted", "discarded")
        assert is_known, f"nobody was notified: {row}"
        tries = history.get(delivery, [])
        wanted = starts[event, handler] + (delivery in phantoms)
        allowed = {wanted, wanted + 1} if lax and (1, "lost") in tries else {wanted}
        assert attempts in allowed, f"{wanted} starts, {attempts} counted: {row}, {tries}"
        smooth = state == "done" and attempts == 1
        numbers = [number for number, _ in tries]
        assert numbers == ([] if smooth else list(range(1, attempts + 1))), f"{row}, {tries}"
        assert smooth or not tries or (tries[-1][1] == "succeeded") is (state == "done"), tries
    for event, status in project.rows("SELECT id, status FROM eventctl_event"):
        if event in events:
            assert event in states, f"event {event} has no deliveries"
            assert status == (3 if "failed" in states[event] else 2), (event, status, states[event])


def check_reports(project: Project, events: set[int], said: str) -> None:
    """Check that whatever has failed of these events was reported."""
    notified = look.notified(project)
    for delivery, event, handler in project.rows(
        "SELECT id, event_id, handler FROM eventctl_delivery"
        " WHERE reason IS NULL OR reason <> 'cancelled'"
    ):
        if event in events and delivery in notified:
            assert handler in said, f"{handler} failed, and this was said: {said!r}"


def check_files(project: Project, rightly: tuple[str, ...]) -> None:
    """Check that no claim, spool file, or draft is left in the state folder."""
    state = project.folder / "state"
    known = ("name", "boot", "sweep.lock", *rightly)
    left = [
        path.relative_to(state)
        for path in state.rglob("*")
        if path.is_file() and not any(path.relative_to(state).match(glob) for glob in known)
    ]
    assert not left, f"left over: {left}"
    if not project.server:
        with closing(sqlite3.connect(project.folder / "events.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _events(project: Project) -> set[int]:
    return {row[0] for row in project.rows("SELECT id FROM eventctl_event")}


def _starts(project: Project) -> Counter[tuple[int, str]]:
    """Return how often each delivery's handler was started, by event's id and handler."""
    return Counter((e.event, e.handler) for e in project.runs() if e.what == "start")


def _claimers(project: Project) -> set[Path]:
    """Return the files of claimers: they are dead, as nobody runs while this is looked at."""
    return set((project.folder / "state" / "claims").glob("*"))


def _journal(path: Path) -> list[str]:
    # What is not written yet of its space is zeros.
    return path.read_text("ascii").replace("\0", "").splitlines()


def _marked(claimers: set[Path]) -> set[int]:
    """Return the deliveries that these have marked as about to be started."""
    lines = [line for path in claimers for line in _journal(path)]
    return {int(line.split()[1]) for line in lines}


def _pair(project: Project, delivery: int) -> tuple[int, str]:
    ((event, handler),) = project.rows(
        "SELECT event_id, handler FROM eventctl_delivery WHERE id = ?", delivery
    )
    return event, handler


def _clear(project: Project) -> None:
    """Make it a project that was never used."""
    for name in ("state", "journal"):
        shutil.rmtree(project.folder / name, ignore_errors=True)
    if project.server:
        project.server.sql(f"DROP DATABASE {project.database}")
        project.server.sql(f"CREATE DATABASE {project.database}")
    else:
        for path in project.folder.glob("events.db*"):
            path.unlink()
