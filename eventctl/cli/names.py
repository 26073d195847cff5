"""Check names of events and handlers that a person typed, and suggest similar ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from eventctl.config.model import Config
from eventctl.errors import UsageError
from eventctl.format.text import did_you_mean, which
from eventctl.format.time import second
from eventctl.store.pauses import Kind

if TYPE_CHECKING:
    from eventctl.store.database import Database


def of(config: Config, kind: Kind) -> Collection[str]:
    """Return the names of this kind in events.toml."""
    return config.handlers if kind == Kind.HANDLER else config.events


def require(
    config: Config,
    kind: Kind,
    names: Iterable[str],
    store: Database | None,
    since: int | None = None,
) -> None:
    """Raise UsageError for a name that is neither in events.toml nor in the store, if any.

    A handler is searched for in the newest deliveries, and in those since then if given, in
    milliseconds since 1970.
    """
    for name in names:
        if name not in of(config, kind) and not (store and is_recorded(store, kind, name, since)):
            raise UsageError(unknown(config, [kind], name, store, since))


def is_recorded(store: Database, kind: Kind, name: str, since: int | None = None) -> bool:
    """Return whether the store has a name, which events.toml may no longer have."""
    from eventctl.store.queries import search  # lazy: a sweep does not need peewee

    return search.is_recorded(store, kind, name, since)


def unknown(
    config: Config,
    kinds: list[Kind],
    name: str,
    store: Database | None = None,
    since: int | None = None,
) -> str:
    """Return one line that says that a name is unknown, and suggests similar ones."""
    what = f"no {' or '.join(kinds)} {name!r} in {config.path}"
    if store:
        where = "the store"
        if Kind.HANDLER in kinds:
            newest = "the newest 100,000 deliveries of the store"
            where = newest if since is None else f"the store since {second(since)} UTC"
        what = what.replace(" in ", ", neither in ", 1) + f" nor in {where}"
    for kind in kinds:
        if hint := did_you_mean(name, of(config, kind)):
            return f"{what}: {hint}"
    return f"{what}: {which(name, of(config, kinds[-1]), f'{kinds[-1]}s')}"
