"""The problems that the page shows: open incidents, failures outside of incidents, and incidents
that ended recently.
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
"""How many of the newest open incidents are read."""

LATEST = 10
"""How many of the incidents that ended last are shown."""

_SHOWN = wording.FULL + wording.BRIEF


@dataclass(frozen=True, slots=True)
class Problems:
    """`open` are the open incidents, the most urgent first; `others` are failed or held
    deliveries in no incident. `channels` are the names in events.toml.
    """

    open: Digest
    others: Digest
    ended: Ended
    channels: frozenset[str]

    @property
    def all(self) -> Digest:
        """All current problems."""
        return replace(self.open, incidents=(*self.open.incidents, *self.others.incidents))


def find_problems(config: Config, database: Database, window: Window, now: int) -> Problems:
    """Return the problems at `now` (in milliseconds since 1970), and the incidents that ended in
    a window.
    """
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
    # An incident's error here is that of its first notice.
    first = {key: (found[0].event_id,) for key, found in by_fingerprint(notices).items()}
    return Problems(
        open=digest(config, *redacted(pressing, lambda each: each.event_ids)),
        others=digest(config, *redacted(group(notices), lambda each: first[each.fingerprint])),
        ended=replace(ended, latest=tuple(redacted(ended.latest, lambda each: each.event_ids))),
        channels=frozenset(channel.name for channel in config.channels),
    )


def _urgency(incident: Incident, now: int) -> tuple[bool, bool, bool, int, int]:
    """Sort outages first, then others by size, then what is retried anyway, then acknowledged
    ones.
    """
    kind, size = incident.kind, (-incident.count, incident.opened_at)
    return incident.is_silent(now), kind == "failed", kind != OUTAGE, *size


def _with_texts(database: Database, found: Sequence[Incident]) -> Iterator[Incident]:
    """Yield incidents with their traceback and output, which lists omit."""
    ids = [each.id for each in found]
    whole = database.transaction(lambda tx: stored.by_ids(tx, ids, whole=True))
    texts = {each.id: each for each in whole}
    for each in found:
        text = texts.get(each.id, each)  # it may have been pruned
        yield replace(each, traceback=text.traceback, output=text.output)


def _hidden(
    incident: Incident, event_ids: Sequence[int], redaction: Redaction, database: Database
) -> Incident:
    """Return an incident without the hidden values in the args of its events."""
    texts = (incident.error, incident.traceback, incident.output)
    if any(event_ids):
        for page in events.pages(database, events.Selection(ids=tuple(event_ids))):
            for event in page:
                cut = redaction.hide(event.name, event.args).cut
                texts = (cut(texts[0]), cut(texts[1]), cut(texts[2]))
    error, traceback, output = texts
    return replace(incident, error=error, traceback=traceback, output=output)
