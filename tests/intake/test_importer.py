"""P12, the sweep's side: what is in the spool becomes events, once; it is a public door, too."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import fire, look, needs
from tests.support.away import STORE, any_way, read, spooled
from tests.support.databases import server_only, sqlite_only
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Project


@pytest.fixture
def spool(project: Project) -> Path:
    """The spool of a project that has had no event yet."""
    project.write(TOML, HANDLERS, store=STORE)
    folder = project.folder / "state" / "spool"
    folder.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    return folder


def drop(spool: Path, name: str, content: object, at: float | None = None) -> Path:
    """Put a file into the spool as any other program does: write it, and rename it."""
    draft = spool.parent / "draft"
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    draft.write_bytes(data)
    if at is not None:
        os.utime(draft, (at, at))
    return draft.rename(spool / name)


def event(*args: object, **more: object) -> dict[str, object]:
    return {"name": "purchased", "args": list(args), **more}


def test_the_oldest_first(project: Project, spool: Path) -> None:
    for order, name in enumerate(["c", "a", "d", "b"]):
        drop(spool, f"{name}.json", event(order), at=1_700_000_000 + order)
    project.run("sweep")
    rows = project.rows("SELECT args, created_at FROM eventctl_event ORDER BY id")
    assert rows == [(f"[{n}]", 1_700_000_000_000 + 1000 * n) for n in range(4)]
    assert look.notes(project) == [f"[{n}]" for n in range(4)]
    assert spooled(project) == []


def test_a_delay_or_key_of_null_is_none(project: Project, spool: Path) -> None:
    """As many programs write what is not given."""
    drop(spool, "a.json", event(1, key=None, delay=None))
    assert project.run("sweep").stdout == ""
    assert look.notes(project) == ["[1]"]


def test_a_file_from_the_future_is_due_at_once(project: Project, spool: Path) -> None:
    drop(spool, "a.json", event(), at=4_000_000_000)
    project.run("sweep")
    assert look.notes(project) == ["[]"]


def test_without_a_key_the_same_file_again_is_another_event(project: Project, spool: Path) -> None:
    for _ in range(2):
        drop(spool, "a.json", event("A"))
        project.run("sweep")
    drop(spool, "a.json", event("A"))
    drop(spool, "b.json", event("A"))
    project.run("sweep")
    assert look.notes(project) == ['["A"]'] * 4
    assert project.value("SELECT COUNT(DISTINCT `key`) FROM eventctl_event") == 4


def test_with_a_key_it_is_the_same_event(project: Project, spool: Path) -> None:
    for args in ("A", "B"):
        drop(spool, f"{args}.json", event(args, key="order 7"))
        project.run("sweep")
        assert spooled(project) == []
    assert project.rows("SELECT `key`, args FROM eventctl_event") == [("order 7", '["A"]')]


@pytest.mark.parametrize("more", [{}, {"key": "order 7"}], ids=["no key", "key"])
def test_killed_between_import_and_unlink(
    project: Project, spool: Path, more: dict[str, str]
) -> None:
    needs.program("strace", "strace")
    path = drop(spool, "a.json", event("A", **more))
    kill = ("-P", str(path), "-e", "inject=unlink,unlinkat:signal=SIGKILL")
    trace = ("strace", "-f", "-o", str(project.folder / "trace"), "-e", "trace=unlink,unlinkat")
    sweep = project.start("sweep", wrapper=(*trace, *kill))
    assert sweep.wait(timeout=30) == -9
    assert path.exists()
    assert look.count(project, "event") == 1
    project.run("sweep")
    assert spooled(project) == []
    fire.assert_all_processed(project, 1)
    assert look.notes(project) == ['["A"]']


class DeafProxy:
    """A way to the server that breaks off once it has passed on the COMMIT of an event."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.broke_off = False
        self._has_event = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        with self._listener:
            while not self.broke_off:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._target))
                with ours, theirs:
                    back = threading.Thread(target=self._pass_back, args=(theirs, ours))
                    back.start()
                    self._pass_on(ours, theirs)
                    theirs.shutdown(socket.SHUT_WR)
                    back.join()

    def _pass_on(self, ours: socket.socket, theirs: socket.socket) -> None:
        while not self.broke_off and (data := ours.recv(65536)):
            self._has_event |= b"INSERT INTO eventctl_event" in data
            self.broke_off = self._has_event and b"COMMIT" in data
            theirs.sendall(data)

    def _pass_back(self, theirs: socket.socket, ours: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            while data := theirs.recv(65536):
                if not self.broke_off:
                    ours.sendall(data)


@server_only
@pytest.mark.parametrize("options", [(), ("--defer",)])
def test_the_first_write_had_succeeded_in_truth(
    project: Project, spool: Path, options: tuple[str, ...]
) -> None:
    """The commit's answer is lost, and the server with it: emit can't know, and spools."""
    project.run("sweep")  # makes the tables
    assert project.server
    direct = project.config.read_text()
    proxy = DeafProxy(project.server.port)
    project.config.write_text(direct.replace(f":{project.server.port}/", f":{proxy.port}/"))
    done = project.run("emit", *options, "purchased", "A")
    proxy.join()
    assert proxy.broke_off
    assert "the event is kept in" in done.stderr
    (path,) = spooled(project)
    assert project.rows("SELECT `key` FROM eventctl_event") == [(read(path)["key"],)]
    project.config.write_text(direct)
    project.run("sweep")
    assert spooled(project) == []
    fire.assert_all_processed(project, 1)
    assert look.notes(project) == ['["A"]']


DAMAGED = {
    "empty": b"",
    "half": b'{"name": "purchased", "args": [',
    "list": b"[]",
    "nameless": b'{"args": []}',
    "name": b'{"name": 7}',
    "args": b'{"name": "purchased", "args": "A"}',
    "key": b'{"name": "purchased", "key": 7}',
    "more": b'{"name": "purchased", "priority": 7}',
    "latin": '{"name": "purchased", "args": ["Ä"]}'.encode("latin-1"),
    "deep": b"[" * 100_000,
    "nan": b'{"name": "purchased", "args": [NaN]}',
}


def unwrapped(text: str) -> str:
    """Return text without any space: a report breaks long paths over lines."""
    return "".join(text.split())


def test_damaged_files_are_set_aside_and_named_once(project: Project, spool: Path) -> None:
    for name, content in DAMAGED.items():
        drop(spool, f"{name}.json", content)
    drop(spool, "good.json", event("A"))
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert look.notes(project) == ['["A"]']
    assert spooled(project) == []
    aside = {path.stem: path.read_bytes() for path in spooled(project, "damaged")}
    assert aside == DAMAGED
    assert f"{len(DAMAGED)} entries were set aside" in sent.stdout
    for name in ("half", "list"):
        assert f"{spool}/damaged/{name}.json:itisnotanevent:" in unwrapped(sent.stdout)
    again = project.run("sweep")
    assert (again.stdout, again.stderr) == ("", "")
    assert len(spooled(project, "damaged")) == len(DAMAGED)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("list", "it is not an object with name, args, key and delay"),
        ("nameless", "its name is missing, or is not a string"),
        ("args", "its args are neither a list nor an object"),
        ("key", "its key is not a string"),
        ("more", "unknown field 'priority': there are name, args, key and delay"),
    ],
)
@sqlite_only
def test_what_is_wrong_with_a_file_is_named(
    project: Project, spool: Path, name: str, wrong: str
) -> None:
    drop(spool, "a.json", DAMAGED[name])
    sent = project.run("sweep", check=1).stdout
    assert unwrapped(f"a.json: it is not an event: {wrong}") in unwrapped(sent)


