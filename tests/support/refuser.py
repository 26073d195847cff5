"""Refuse a command's system calls, one after another, and see that nothing is lost by it.

strace counts the calls that a command makes once it has opened events.toml, and then has the
first, the second, the third of them fail, each in a run of its own, as SQLite tests its own
I/O. After each run the event is where the exit code says that it is; after a few plain
sweeps everything is at rest. `when=` counts per process: a worker's first call fails as well.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import look, needs
from tests.support.project import Finished, Project, kill_group
from tests.support.refusals import (
    API,
    ERRORS,
    HANDLERS,
    ONCE,
    PROGRAM,
    SCENARIOS,
    TOML,
    Refusal,
    Scenario,
)
from tests.support.refuse_at import sitecustomize
from tests.support.wait import wait_until

_PATIENCE = 20.0
"""Seconds after which a command counts as hung."""

_LONGEST = 90.0
"""Seconds after which a detached process has ended: one that can't write its results tries again
until their leases end.
"""

_MOST = 2000
"""No command makes as many calls of one kind: here the harness has gone wrong."""


@dataclass
class Run:
    """One run of a scenario, and the lines of strace's log."""

    done: Finished
    log: list[str]

    @property
    def refused(self) -> list[str]:
        """The calls that were refused, as strace shows them."""
        return [
            line for line in self.log if "(INJECTED)" in line and sitecustomize.SIGNAL not in line
        ]

    def counts(self) -> Counter[str]:
        """Return how many calls of each kind the process made that made the most of them."""
        made = Counter(tuple(found.groups()) for line in self.log if (found := _CALL.match(line)))
        most: Counter[str] = Counter()
        for (_, call), count in made.items():
            most[call] = max(most[call], count)
        return most

    def is_mute(self, fd: int) -> bool:
        """Return whether what it wanted to write to stdout or stderr was refused."""
        return any(re.search(rf" write\({fd}, ", line) for line in self.refused)


_CALL = re.compile(r"(\d+) +(\w+)\(")
_TRACEBACK = re.compile(r"^Traceback .*\n(?:  .*\n)*(?:\w+Error: .*\n)?", re.M)


