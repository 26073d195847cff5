"""Notify each channel of what is due.

All channels are notified at the same time, so that one that hangs does not delay the others. What
is accepted is recorded at once; the rest stays due.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from eventctl.alerts import channels
from eventctl.alerts.incident import Digest, digest
from eventctl.config.model import Alert, Config
from eventctl.errors import ChannelError, MessageRefused
from eventctl.format.time import duration
from eventctl.store import incident_members, incidents, notifications
from eventctl.store.batches import do_each
from eventctl.store.database import Database
from eventctl.store.incident_members import Unresolved
from eventctl.store.incidents import Incident, Notification
from eventctl.store.notifications import ENDED

FULL = 10
"""How many incidents a channel gets one by one in a sweep; the rest is one summary."""

_START = 45.0
"""Seconds in which a channel may begin a message, so that it ends within its lease."""
_WAIT = 90.0
"""Seconds that a sweep waits for a channel."""
_AGAIN = 50.0
"""Seconds until a failed channel is tried again: the next minute's sweep. A channel that wants
each sweep is also sent open incidents at this interval."""
_FAILURES = 2
"""After this many failures in a row, a channel is considered down."""

_NOTHING = Unresolved(cancelled=0, given_up=0)

_Due = tuple[Notification, Incident]


@dataclass(slots=True)
class Notified:
    """The result of a sweep's notifications."""

    incidents: set[int] = field(default_factory=set)
    """Incidents that at least one channel accepted, and that require a person."""
    accepted: set[str] = field(default_factory=set)
    """The channels that accepted everything."""
    failures: dict[str, str] = field(default_factory=dict)
    """Why a channel did not accept a message, by its name."""
    warnings: list[str] = field(default_factory=list)


class Notifier:
    """Notifies all channels, once a pass of a sweep."""

    def __init__(self, config: Config, database: Database, host: str) -> None:
        self._config = config
        self._database = database
        self._host = host
        self._down: dict[str, float] = {}
        self._heard_all: dict[str, float] = {}
        """When each channel that wants each sweep was last sent all open incidents."""
        self.outcome = Notified()

    def run(self) -> None:
        """Notify each channel of what is due; return when all are done, or the time is over."""
        now = time.monotonic()
        threads = []
        for channel in self._config.channels:
            if now - self._down.get(channel.name, -_AGAIN) < _AGAIN:
                continue
            token = notifications.new_token()
            due = self._lease(channel, token)
            if due:
                work = _Work(self, channel, token, due)
                thread = threading.Thread(target=work.run, name=channel.name, daemon=True)
                thread.start()
                threads.append((thread, work))
        for thread, _ in threads:
            thread.join(max(0.0, now + _WAIT - time.monotonic()))
        for thread, work in threads:
            self._take_note(work, hangs=thread.is_alive())

    def _lease(self, channel: Alert, token: str) -> list[_Due]:
        now = time.monotonic()
        heard_all = self._heard_all.get(channel.name, -_AGAIN)
        all_open = channel.channel in channels.EACH_SWEEP and now - heard_all >= _AGAIN
        if all_open:
            self._heard_all[channel.name] = now
        return self._database.transaction(
            lambda tx: notifications.lease(tx, channel, token, all_open=all_open)
        )

    def _take_note(self, work: _Work, *, hangs: bool) -> None:
        name = work.channel.name
        self.outcome.incidents |= work.notified
        self.outcome.warnings += work.warnings
        if hangs:
            work.error = f"it was not done after {duration(_WAIT)}"
        if work.fault is not None:
            raise work.fault
        if work.error:
            self.outcome.failures[name] = work.error
            self._down[name] = time.monotonic()
        else:
            self.outcome.accepted.add(name)
            self.outcome.failures.pop(name, None)

    def digest(self, due: Sequence[_Due], full: int = FULL) -> Digest:
        """Return a message about these incidents, the first ones with traceback and output."""
        read = self._database.transaction
        first = [each.id for _, each in due[:full]]
        texts = {each.id: each for each in read(lambda tx: incidents.by_ids(tx, first, whole=True))}
        over = [each.id for _, each in due if not each.is_open]
        ended = read(lambda tx: incident_members.outcomes(tx, over))
        # Changes since the lease are for the next message.
        shown = (
            replace(
                incident_members.still_tried(self._database, incident),
                traceback=texts.get(incident.id, incident).traceback,
                output=texts.get(incident.id, incident).output,
                sequence=sent.times,
                **ended.get(incident.id, _NOTHING)._asdict(),
            )
            for sent, incident in due
        )
        return digest(self._config, *shown, host=self._host)

    def accepted(self, work: _Work, sent: Sequence[_Due]) -> None:
        """Record what a channel has accepted."""
        self._database.transaction(
            lambda tx: notifications.accepted(tx, work.channel, work.token, sent)
        )

    def release(self, work: _Work, left: Sequence[_Due], error: str | None) -> None:
        """Give up the lease of the rest."""
        ids = [sent.id for sent, _ in left]
        self._database.transaction(lambda tx: notifications.release(tx, work.token, ids, error))