def test_a_file_whose_name_is_not_utf8_blocks_nothing(project: Project, spool: Path) -> None:
    drop(spool, "\udcff.json", b"damaged", at=1_700_000_000)
    drop(spool, "good.json", event("A"))
    assert "1 entry was set aside" in project.run("sweep", check=1).stdout
    assert look.notes(project) == ['["A"]']
    assert project.run("sweep").stdout == ""


def test_two_damaged_files_of_one_name_are_both_kept(project: Project, spool: Path) -> None:
    for content in (b"one", b"two"):
        drop(spool, "a.json", content)
        project.run("sweep", check=1)
    assert sorted(path.read_bytes() for path in spooled(project, "damaged")) == [b"one", b"two"]


def test_an_unknown_event_is_held_until_events_toml_is_fixed(project: Project, spool: Path) -> None:
    drop(spool, "a.json", {"name": "refunded", "args": ["A"]}, at=1_700_000_000)
    drop(spool, "b.json", event("B"))
    sent = project.run("sweep", check=1)
    assert unwrapped(sent.stdout).count("noevent'refunded'in") == 1
    assert f"{spool}/held/a.json" in unwrapped(sent.stdout)
    assert look.notes(project) == ['["B"]']
    assert [path.name for path in spooled(project, "held")] == ["a.json"]
    again = project.run("sweep")
    assert (again.stdout, again.stderr) == ("", "")
    project.write(TOML.replace("[handlers]", 'refunded = ["note"]\n[handlers]'), store=STORE)
    assert "spool resolved after" in project.run("sweep").stdout
    assert look.notes(project) == ['["B"]', '["A"]']
    assert spooled(project, "held") == []
    assert project.value("SELECT created_at FROM eventctl_event WHERE id = 2") == 1_700_000_000_000


