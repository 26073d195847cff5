"""Soak: hours of a bad week in a few minutes. `make soak`, or a short form in `make test`.

Two hosts sweep and emit on one store, while handlers fail, hang, die and ask for time, emits,
sweeps and workers are killed at random, and odd items come in by each door. In the end everything
that was acknowledged must be processed, or reported to a person; nothing may have run twice at
once, or have waited for long.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.load import Repeated
from tests.support.mariadb import MariaDB
from tests.support.memory import MOST_MEMORY, memory_with_much_due
from tests.support.odd_doors import PREFIX, OddDoors
from tests.support.project import Project, kill_group

TOML = """
[sweep]
breaker = 1000
grace = 0.3
jobs = 2

[defaults]
timeout = "1s"
retry = { attempts = 6, delay = 0.3, factor = 1.5, jitter = 0.2 }

[events]
mixed = ["first", "second"]
doomed = ["doomed"]

[handlers]
first = "handlers:at_random"
second = "handlers:at_random"
doomed = "handlers:doomed"

[report]
again_after = "1ms"
"""

HANDLERS = """
import os
import random
import signal
import time
from pathlib import Path

import eventctl
import journal

ASKED = Path(__file__).parent / "asked"
ASKED.mkdir(exist_ok=True)


def at_random(*args):
    now = eventctl.current()
    fate = random.Random(f"{SEED} {now.key} {now.handler} {now.attempt}").random()
    with journal.run():
        if fate < 0.03:
            os.kill(os.getpid(), signal.SIGKILL)
        elif fate < 0.05:
            os._exit(3)
        elif fate < 0.07:
            time.sleep(600)
        elif fate < 0.10:
            # It is the same attempt the next time, and so the same fate.
            if not ASKED.joinpath(f"{now.id}.{now.handler}").exists():
                ASKED.joinpath(f"{now.id}.{now.handler}").touch()
                raise eventctl.RetryLater(0.2)
        elif fate < 0.25:
            raise ConnectionError("the service is down")
        elif fate < 0.35:
            time.sleep(fate)


def doomed(*args):
    with journal.run():
        raise ValueError("it never works")
