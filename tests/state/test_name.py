"""The state folder's name: one machine's and one place's, whatever lies there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from eventctl.state.folder import StateFolder
from tests.support import needs
from tests.support.databases import sqlite_only
from tests.support.diagnosis import doctor
from tests.support.gate import Gate
from tests.support.project import Project

TOML = '[events]\nbought = ["draw"]\n[handlers]\ndraw = "handlers:draw"\n'
HANDLERS = 'import journal\ndef draw():\n    with journal.run():\n        open("gate").read()\n'


def directory(path: Path) -> None:
    path.mkdir()
    (path / "something").touch()


ODD: dict[str, Callable[[Path], object]] = {
    "a file of the first schema": lambda path: path.write_text("ab12cd34\n"),
    "an empty file": lambda path: path.touch(),
    "a file that nobody may read": lambda path: path.touch(0o000),
    "not text": lambda path: path.write_bytes(b"\xff\xfe"),
    "an older link": lambda path: path.symlink_to("ab12cd34"),
    "a link to a file": lambda path: path.symlink_to("/etc/passwd"),
    "a link of another place": lambda path: path.symlink_to("ab12cd34.0.host.0.0"),
    "a directory": directory,
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_whatever_lies_there_is_replaced(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "name")
    name = StateFolder(tmp_path).name
    assert re.fullmatch("[0-9a-f]{8}", name)
    assert name != "ab12cd34"
    assert StateFolder(tmp_path).name == name


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_what_lies_in_the_place_of_the_other_links_is_replaced(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    for name in ("boot", "store", "former"):
        make(tmp_path / name)
    state = StateFolder(tmp_path)
    assert state.is_first_after_boot()
    state.note_boot()
    assert not StateFolder(tmp_path).is_first_after_boot()
    if not (tmp_path / "store").is_symlink():
        assert state.belongs_to("ab12" * 8)
    assert not state.belongs_to("cd34" * 8)
    (tmp_path / "name").symlink_to("ab12cd34.another.1.1")
    assert state.is_or_was(state.name)
    assert state.is_or_was("ab12cd34")
    assert not state.is_or_was("00000000")


@sqlite_only
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_emit_sweep_and_doctor_go_on(project: Project, make: Callable[[Path], object]) -> None:
    project.write('[events]\nbought = ["x"]\n[handlers]\nx = { command = ["true"] }\n',
                  store='state = "state"')  # fmt: skip
    (project.folder / "state").mkdir(0o700)
    make(project.folder / "state" / "name")
    assert project.run("emit", "bought").stderr == ""
    assert project.run("sweep").stderr == ""
    assert project.value("SELECT status FROM eventctl_event") == 2
    found = [line for line in doctor(project) if line.check == "state" and line.level != "ok"]
    # pytest's folders with their links look like releases, and other tests have left files there.
    assert not [line for line in found if "an earlier release" not in line.text]


COPIES = {
    "cp -r": "cp -r one two",
    "cp -a": "cp -a one two",
    "cp -rL": "cp -rL one two || true",  # it complains of links that lead nowhere
    "rsync": "rsync -a one/ two/",
    "tar": "mkdir two && tar -C one -cf - . | tar -C two -xf -",
    "moved and put back": "mv one two && cp -a two one",
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_of_the_folder_gets_a_name_of_its_own(tmp_path: Path, how: str) -> None:
    original, copy = StateFolder(tmp_path / "one"), tmp_path / "two"
    name = original.name
    if how == "rsync":
        needs.program("rsync", "rsync")
    subprocess.run(["sh", "-c", COPIES[how]], cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    if how == "moved and put back":  # what was moved has the inode: it is the original
        original, copy = StateFolder(copy), original.path
    assert StateFolder(copy).name != name
    assert StateFolder(original.path).name == name


def as_another_machine(folder: Path) -> tuple[str, ...]:
    """Return what runs a command on this machine as if it were a clone with an id of its own."""
    needs.root("another machine id")
    if not os.path.exists("/etc/machine-id"):
        needs.missing("this machine has no /etc/machine-id (systemd-machine-id-setup)")
    (folder / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    script = f'mount --bind {folder}/machine-id /etc/machine-id && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, "sh")


def test_another_machine_gets_a_name_of_its_own(project: Project) -> None:
    """Also where device and inode are the same, as on a clone of a whole disk."""
    project.write(TOML, HANDLERS, store='state = "state"')
    state = StateFolder(project.folder / "state")
    name = state.name
    project.run("sweep")
    assert StateFolder(state.path).name == name
    project.run("sweep", wrapper=as_another_machine(project.folder))
    assert not os.readlink(state.path / "name").startswith(name)


def test_another_host_name_is_another_machine(project: Project) -> None:
    """As containers of one image have it, with one volume and no id of their own."""
    needs.root("another host name")
    project.write(TOML, HANDLERS, store='state = "state"')
    name = StateFolder(project.folder / "state").name
    rename = 'echo container-7 >/proc/sys/kernel/hostname && exec "$@"'
    project.run("sweep", wrapper=("unshare", "--uts", "sh", "-c", rename, "sh"))
    link = project.folder / "state" / "name"
    assert not os.readlink(link).startswith(name)
    project.run("sweep")
    assert not os.readlink(link).startswith(name)  # a former name is not taken up again


def test_a_clone_does_not_take_what_the_original_still_runs(project: Project) -> None:
    """Neither while it runs, nor when the clone sweeps again; when its lease is over it may."""
    project.write(TOML, HANDLERS, store='state = "state"')
    gate = Gate(project.folder / "gate")
    running = project.start("emit", "bought")
    with gate.somebody_waits():
        shutil.copytree(project.folder / "state", project.folder / "there", symlinks=True)
        clone = project.folder / "clone.toml"
        text = project.config.read_text().replace('state = "state"', 'state = "there"')
        clone.write_text(text)
        clone.chmod(0o600)
        for _ in range(2):
            done = project.run("--config", str(clone), "sweep",
                               wrapper=as_another_machine(project.folder))  # fmt: skip
            assert done.stderr == ""
        assert project.rows("SELECT state, attempts FROM eventctl_delivery") == [("running", 0)]
    assert running.wait(30) == 0
    assert project.value("SELECT status FROM eventctl_event") == 2
    assert [entry.what for entry in project.runs()] == ["start", "end"]
    project.assert_never_two_at_once()
