"""What the page shows of what is wrong: the open incidents, what failed and is in none of them,
and what ended not long ago.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from eventctl.alerts.incident import Digest, by_fingerprint, digest, group
from eventctl.alerts.render import wording
from eventctl.config.model import Config
from eventctl.format.redact import Redaction
from eventctl.store import incidents as stored
from eventctl.store.database import Database
from eventctl.store.incidents import OUTAGE, Incident
from eventctl.store.queries import events, failures, incidents
from eventctl.store.queries.aggregate import Window
from eventctl.store.queries.incidents import Ended

MOST = 1000
"""How many open incidents are read, the newest ones."""

LATEST = 10
"""How many ended incidents are shown, those that ended last."""

_SHOWN = wording.FULL + wording.BRIEF


@dataclass(frozen=True, slots=True)
class Problems:
    """`open` are the open incidents, the most pressing first; `others` is what failed or is
    held and is in none of them. `channels` are the names of those in events.toml.
    """

    open: Digest
    others: Digest
    ended: Ended
    channels: frozenset[str]

    @property
    def all(self) -> Digest:
        """All that is wrong now."""
        return replace(self.open, incidents=(*self.open.incidents, *self.others.incidents))


def find_problems(config: Config, database: Database, window: Window, now: int) -> Problems:
    """Return what is wrong at `now` (in milliseconds since 1970), and what ended in a window."""
    redaction = Redaction(config.redact)

    def redacted(
        found: Iterable[Incident], events_of: Callable[[Incident], Sequence[int]]
    ) -> list[Incident]:
        shown = list(found)
        for number, each in enumerate(shown[:_SHOWN] if redaction else ()):
            shown[number] = _hidden(each, events_of(each), redaction, database)
        return shown

    pressing = sorted(incidents.incidents(database, limit=MOST), key=lambda i: _urgency(i, now))
    pressing = [*_with_texts(database, pressing[: wording.FULL]), *pressing[wording.FULL :]]
    ended = incidents.ended(database, window.since, window.until, LATEST)
    notices = failures.unsolved(database)
    # Here an incident's error is that of the first of its notices.
    first = {key: (found[0].event_id,) for key, found in by_fingerprint(notices).items()}
    return Problems(
        open=digest(config, *redacted(pressing, lambda each: each.event_ids)),
        others=digest(config, *redacted(group(notices), lambda each: first[each.fingerprint])),
        ended=replace(ended, latest=tuple(redacted(ended.latest, lambda each: each.event_ids))),
        channels=frozenset(channel.name for channel in config.channels),
    )


def _urgency(incident: Incident, now: int) -> tuple[bool, bool, bool, int, int]:
    """Sort what is acknowledged to the end, before it what is tried again by itself, outages to
    the beginning, and the rest by how much there is of it.
    """
    kind, size = incident.kind, (-incident.count, incident.opened_at)
    return incident.is_silent(now), kind == "failed", kind != OUTAGE, *size


def _with_texts(database: Database, found: Sequence[Incident]) -> Iterator[Incident]:
    """Yield incidents with their traceback and output, which lists are read without."""
    ids = [each.id for each in found]
    whole = database.transaction(lambda tx: stored.by_ids(tx, ids, whole=True))
    texts = {each.id: each for each in whole}
    for each in found:
        text = texts.get(each.id, each)  # where it was pruned meanwhile
        yield replace(each, traceback=text.traceback, output=text.output)


def _hidden(
    incident: Incident, event_ids: Sequence[int], redaction: Redaction, database: Database
) -> Incident:
    """Return an incident that shows nothing that is hidden in the args of its events."""
    texts = (incident.error, incident.traceback, incident.output)
    if any(event_ids):
        for page in events.pages(database, events.Selection(ids=tuple(event_ids))):
            for event in page:
                cut = redaction.hide(event.name, event.args).cut
                texts = (cut(texts[0]), cut(texts[1]), cut(texts[2]))
    error, traceback, output = texts
    return replace(incident, error=error, traceback=traceback, output=output)
