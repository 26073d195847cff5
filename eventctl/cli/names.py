"""Check names of events and handlers that a person typed, and suggest similar ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from eventctl.config.model import Config
from eventctl.errors import UsageError
from eventctl.format.text import did_you_mean, which
from eventctl.store.pauses import Kind

if TYPE_CHECKING:
    from eventctl.store.database import Database


def of(config: Config, kind: Kind) -> Collection[str]:
    """Return the names of this kind in events.toml."""
    return config.handlers if kind == Kind.HANDLER else config.events


def require(config: Config, kind: Kind, names: Iterable[str], store: Database | None) -> None:
    """Raise UsageError for a name that is neither in events.toml nor in the store, if any."""
    for name in names:
        if name not in of(config, kind) and not (store and is_recorded(store, kind, name)):
            raise UsageError(unknown(config, [kind], name, store))


def is_recorded(store: Database, kind: Kind, name: str) -> bool:
    """Return whether the store has a name, which events.toml may no longer have."""
    from eventctl.store.queries import operations  # lazy: a sweep does not need peewee

    return operations.is_recorded(store, kind, name)


def unknown(config: Config, kinds: list[Kind], name: str, store: Database | None = None) -> str:
    """Return one line that says that a name is unknown, and suggests similar ones."""
    what = f"no {' or '.join(kinds)} {name!r} in {config.path}"
    if store:
        where = "the newest 100,000 deliveries of " if Kind.HANDLER in kinds else ""
        what = what.replace(" in ", ", neither in ", 1) + f" nor in {where}the store"
    for kind in kinds:
        if hint := did_you_mean(name, of(config, kind)):
            return f"{what}: {hint}"
    return f"{what}: {which(name, of(config, kinds[-1]), f'{kinds[-1]}s')}"
