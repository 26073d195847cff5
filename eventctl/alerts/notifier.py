"""Tell each channel what it is owed: all of them at the same time, so that one that hangs
holds up no other. What is accepted is marked at once; the rest stays due.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from eventctl.alerts import channels
from eventctl.alerts.incident import Digest, of
from eventctl.config.model import Alert, Config
from eventctl.errors import ChannelError
from eventctl.store import incidents, notifications
from eventctl.store.database import Database
from eventctl.store.incidents import Case
from eventctl.store.notifications import ENDED, Telling

FULL = 10
"""How many incidents a channel is told one by one in a sweep; the rest is one summary."""

_START = 45.0
"""Seconds in which a channel may begin a message: what it takes then ends within its lease."""
_WAIT = 90.0
"""Seconds after which a sweep waits for a channel no more."""
_AGAIN = 50.0
"""Seconds for which a channel that has failed is left alone: until the next minute's sweep."""
_FAILURES = 2
"""After so many failures in a row, a channel is taken to be down."""

_Owed = tuple[Telling, Case]


@dataclass(slots=True)
class Told:
    """What came of it."""

    incidents: set[int] = field(default_factory=set)
    """Those that at least one channel was told of, and that a person must act on."""
    accepted: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    """By the name of a channel, why it did not accept something."""
    warnings: list[str] = field(default_factory=list)


class Teller:
    """Tells all channels, once a pass of a sweep."""

    def __init__(self, config: Config, database: Database, host: str) -> None:
        self._config = config
        self._database = database
        self._host = host
        self._down: dict[str, float] = {}
        self.told = Told()

    def run(self) -> None:
        """Tell each channel what is due; return when all are done, or time is over."""
        now = time.monotonic()
        threads = []
        for channel in self._config.channels:
            if now - self._down.get(channel.name, -_AGAIN) < _AGAIN:
                continue
            lease = notifications.new_lease()
            owed = self._take(channel, lease)
            if owed:
                work = _Work(self, channel, lease, owed)
                thread = threading.Thread(target=work.run, name=channel.name, daemon=True)
                thread.start()
                threads.append((thread, work))
        for thread, _ in threads:
            thread.join(max(0.0, now + _WAIT - time.monotonic()))
        for thread, work in threads:
            self._take_note(work, hangs=thread.is_alive())

    def _take(self, channel: Alert, lease: str) -> list[_Owed]:
        return self._database.transaction(lambda tx: notifications.take(tx, channel, lease))

    def _take_note(self, work: _Work, *, hangs: bool) -> None:
        name = work.channel.name
        self.told.incidents |= work.told
        self.told.warnings += work.warnings
        if hangs:
            work.error = f"it was not done after {_WAIT:g} s"
        if work.fault is not None:
            raise work.fault
        if work.error:
            self.told.failures[name] = work.error
            self._down[name] = time.monotonic()
        else:
            self.told.accepted.add(name)
            self.told.failures.pop(name, None)

    def digest(self, found: Sequence[_Owed]) -> Digest:
        """Return a message about these incidents, those with most to tell in full."""
        whole = {case.id: case for case in self._whole(found[:FULL])}
        cancelled = self._cancelled([case for _, case in found if case.ended_at is not None])
        return Digest(
            incidents=tuple(
                of(whole.get(case.id, case), telling.times, cancelled.get(case.id, 0))
                for telling, case in found
            ),
            path=self._config.path,
            host=self._host,
            handlers=frozenset(self._config.handlers),
        )

    def _whole(self, found: Sequence[_Owed]) -> list[Case]:
        ids = [case.id for _, case in found]
        read = self._database.transaction(lambda tx: incidents.cases(tx, ids, whole=True))
        counts = {case.id: case for _, case in found}
        # What has happened since it was taken is for the next message.
        return [
            replace(counts[case.id], traceback=case.traceback, output=case.output) for case in read
        ]

    def _cancelled(self, ended: Sequence[Case]) -> dict[int, int]:
        ids = [case.id for case in ended]
        if not ids:
            return {}
        return self._database.transaction(lambda tx: incidents.given_up_by_a_person(tx, ids))

    def mark_told(self, work: _Work, sent: Sequence[_Owed]) -> None:
        """Mark what a channel has accepted."""
        self._database.transaction(
            lambda tx: notifications.told(tx, work.channel, work.lease, sent)
        )

    def mark_not_told(self, work: _Work, left: Sequence[_Owed], error: str | None) -> None:
        """Mark what it has not."""
        ids = [telling.id for telling, _ in left]
        self._database.transaction(lambda tx: notifications.not_told(tx, work.lease, ids, error))


class _Work:
    """What one channel is told in one pass, by a thread of its own."""

    def __init__(self, teller: Teller, channel: Alert, lease: str, owed: list[_Owed]) -> None:
        self._teller = teller
        self.channel = channel
        self.lease = lease
        self._owed = sorted(owed, key=_urgency)
        self.told: set[int] = set()
        self.warnings: list[str] = []
        self.error = ""
        self.fault: Exception | None = None
        """What is no failure of the channel: the store is away."""

    def run(self) -> None:
        """Send message after message, until the channel is down or its time is over."""
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - raised again by the sweep's own thread
            self.fault = error

    def _run(self) -> None:
        begin = time.monotonic()
        failures = 0
        for message in self._messages():
            if failures >= _FAILURES or time.monotonic() - begin > _START:
                self._teller.mark_not_told(self, message, None)
                continue
            try:
                self.warnings += channels.send(self.channel, self._teller.digest(message))
            except ChannelError as error:
                failures += 1
                self.error = str(error)
                self._teller.mark_not_told(self, message, self.error)
            else:
                failures = 0
                self._teller.mark_told(self, message)
                self.told |= {case.id for _, case in message if _needs_a_person(case)}

    def _messages(self) -> Iterator[list[_Owed]]:
        try:
            separate = channels.channel_of(self.channel).SEPARATE
        except ImportError:
            separate = False  # to send it then says what is missing
        if not separate:
            yield self._owed
            return
        yield from ([each] for each in self._owed[:FULL])
        if rest := self._owed[FULL:]:
            yield rest


def _needs_a_person(case: Case) -> bool:
    return case.ended_at is None and case.kind != "failed"


def _urgency(owed: _Owed) -> tuple[bool, bool, bool, int, int, int]:
    """Sort what was refused before to the end, what is open before what ended, what is new
    before what is told again, and then by how much there is of it.
    """
    telling, case = owed
    is_known = telling.told not in (None, ENDED)
    ended = case.ended_at is not None
    return (telling.error is not None, ended, is_known, -case.count, case.opened_at, case.id)


def complaint(channel: str) -> str:
    """Return the name under which `StateFolder.once_in` keeps complaints about a channel."""
    return "alert-" + "".join(c if c.isalnum() or c in "-_" else "_" for c in channel)
