"""The tables of a store: their columns and their keys.

`migrations` creates them, and a test checks that the two agree. `schema` has those that people's
queries read, as peewee models. Times are in milliseconds since 1970, UTC, by the database's clock.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from eventctl.store.transaction import Row


class TableSpec(NamedTuple):
    """One table. If `numbered`, its key is one column, an id; otherwise the table is small."""

    name: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def numbered(self) -> bool:
        return self.keys == ("id",)

    @property
    def listed(self) -> str:
        return ", ".join(f"`{column}`" for column in self.columns)

    def key_of(self, row: Row) -> Any:
        """Return a row's key: a value, or a tuple of them if it has several columns."""
        values = self.key_values(row)
        return values[0] if len(values) == 1 else values

    def key_values(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[self.columns.index(column)] for column in self.keys)


def _table(name: str, columns: str, keys: str = "id") -> TableSpec:
    return TableSpec(f"eventctl_{name}", tuple(columns.split()), tuple(keys.split()))


TABLES = (
    _table("event", "id key name args expected status revision created_at"),
    # `reported_at`, as `reported` of an incident and `probed_at` of a breaker, is no longer used.
    _table(
        "delivery",
        "id event_id handler state reason attempts due_at claim alone waited took done_at"
        " last_error reported_at",
    ),
    _table("attempt", "id delivery_id number outcome ended_at took host error traceback output"),
    # Something to report, until it is part of an incident.
    _table("notice", "id kind delivery_id event_id subject error cause place created_at due_at"),
    # Failures with one cause. `open_as` is its fingerprint while it is open, and unique.
    _table(
        "incident",
        "id key kind handler fingerprint open_as error traceback output names event_ids count"
        " attempts waits_for reported opened_at last_at ended_at silent_until silent_since",
    ),
    # A member of an incident, to be resolved before it ends: a delivery, an event, or a place.
    _table("member", "id incident_id delivery_id event_id place"),
    # The notifications of one channel about one incident, and when the next is due.
    _table(
        "telling",
        "id incident_id channel told told_at told_count times due_at lease leased_until error",
    ),
    # The public interface for other programs: rows that become events.
    _table("outbox", "id key name args created_at held"),
    _table("breaker", "handler opened_at probed_at error", keys="handler"),
    _table("pause", "kind name paused_at why", keys="kind name"),
    _table(
        "sweep",
        "id host started_at ended_at succeeded retried failed rescued held lost_claims"
        " dropped_writes",
    ),
)

OWN = (
    # The identity of the store: one row with a random id.
    _table("store", "id identity"),
    # The migrations that were applied.
    _table("schema", "version applied_at", keys="version"),
)
"""Tables that a copy of the store does not take over."""

UNUSED = ("eventctl_copy",)
"""Tables that only older versions used."""