"""

LONGEST = 60.0
"""Seconds after which what was recorded must have been started, on a machine that is this busy."""

MOST_LEFT = 300
"""With so many deliveries that are neither over nor held, nothing is emitted."""

_LEFT = (
    "state NOT IN ('done', 'failed')"
    " AND (reason IS NULL OR reason NOT IN ('damaged args', 'unknown handler'))"
)
"""Of a delivery that is neither over nor held."""


class Soak:
    """One soak on an empty folder, for some seconds."""

    def __init__(self, folder: Path, seed: int, server: MariaDB | None = None) -> None:
        self._dice = random.Random(seed)
        self.hosts = [Project(folder / "one", server), Project(folder / "two", server)]
        first, second = self.hosts
        second.database = first.database
        for host in self.hosts:
            host.write(TOML, f"SEED = {seed}\n{HANDLERS}", store='state = "state"')
        (first.folder / "journal").mkdir()
        (second.folder / "journal").symlink_to(first.folder / "journal")
        # The second host has the first one's file; on MariaDB this changes nothing.
        text = second.config.read_text()
        text = text.replace("sqlite:///events.db", f"sqlite:///{first.folder / 'events.db'}")
        second.config.write_text(text)
        self.acknowledged: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.odd = OddDoors(first, random.Random(seed))
        self._lock = threading.Lock()
        self._span = 0.0
        self._began = time.time()

    def run(self, seconds: float) -> None:
        """Emit, sweep, fail and kill for so long; then sweep until nothing is left to do."""
        works: list[Callable[[], None]] = [self._emit, self._emit, self._knock]
        works += [self._sweep_of(host) for host in self.hosts]
        self._span = min(8.0, seconds / 3)
        self.hosts[0].run("sweep")
        with contextlib.ExitStack() as stack:
            for work in works:
                stack.enter_context(Repeated(work))
            threading.Event().wait(seconds)
        self._drain(time.monotonic() + 60 + seconds)

        self._ask()

    def _is_flooded(self) -> bool:
        """Wait a little if sweeps have much left to do: this is no test of an overload."""
        left = self.hosts[0].value(f"SELECT COUNT(*) FROM eventctl_delivery WHERE {_LEFT}")
        if left > MOST_LEFT:
            threading.Event().wait(0.2)
        return bool(left > MOST_LEFT)

    def _knock(self) -> None:
        if self._is_flooded():
            return
        keys = self.odd.knock()
        with self._lock:
            self.acknowledged |= keys

    def _ask(self) -> None:
        """Have everybody asked how things are."""
        self.complaints += self.odd.wrong
        for words in (
            *(("list", "--limit", "0"), ("stats",), ("stats", "--html", "page.html")),
            *(("check",), ("doctor",), ("alerts",)),
        ):
            done = self.hosts[0].run(*words, check=None)
            if "Traceback" in done.stderr or "a fault in" in done.stdout:
                self.complaints.append(f"{words}: {done.stdout}{done.stderr}")

    def _roll(self) -> float:
        with self._lock:
            return self._dice.random()

    def _emit(self) -> None:
        if self._is_flooded():
            return
        with self._lock:
            number = self.counts["emits"]
            self.counts["emits"] += 1
            host = self._dice.choice(self.hosts)
            how = self._dice.choice(["defer", "defer", "run", "detach", "batch"])
            name = "doomed" if self._dice.random() < 0.05 else "mixed"
        keys = [f"{number}-{n}" for n in range(5 if how == "batch" else 1)]
        if how == "batch":
            lines = "".join(json.dumps({"name": name, "key": key}) + "\n" for key in keys)
            process = host.start("emit", "--batch", "-", stdin=subprocess.PIPE)
        else:
            lines = None
            flag = {"defer": ("--defer",), "detach": ("--detach",), "run": ()}[how]
            process = host.start("emit", *flag, name, "--key", keys[0])
        printed = self._end(process, "emit", 0.1, 0.4, lines)
        # Who has read an id counts on its event, whatever became of emit then.
        ids = printed.split()
        kept = keys if process.returncode == 0 else keys[: len(ids)]
        with self._lock:
            self.acknowledged.update(kept)
            self.counts["detached"] += how == "detach"

    def _sweep_of(self, host: Project) -> Callable[[], None]:
        def sweep() -> None:
            process = host.start("sweep", "--for", f"{self._span:g}s")
            if self._roll() < 0.3:
                victim = threading.Timer(
                    self._span * self._roll(), self._kill_worker, [process.pid]
                )
                victim.start()
            else:
                victim = None
            self._end(process, "sweep", 0.5, self._span, None)
            if victim:
                victim.cancel()
                victim.join()

        return sweep

    def _end(
        self,
        process: subprocess.Popen[str],
        what: str,
        risk: float,
        longest: float,
        lines: str | None,
    ) -> str:
        """Let a process end, or kill it at some moment; return what it has printed."""
        killer = None
        if self._roll() < risk:
            killer = threading.Timer(longest * self._roll(), process.kill)
            killer.start()
        try:
            printed, words = process.communicate(lines, timeout=120)
        except subprocess.TimeoutExpired:
            kill_group(process)
            printed, words = process.communicate()
            self.complaints.append(f"{what} still ran after 120 s: {words}")
        finally:
            if killer:
                killer.cancel()
                killer.join()
        with self._lock:
            self.counts[f"{what}s ended"] += 1
            self.counts[f"{what}s killed"] += process.returncode == -signal.SIGKILL
            self.counts["database is locked"] += f"{printed}{words}".count("is locked")
            allowed = (0, 1, -signal.SIGKILL) if what == "sweep" else (0, -signal.SIGKILL)
            if "Traceback" in words or process.returncode not in allowed:
                self.complaints.append(f"{what} exited with {process.returncode}: {words}")
        return printed

    def _kill_worker(self, sweep: int) -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            workers = Path(f"/proc/{sweep}/task/{sweep}/children").read_text().split()
            if workers:
                os.kill(int(workers[0]), signal.SIGKILL)
                with self._lock:
                    self.counts["workers killed"] += 1

    def _drain(self, deadline: float) -> None:
        left = f"SELECT COUNT(*) FROM eventctl_delivery WHERE {_LEFT}"
        while time.monotonic() < deadline:
            for host in self.hosts:
                # What is held keeps its time: if it were always due first, odd rows behind it would
                # not be looked at.
                self.hosts[0].execute(
                    f"UPDATE eventctl_delivery SET due_at = 1 WHERE state = 'pending' AND {_LEFT}"
                )
                # What a killed sweep was sending is sent again once its lease has ended.
                self.hosts[0].execute(
                    "UPDATE eventctl_telling SET leased_until = 1 WHERE leased_until IS NOT NULL"
                )
                host.run("sweep", "--max-time", "20s", check=None)
            if not self.hosts[0].value(left) and not self._spooled():
                return

    def _spooled(self) -> int:
        return sum(len(list(h.folder.glob("state/spool/*.json"))) for h in self.hosts)

    def figures(self) -> dict[str, int]:
        """Return what happened, by the words for it."""
        store = self.hosts[0]
        known = store.rows("SELECT `key`, status, id, created_at FROM eventctl_event")
        events = [event for event in known if not str(event[0]).startswith(PREFIX)]
        status = {key: value for key, value, _, _ in events}
        failed = "SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'failed'"
        runs = self.hosts[0].runs()
        started = Counter((e.event, e.handler) for e in runs if e.what == "start")
        first: dict[int, float] = {}
        for entry in runs:
            first.setdefault(entry.event, time.time() - time.monotonic() + entry.at)
        return {
            "emits": self.counts["emits"],
            "emits killed": self.counts["emits killed"],
            "sweeps": self.counts["sweeps ended"],
            "sweeps killed": self.counts["sweeps killed"],
            "workers killed": self.counts["workers killed"],
            "events": len(status),
            "acknowledged": len(self.acknowledged),
            "processed": sum(value == 2 for value in status.values()),
            "failed": sum(value == 3 for value in status.values()),
            "handlers started": sum(started.values()),
            "failed deliveries": store.value(failed),
            "reported": store.value(
                f"{failed} AND id IN (SELECT m.delivery_id FROM eventctl_member m"
                " JOIN eventctl_telling t ON t.incident_id = m.incident_id WHERE t.times > 0)"
            ),
            "lost": len(self.acknowledged - status.keys())
            + sum(value not in (2, 3) for value in status.values())
            + self._spooled(),
            "odd items": self.odd.count,
            "forgotten": store.value(
                f"SELECT COUNT(*) FROM eventctl_delivery WHERE {_LEFT} AND event_id IN"
                f" (SELECT id FROM eventctl_event WHERE `key` LIKE '{PREFIX}%')"
            ),
            "starved": sum(
                first.get(event, 0.0) > max(created_at / 1000, self._began) + LONGEST
                for _, _, event, created_at in events
            ),
            "twice at once": sum(bool(entry.alive) for entry in runs),
            "database is locked": self.counts["database is locked"]
            + store.value(
                "SELECT COUNT(*) FROM eventctl_delivery WHERE last_error LIKE '%is locked%'"
            ),
            "complaints": len(self.complaints),
        }

    def close(self) -> None:
        """End what still runs."""
        for host in self.hosts:
            host.close()


def broken(figures: dict[str, int]) -> list[str]:
    """Return the promises that these figures break."""
    found = [
        f"{name}: {figures[name]}, not 0"
        for name in (
            "lost",
            "forgotten",
            "twice at once",
            "starved",
            "database is locked",
            "complaints",
        )
        if figures[name]
    ]
    if figures["reported"] != figures["failed deliveries"]:
        found.append(f"{figures['failed deliveries'] - figures['reported']} failures unreported")
    return found


@contextlib.contextmanager
def _server(store: str, folder: Path) -> Iterator[MariaDB | None]:
    if store == "sqlite":
        yield None
        return
    server = MariaDB(folder / "server")
    try:
        server.start()
        yield server
    finally:
        server.close()


def main(store: str = "sqlite") -> int:
    """Soak for EVENTCTL_SOAK seconds with EVENTCTL_SEED; print the figures; 1 if one is bad."""
    seconds = float(os.environ.get("EVENTCTL_SOAK", "600"))
    seed = int(os.environ.get("EVENTCTL_SEED", str(random.randrange(1_000_000))))
    print(f"soak on {store} for {seconds:g} s; to repeat it: EVENTCTL_SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="eventctl-soak-") as name:
        folder = Path(name)
        (folder / "server").mkdir()
        with _server(store, folder) as server:
            soak = Soak(folder / "soak", seed, server)
            large = Project(folder / "large", server)
            try:
                soak.run(seconds)
                figures = soak.figures()
                for what, count in figures.items():
                    print(f"{count:8d}  {what}")
                for complaint in soak.complaints:
                    print(complaint)
                before, after = memory_with_much_due(large)
            finally:
                soak.close()
                large.close()
    print(f"{before:8.1f}  MiB, the peak of a sweep with nothing due")
    print(f"{after:8.1f}  MiB, the peak of a sweep with 100,000 due")
    bad = broken(figures)
    if after > before + MOST_MEMORY:
        bad.append(f"memory: {after - before:.0f} MiB more with 100,000 due")
    for line in bad:
        print(f"BROKEN: {line}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