@dataclass
class Refuser:
    """Runs one scenario again and again in one project. What was wrong is in `problems`."""

    project: Project
    scenario: Scenario
    problems: list[str] = field(default_factory=list)
    tried: int = 0
    _kept: dict[str, str] = field(default_factory=dict)
    """The events that must be there in the end, by key, and what had been refused."""
    _given_back: dict[str, str] = field(default_factory=dict)
    """The events that were given back, and must not be there."""
    _left: set[str] = field(default_factory=set)
    _serials: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def prepare(self) -> None:
        """Write the project, and make its tables and its state folder."""
        store = 'state = "state"\ntimeout = "1s"'
        self.project.write(TOML, HANDLERS, store=store)
        look.script(self.project.folder / "program", PROGRAM)
        self.project.run("emit", "-q", "--defer", "purchased", "A")
        self.project.run("sweep")

    def points(self) -> list[Refusal]:
        """Run it unharmed, and return all that can be refused."""
        run = self._execute("untouched", [f"--trace=?{',?'.join(ERRORS)},{sitecustomize.SIGNAL}"])
        assert run.done.returncode == 0, run.done
        counts = run.counts()
        assert counts["openat"] > 4, "its calls are not counted"
        self.rest()
        return [
            Refusal(call, error, number, lasting)
            for call, errors in ERRORS.items()
            for error in errors
            for lasting in ((False,) if call in ONCE else (False, True))
            for number in range(1, counts[call] + 1)
        ]

    def refuse_all(self, points: list[Refusal]) -> None:
        """Refuse each kind of call at the first, the second … until a run goes through."""
        kinds = dict.fromkeys((p.call, p.error, p.lasting) for p in points)
        for call, error, lasting in kinds:
            for number in range(1, _MOST):
                if not self.refuse(Refusal(call, error, number, lasting)):
                    break
            else:
                raise AssertionError(f"{call} is refused without end")
            self.rest()

    def refuse_some(self, points: list[Refusal], most: int) -> None:
        """Refuse one call each of some kinds: other kinds in each scenario, on each store."""
        kinds: dict[tuple[str, str, bool], list[Refusal]] = {}
        for point in points:
            kinds.setdefault((point.call, point.error, point.lasting), []).append(point)
        turn = 2 * SCENARIOS.index(self.scenario) + bool(self.project.server)
        step = max(1, len(kinds) // most)
        for of_kind in list(kinds.values())[turn % step :: step][:most]:
            self.refuse(of_kind[turn % len(of_kind)])
        self.rest()

    def refuse(self, refusal: Refusal) -> bool:
        """Refuse one call, and look where the events are; return whether it was made."""
        try:
            run = self._execute(str(refusal), refusal.strace)
        except AssertionError as error:
            self.tried += 1
            self._wrong(str(refusal), str(error))
            return True
        if not run.refused:
            return False
        self.tried += 1
        if self.scenario.due or self.scenario.away:
            # What this one has left behind is not the next one's fault.
            self.project.run("sweep", check=None)
        return True

    def _wrong(self, refusal: str, what: str) -> None:
        store = "server" if self.project.server else "sqlite"
        self.problems.append(f"{self.scenario.name} on {store}, {refusal}: {what}")

    def _execute(self, refusal: str, strace: list[str]) -> Run:
        serial = next(self._serials)
        key = f"{serial}-{refusal}"
        keys = [each.replace("{key}", key) for each in self.scenario.keys]
        if self.scenario.due:
            self._make_due(key, refusal)
        folder = self.project.folder / "strace"
        folder.mkdir(exist_ok=True)
        log, done = folder / f"{serial}.log", folder / f"{serial}.done"
        program = needs.program("strace", "strace")
        plan = {"strace": [program, "-f", "-qq", "-s", "60", "-o", str(log), *strace]}
        environment = {
            "PYTHONPATH": str(Path(sitecustomize.__file__).parent),
            "REFUSE": json.dumps({**plan, "done": str(done)}),
        }
        with self._away() if self.scenario.away else contextlib.nullcontext():
            finished = self._command(key, environment)
        wait_until(done.exists, _LONGEST, "the end of all that it has started")
        run = Run(finished, log.read_text(errors="replace").splitlines())
        assert finished.returncode != 99, (finished, done.with_suffix(".done.out").read_text())
        if self.scenario.due:
            self._check_sweep(run, refusal)
        else:
            self._check_emit(run, refusal, keys)
        return run

    def _command(self, key: str, environment: dict[str, str]) -> Finished:
        text = self.scenario.input
        if self.scenario.command:
            return self.project.run(
                *(word.replace("{key}", key) for word in self.scenario.command),
                input=text and text.replace("{key}", key),
                env=environment,
                check=None,
                timeout=_PATIENCE,
            )
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", API, key],
            cwd=self.project.folder,
            env=self.project.environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            kill_group(process)
            process.communicate()
            raise AssertionError(f"emit has not returned after {_PATIENCE:g} s") from None
        return Finished(process.args, process.returncode, out, err)

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        """Let nobody find the store in this block, nor a state folder at its beginning."""
        shutil.rmtree(self.project.folder / "state")
        nowhere = "sqlite:///nowhere/events.db"
        if self.project.server:
            nowhere = self.project.url.replace(f":{self.project.server.port}/", ":1/")
        text = self.project.config.read_text()
        self.project.config.write_text(text.replace(self.project.url, nowhere))
        try:
            yield
        finally:
            self.project.config.write_text(text)

    def _make_due(self, key: str, refusal: str) -> None:
        """Put an event into the store and one into the spool; another one has failed once."""
        spool = self.project.folder / "state" / "spool"
        spool.mkdir(exist_ok=True)
        (spool / f"{key}.json").write_text(json.dumps({"name": "purchased", "key": f"{key}-b"}))
        lines = [{"name": "purchased", "key": f"{key}-a"}, {"name": "flaky", "key": f"{key}-c"}]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        self.project.run("emit", "-q", "--batch", "-", input=text)
        self._kept |= dict.fromkeys((f"{key}-a", f"{key}-b", f"{key}-c"), refusal)

    # --- what must be so after one run

    def _check_sweep(self, run: Run, refusal: str) -> None:
        if run.done.returncode not in (0, 1, 74, 78):
            self._wrong(refusal, _shown(run))
        else:
            self._check_words(run, refusal)

    def _check_emit(self, run: Run, refusal: str, keys: list[str]) -> None:
        """Check that the events are where the exit code says, and that it says it civilly."""
        code = run.done.returncode
        places = {key: self._places(key, run.done) for key in keys}
        kept = {key for key in keys if places[key] & {"store", "spool"}}
        given_back = {key for key in keys if "stderr" in places[key]}
        self._kept |= dict.fromkeys(kept, refusal)
        if code == 0:
            right = kept == set(keys) and not given_back
        elif self.scenario.is_batch:
            # Its file is still there. Where the answer to the commit is lost nobody knows.
            right = code in (2, 74, 78) and (not kept or "may be recorded" in run.done.stderr)
        elif code in (74, 78):
            sent = given_back == set(keys) or not self.scenario.command
            right = not kept and (sent or run.is_mute(2))
        else:
            right = False
        if right:
            if code:
                self._given_back |= dict.fromkeys(set(keys) - kept, refusal)
            self._check_words(run, refusal)
        else:
            found = "; ".join(f"{sorted(places[key]) or 'nowhere'}" for key in keys)
            self._wrong(refusal, f"event: {found}; {_shown(run)}")

    def _check_words(self, run: Run, refusal: str) -> None:
        """Check that it says what it says in a few lines, for people."""
        # What mysqlclient's C code prints where it cannot be loaded is not ours.
        said = run.done.stderr
        if self.project.server:
            said = _TRACEBACK.sub(lambda found: found[0] if "/eventctl/" in found[0] else "", said)
        lines = said.splitlines()
        uncivil = [x for x in lines if not x.startswith(("eventctl: ", '{"name": ')) and x]
        if uncivil or len(lines) > 4 or "Traceback" in run.done.stdout:
            self._wrong(refusal, f"event: as it says; {_shown(run)}")

    def _places(self, key: str, done: Finished) -> set[str]:
        """Return where an event is: in the store, in the spool, on stderr."""
        found = set()
        if self.project.value("SELECT COUNT(*) FROM eventctl_event WHERE `key` = ?", key):
            found.add("store")
        for path in (self.project.folder / "state" / "spool").glob("**/*.json"):
            if json.loads(path.read_text())["key"] == key:
                found.add("spool")
        for line in done.stderr.splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if event["key"] == key and event["name"] and "args" in event:
                    found.add("stderr")
        return found

    # --- what must be so at rest

    def rest(self) -> None:
        """Sweep a few times, and check that everything has been done, and nothing is left."""
        for _ in range(3):
            look.make_due(self.project)
            swept = self.project.run("sweep", check=None)
            if swept.returncode or swept.stderr:
                self._wrong("a plain sweep after it", _said(swept))
        self._check_events()
        self._check_files()

    def _check_events(self) -> None:
        ran = set((self.project.folder / "ran").read_text().splitlines())
        rows = self.project.rows("SELECT id, `key`, name, status FROM eventctl_event")
        by_key = {key: (event, name, status) for event, key, name, status in rows}
        for key, refusal in self._kept.items():
            if key not in by_key:
                self._wrong(refusal, f"{key} was recorded, and is lost")
                continue
            event, name, status = by_key[key]
            handlers = ("ok", "program") if name == "purchased" else ("flaky",)
            if status != 2:
                found = self.project.rows(
                    "SELECT handler, state, reason, attempts, last_error FROM eventctl_delivery"
                    " WHERE event_id = ?",
                    event,
                )
                self._wrong(refusal, f"after three sweeps its status is {status}: {found}")
            elif missing := [name for name in handlers if f"{event} {name}" not in ran]:
                self._wrong(refusal, f"processed, and {missing} never ran")
        for key, refusal in self._given_back.items():
            if key in by_key:
                self._wrong(refusal, f"{key} was given back, and is in the store")
        self._kept.clear()
        self._given_back.clear()

    def _check_files(self) -> None:
        state = self.project.folder / "state"
        left = {
            str(path.relative_to(state))
            for folder in ("spool", "claims")
            for path in (state / folder).rglob("*")
            if path.is_file()
        }
        if new := left - self._left:
            self._left |= new
            self._wrong("at rest", f"left in the state folder: {sorted(new)}")


def _shown(run: Run) -> str:
    """Return in one line what was refused, and what came of it."""
    refused = " ".join(run.refused[0].split(maxsplit=1)[1].split()) if run.refused else "nothing"
    return f"{_said(run.done)}; refused was {refused[:110]}"


def _said(done: Finished) -> str:
    lines = done.stderr.splitlines()
    words = " / ".join([*lines[:1], *lines[1:][-1:]])
    frames = [" ".join(frame) for frame in _FRAME.findall(done.stderr)]
    where = f" at {frames[-1]}" if frames else ""
    return f"exit {done.returncode}, stderr: {words[-300:]!r}{where}"


_FRAME = re.compile(r'File "[^"]*/(eventctl/[^"]*)", (line \d+, in \S+)')
"""Where in eventctl a traceback comes by."""
