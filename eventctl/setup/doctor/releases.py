"""Deployments: does the state folder move with a link, and was one left in another release?

/srv/shop/current -> releases/7      the link that a deployment changes
/srv/shop/releases/6/events.state    left behind: no sweep looks there
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from eventctl.config.model import Config
from eventctl.intake import spool_folder
from eventctl.setup.doctor.findings import Findings, Seen, count, problem, warning

_MOST = 1000
"""How many neighbours are looked at."""


def check_releases(config: Config, seen: Seen) -> Findings:
    """Warn of a state folder that a deployment moves, and look for those that it has left."""
    state = Path(config.store.state)
    for link in _links(state):
        yield warning(
            "state",
            f"{state} is reached through the link {link}: a deployment that changes it leaves"
            " behind what is in the spool",
            "set [store] state to a folder that stays, such as /var/lib/NAME/state, once"
            " eventctl sweep -v has emptied the spool",
        )
    for folder in _left(config):
        there = folder / spool_folder.FOLDER
        files = [
            entry.path
            for entry in (
                *spool_folder.files(there),
                *spool_folder.files(there / spool_folder.HELD),
            )
        ]
        if files:
            moved = f"mkdir -p -m 700 {shlex.quote(str(state / spool_folder.FOLDER))} && mv "
            moved += f"{' '.join(map(shlex.quote, files[:20]))} {shlex.quote(str(state))}/spool/"
            text = f"{count(len(files), 'file')} in {there}, of an earlier release: no sweep looks"
            yield problem("state", f"{text} there", moved)


def _links(state: Path) -> Iterator[Path]:
    """Yield the links on the way to a folder, but for the system's own, such as /var/run."""
    for folder in (state, *state.parents):
        if folder.is_symlink() and folder.parent != folder.parent.parent:
            system = ("/var/run", "/var/lock")
            if str(folder) not in system:
                yield folder


def _left(config: Config) -> Iterator[Path]:
    """Yield the state folders of other releases: beside a release, at the same place in it."""
    state = Path(config.store.state)
    names = {state.name, f"{Path(config.path).stem}.state", "eventctl.state"}
    if config.store.sqlite:
        names.add(f"{Path(config.store.sqlite).name}.state")
    mine = os.path.realpath(state)
    for release, inside in _releases(Path(config.path).parent):
        current = {link.resolve() for link in _links_near(release)}
        for other in _folders(release.parent):
            if other in current and other != release:
                continue  # a project of its own, or another stage
            for name in sorted(names):
                folder = other / inside / name
                if folder.is_dir() and os.path.realpath(folder) != mine:
                    yield folder


def _releases(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each folder around this one that a link names, and the way from there to this one.

    The link may be on the way that was taken, or beside the release or one folder above.
    """
    found = set()
    for link in (folder, *folder.parents):
        if link.is_symlink():
            found.add((link.resolve(), folder.relative_to(link)))
    real = folder.resolve()
    for release in (real, *real.parents[:1]):
        if any(link.resolve() == release for link in _links_near(release)):
            found.add((release, real.relative_to(release)))
    yield from sorted(found)


def _links_near(release: Path) -> list[Path]:
    return _links_in(release.parent) + _links_in(release.parent.parent)


def _links_in(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(folder) if entry.is_symlink()]


def _folders(folder: Path) -> list[Path]:
    entries = _entries(folder)
    return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for _, entry in zip(range(_MOST), entries, strict=False)]
    except OSError:
        return []  # not for this user to read