def test_two_held_files_of_one_name_are_two_events(project: Project, spool: Path) -> None:
    for args in ("A", "B"):
        drop(spool, "a.json", {"name": "refunded", "args": [args]})
        project.run("sweep", check=1)
    project.write(TOML.replace("[handlers]", 'refunded = ["note"]\n[handlers]'), store=STORE)
    project.run("sweep")
    assert sorted(look.notes(project)) == ['["A"]', '["B"]']


@sqlite_only
def test_what_is_too_large_or_has_a_bad_key_is_held(project: Project, spool: Path) -> None:
    drop(spool, "large.json", event("x" * 1_000_001))
    drop(spool, "key.json", event("A", key="ends in a space "))
    drop(spool, "good.json", event("B"))
    sent = project.run("sweep", check=1).stdout
    assert "max_args" in sent
    assert "no space at either end" in sent
    assert look.notes(project) == ['["B"]']
    project.write(TOML, HANDLERS, store=STORE + "max_args = 2000000\n")
    assert project.run("sweep").stdout == ""
    assert [path.name for path in spooled(project, "held")] == ["key.json"]


@contextlib.contextmanager
def living_draft(path: Path) -> Iterator[None]:
    with path.open("w") as draft:
        fcntl.flock(draft, fcntl.LOCK_EX)
        draft.write("half")
        draft.flush()
        yield


@sqlite_only
def test_drafts_of_the_dead_are_removed_and_of_the_living_left(
    project: Project, spool: Path
) -> None:
    dead = spool / ".dead.json.tmp"
    dead.write_text("half")
    living = spool / ".living.json.tmp"
    with living_draft(living):
        assert project.run("sweep").stdout == ""
        assert living.read_text() == "half"
        assert not dead.exists()
    project.run("sweep")
    assert not living.exists()
    assert look.count(project, "event") == 0


@sqlite_only
def test_a_draft_of_another_program_is_left_to_it(project: Project, spool: Path) -> None:
    """A shell script holds no lock between its `>` and its `mv`."""
    draft = spool / ".order.tmp"
    draft.write_text(json.dumps(event("A")))
    project.run("sweep")
    draft.rename(spool / "order.json")
    project.run("sweep")
    assert look.notes(project) == ['["A"]']


@sqlite_only
def test_killed_while_it_writes_to_the_spool(project: Project, spool: Path) -> None:
    """Whole or not there: and not there means that nothing was said."""
    needs.program("strace", "strace")
    trace = ("strace", "-f", "-o", str(project.folder / "trace"))
    with any_way(project):
        project.run("emit", "purchased")  # the state folder has its name from then on
        for path in spool.iterdir():
            path.unlink()
        for call in ("fsync", "link"):
            inject = ("-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL")
            emit = project.start("emit", "--key", call, "purchased", wrapper=(*trace, *inject))
            assert emit.communicate(timeout=30) == ("", "")
            assert emit.returncode == -9
        assert spooled(project) == []
        assert len(list(spool.iterdir())) == 2
    project.run("sweep")
    assert list(spool.iterdir()) == []
    assert look.count(project, "event") == 0
