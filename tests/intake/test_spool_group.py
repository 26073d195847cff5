"""The spool where emitters and sweep are different users, who share a group."""

from __future__ import annotations

import grp
import re
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


@pytest.mark.parametrize("owner", ["daemon", "games"])
def test_a_file_that_the_sweep_may_not_read_and_whose_it_is(shared: Project, owner: str) -> None:
    """The command in the message makes it readable, also if it is the sweep's own."""
    shared.write(TOML, HANDLERS, store=f'{STORE}group = "{GROUP}"\n')
    shared.config.chmod(0o644)
    shared.folder.chmod(0o777)
    shared.run("sweep", wrapper=user("daemon"))
    spool = shared.folder / "state" / "spool"
    shared.run("emit", "--defer", "purchased", wrapper=user("daemon"))
    spool.mkdir(exist_ok=True)
    shutil.chown(spool, "daemon", GROUP)
    file = spool / "order-17"
    file.write_text('{"name": "purchased"}')
    file.chmod(0)
    shutil.chown(file, owner)
    said = shared.run("sweep", wrapper=user("daemon"), check=1).stdout
    lines = [line.strip(" |") for line in said.splitlines()]
    command = next(line for line in lines if line.startswith(("chmod ", "chown ")))
    assert command.startswith("chmod" if owner == "daemon" else "chown")
    subprocess.run(["sh", "-c", command], check=True)
    if owner == "games":
        (spool / "held" / "order-17").chmod(0o600)
    shared.run("sweep", wrapper=user("daemon"))
    assert look.count(shared, "event") == 2


def test_another_user_is_told_whose_it_is(shared: Project) -> None:
    """And not to take the spool away from its owner."""
    shared.write(TOML, HANDLERS, store=STORE)
    shared.config.chmod(0o644)
    shared.folder.chmod(0o777)
    shared.run("sweep", wrapper=user("daemon"))
    (shared.folder / "state" / "spool").mkdir(exist_ok=True)
    shutil.chown(shared.folder / "state" / "spool", "daemon")
    said = shared.run("sweep", wrapper=user("games"), check=74).stderr
    assert "run eventctl as daemon, or share it with [store] group" in said
    found = shared.run("doctor", wrapper=user("games"), check=None).stdout
    assert "run eventctl as daemon" in found
    assert "chown" not in found


@pytest.mark.parametrize(
    ("group", "fix"),
    [("nosuch", "addgroup nosuch"), ("mail", "adduser games mail, and log in again")],
)
def test_a_group_that_cannot_be_given(shared: Project, group: str, fix: str) -> None:
    """The event is recorded, the sweep says what to do, and no closed folder is left."""
    shared.write(TOML, HANDLERS, store=f'{STORE}group = "{group}"\n')
    shared.config.chmod(0o644)
    shared.folder.chmod(0o777)
    done = shared.run("emit", "purchased", wrapper=user("games"))
    assert done.stdout == "1\n"
    assert fix in done.stderr
    said = shared.run("sweep", wrapper=user("games"), check=74).stderr
    assert (fix in said, said.count("\n")) == (True, 1)
    assert not (shared.folder / "state").exists()
    assert fix in shared.run("doctor", wrapper=user("games"), check=1).stdout


def test_one_command_by_root_and_how_the_user_goes_on(shared: Project) -> None:
    """Its files belong to root. What the messages say to type puts that right."""
    shared.write(TOML, HANDLERS, store=STORE)
    shared.config.chmod(0o644)
    shutil.chown(shared.folder, "daemon")
    shared.run("emit", "purchased")
    said = shared.run("emit", "purchased", wrapper=user("daemon"), check=74).stderr
    said += shared.run("sweep", wrapper=user("daemon"), check=74).stderr
    commands = dict.fromkeys(re.findall(r"chown (?:-R )?daemon [^;, ]+", said))
    assert len(commands) == 2, said
    for command in commands:
        subprocess.run(["sh", "-c", command], check=True)
    shared.run("emit", "purchased", wrapper=user("daemon"))
    shared.run("sweep", wrapper=user("daemon"))
    assert look.count(shared, "event") == 2
