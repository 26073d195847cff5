"""The spool where emitters and sweep are different users, who share a group."""

from __future__ import annotations

import grp
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import look, needs
from tests.support.away import STORE, spooled
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Project
from tests.support.users import GROUP, user


@pytest.fixture
def shared() -> Iterator[Project]:
    """A project in a folder that every user can reach."""
    needs.root("two users")
    with tempfile.TemporaryDirectory(prefix="eventctl-") as folder:
        Path(folder).chmod(0o755)
        project = Project(Path(folder) / "project")
        try:
            yield project
        finally:
            project.close()


@pytest.mark.parametrize("first", ["emit", "sweep"])
def test_emitter_and_sweep_are_two_users_of_one_group(shared: Project, first: str) -> None:
    """`games` emits, and has no right to the store; `daemon` sweeps."""
    shared.write(TOML, HANDLERS, store=f'{STORE}group = "{GROUP}"\n')
    shared.config.chmod(0o644)
    for name, mode, owner in (("store", 0o700, "daemon"), ("journal", 0o755, "daemon")):
        (shared.folder / name).mkdir()
        (shared.folder / name).chmod(mode)
        shutil.chown(shared.folder / name, owner)
    (shared.folder / "events.db").symlink_to("store/events.db")
    shutil.chown(shared.folder, group=GROUP)
    shared.folder.chmod(0o2775)
    if first == "sweep":
        shared.run("sweep", wrapper=user("daemon"))
    for turn in (1, 2):
        done = shared.run("emit", "purchased", str(turn), wrapper=user("games"))
        assert done.returncode == 0
        assert "the event is kept in" in done.stderr
        (path,) = spooled(shared)
        group = grp.getgrnam(GROUP).gr_gid
        for where, mode in ((path, 0o660), (path.parent, 0o2770), (path.parent.parent, 0o2770)):
            found = where.stat()
            assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (group, mode)
        swept = shared.run("sweep", wrapper=user("daemon"))
        assert (swept.stdout, swept.stderr) == ("", "")
        assert spooled(shared) == []
        assert look.notes(shared)[turn - 1 :] == [f'["{turn}"]']
    # The other way round: what only the sweep's user had made is open to the emitter's.
    outsider = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")
    listed = subprocess.run(
        [*outsider, "ls", shared.folder / "state" / "spool"], capture_output=True, text=True
    )
    assert listed.returncode == 2
    assert "Permission denied" in listed.stderr