class _Work:
    """The notifications of one channel in one pass, in its own thread."""

    def __init__(self, notifier: Notifier, channel: Alert, token: str, due: list[_Due]) -> None:
        self._notifier = notifier
        self.channel = channel
        self.token = token
        self._due = sorted(due, key=_urgency)
        self.notified: set[int] = set()
        self.warnings: list[str] = []
        self.error = ""
        self._is_separate = False
        self._begin = time.monotonic()
        self._failures = 0
        """How many messages in a row were not accepted."""
        self.fault: Exception | None = None
        """An error that is not the channel's: the store is unavailable."""

    def run(self) -> None:
        """Send all messages, until the channel is down or the time is over."""
        try:
            for message in self._messages():
                do_each(message, self._send, self._send_plain)
        except Exception as error:  # noqa: BLE001 - raised again by the sweep's own thread
            self.fault = error

    def _send(self, message: Sequence[_Due], full: int = FULL) -> None:
        """Send one message, or leave it to the next sweep. Raises MessageRefused."""
        if self._failures >= _FAILURES or time.monotonic() - self._begin > _START:
            self._notifier.release(self, message, None)
            return
        try:
            self.warnings += channels.send(self.channel, self._notifier.digest(message, full))
        except ChannelError as error:
            # A summary is not divided: a flood of messages would be worse.
            is_summary = self._is_separate and len(message) > 1
            if isinstance(error, channels.ChannelFault if is_summary else MessageRefused):
                raise
            self._refused(message, error)
            return
        self._failures = 0
        self._notifier.accepted(self, message)
        self.notified |= {
            each.id
            for sent, each in message
            if sent.due_at is not None and each.is_open and each.kind != "failed"
        }

    def _send_plain(self, one: _Due, error: Exception) -> None:
        """Notify of an incident without its details, which cannot be shown because of `error`."""
        sent, incident = one
        what = f"what is known of it cannot be shown ({type(error).__name__}: {error})"
        plain = replace(incident, error=what, names=(), event_ids=())
        try:
            self._send([(sent, plain)], full=0)
        except ChannelError as fault:  # the channel is at fault, not the message
            self._refused([one], fault)

    def _refused(self, message: Sequence[_Due], error: ChannelError) -> None:
        self._failures += 1
        self.error = str(error)
        self._notifier.release(self, message, self.error)

    def _messages(self) -> Iterator[list[_Due]]:
        with suppress(ImportError):  # sending reports what is missing
            self._is_separate = channels.channel_of(self.channel).SEPARATE
        if not self._is_separate:
            yield self._due
            return
        yield from ([each] for each in self._due[:FULL])
        if rest := self._due[FULL:]:
            yield rest


def _urgency(due: _Due) -> tuple[bool, bool, bool, int, int, int]:
    """Return the sort key: previously refused ones last, open before ended, new before repeated,
    and then by size.
    """
    sent, incident = due
    is_known = sent.state not in (None, ENDED)
    size = (-incident.count, incident.opened_at, incident.id)
    return (sent.error is not None, not incident.is_open, is_known, *size)


def complaint(channel: str) -> str:
    """Return the name for `StateFolder.once_in` of reports about a channel."""
    return "alert-" + "".join(c if c.isalnum() or c in "-_" else "_" for c in channel)
