"""Deployments: check for a state folder behind a changing link, or left in another release.

/srv/shop/current -> releases/7      the link that a deployment changes
/srv/shop/releases/6/events.state    left behind: no sweep looks there
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from eventctl.config.model import Config
from eventctl.format.text import counted
from eventctl.intake import spool_folder
from eventctl.setup.doctor.findings import Findings, problem, warning


def check_releases(config: Config) -> Findings:
    """Warn of a state folder that a deployment moves, and look for abandoned ones."""
    state = Path(config.store.state)
    for link in (state, *state.parents):
        # The system's own links, such as /var/run and /bin, do not move.
        own = link.parent != link.parent.parent and str(link) not in ("/var/run", "/var/lock")
        if own and os.path.islink(link):
            yield warning(
                f"{state} is reached through the link {link}: a deployment that changes it leaves"
                " behind what is in the spool",
                "set [store] state to a folder that stays, such as /var/lib/NAME/state, once"
                " a sweep has emptied the spool",
            )
    for folder in _left(config):
        there = folder / spool_folder.FOLDER
        waiting = [*spool_folder.files(there), *spool_folder.files(there / spool_folder.HELD)]
        if files := [entry.path for entry in waiting]:
            ours = shlex.quote(str(state / spool_folder.FOLDER))
            text = f"{counted(len(files), 'file')} in {there}, of an earlier release"
            move = f"mkdir -p -m 700 {ours} && mv {shlex.join(files[:20])} {ours}/"
            yield problem(f"{text}: no sweep looks there", move)


def _left(config: Config) -> Iterator[Path]:
    """Yield the state folders of other releases, at the same path in each.

    A release is a folder that contains events.toml and is the target of a link: either a link in
    the path of events.toml, or one up to three folders above the file. The target of another link
    is not an earlier release, but another project or stage.
    """
    store, folder = config.store, Path(config.path).parent
    state, real = Path(store.state), folder.resolve()
    names = {state.name, f"{Path(config.path).stem}.state", "eventctl.state"}
    if store.sqlite:
        names.add(f"{Path(store.sqlite).name}.state")
    near = (each for above in real.parents[:3] for each in _entries(above))
    targets = {each.resolve() for each in (folder, *folder.parents, *near) if os.path.islink(each)}
    for release in sorted(targets & {real, *real.parents}):
        for other in _entries(release.parent):
            if os.path.islink(other) or other in targets - {release}:
                continue
            for left in (other / real.relative_to(release) / name for name in sorted(names)):
                if os.path.isdir(left) and left.resolve() != state.resolve():
                    yield left


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []  # not readable for this user
