"""P5: one bad item stops nothing else, by whichever door it comes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import look, needs
from tests.support.away import STORE, spooled
from tests.support.databases import server_only, sqlite_only
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Project
from tests.support.wait import wait_until

PACKET = 65_536

SHOUT = """
def shout(*args):
    print("'" * 90_000)
    def deep(n):
        return deep(n - 1) if n else fail()
    def fail():
        raise RuntimeError("no " * 20_000)
    deep(50)
"""


@pytest.fixture
def spool(project: Project) -> Path:
    """The spool of a project whose tables are there."""
    project.write(TOML, HANDLERS, store=STORE)
    project.run("sweep")
    return _spool(project)


def _spool(project: Project) -> Path:
    folder = project.folder / "state" / "spool"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def drop(folder: Path, name: str, *args: object, **more: object) -> Path:
    file = folder / name
    file.write_text(json.dumps({"name": "purchased", "args": args, **more}))
    return file


def flat(text: str) -> str:
    return "".join(text.split())


@pytest.fixture
def small_packets(project: Project) -> Iterator[Project]:
    """A project on a server that takes no large statement."""
    assert project.server
    before = project.server.sql("SELECT @@GLOBAL.max_allowed_packet")[0][0]
    project.server.sql(f"SET GLOBAL max_allowed_packet = {PACKET}")
    try:
        yield project
    finally:
        project.server.sql(f"SET GLOBAL max_allowed_packet = {before}")


@server_only
@pytest.mark.parametrize("text", ["x" * 70_000, '"\\' * 20_000, "é" * 40_000])
def test_larger_than_the_servers_packet(small_packets: Project, text: str) -> None:
    project = small_packets
    project.write(TOML, HANDLERS, store=STORE)
    project.run("sweep")
    assert project.server
    for words in (("--defer",), ()):
        done = project.run(
            "emit", *words, "purchased", "--json", "-", input=json.dumps([text]), check=2
        )
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert f"max_allowed_packet = {PACKET}" in done.stderr
    assert spooled(project) == []
    folder = _spool(project)
    drop(folder, "a.json", text)
    drop(folder, "b.json", "B")
    insert = "INSERT INTO eventctl_outbox (name, args) VALUES ('purchased', ?)"
    for number in range(3):
        project.execute(insert, f'["{number}"]')
    project.server.sql(f"SET GLOBAL max_allowed_packet = {16 * PACKET}")
    project.execute(insert, json.dumps([text], ensure_ascii=False))
    project.server.sql(f"SET GLOBAL max_allowed_packet = {PACKET}")
    project.execute(insert, '["last"]')
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert "max_allowed_packet" in sent.stdout
    assert sorted(look.notes(project)) == ['["0"]', '["1"]', '["2"]', '["B"]', '["last"]']
    assert [path.name for path in spooled(project, "held")] == ["a.json"]
    assert project.value("SELECT COUNT(*) FROM eventctl_outbox WHERE held IS NOT NULL") == 1
    assert project.run("sweep").stdout == ""
    project.server.sql(f"SET GLOBAL max_allowed_packet = {16 * PACKET}")
    project.run("sweep")
    assert look.count(project, "event") == 7
    assert spooled(project, "held") == []


@sqlite_only
def test_files_of_another_kind_are_set_aside(project: Project, spool: Path) -> None:
    (spool / "folder.json").mkdir()
    os.mkfifo(spool / "fifo.json")
    (spool / "link.json").symlink_to("/etc/passwd")
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.getcwd()
        os.chdir(spool)  # the path of a socket is short
        listener.bind("socket.json")
        os.chdir(before)
    drop(spool, "good.json", "A")
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert "itisnotaregularfile" in flat(sent.stdout)
    assert look.notes(project) == ['["A"]']
    assert {path.name for path in (spool / "damaged").iterdir()} == {
        *("folder.json", "fifo.json", "link.json", "socket.json")
    }
    assert project.run("sweep").stdout == ""


@sqlite_only
def test_a_large_file_is_held_without_being_read(project: Project, spool: Path) -> None:
    for name, size in (("sparse.json", 8 << 30), ("large.json", 80_000_000)):
        with (spool / name).open("wb") as file:
            file.truncate(size)
    drop(spool, "good.json", "A")
    limited = ("bash", "-c", 'ulimit -v 500000; exec "$@"', "bash")
    for code in (1, 0):
        done = project.run("sweep", check=code, wrapper=limited)
        assert done.stderr == ""
    assert look.notes(project) == ['["A"]']
    assert {path.name for path in spooled(project, "held")} == {"sparse.json", "large.json"}


def test_names_that_are_not_utf8_or_very_long(project: Project, spool: Path) -> None:
    drop(spool, "\udcff.json", "A")
    drop(spool, "x" * 250 + ".json", "B")
    drop(spool, "long.json", "C", key="k" * 1_000_000)
    (spool / "name.json").write_text(json.dumps({"name": "n" * 200_000}))
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert sorted(look.notes(project)) == ['["A"]', '["B"]']
    assert {path.name for path in spooled(project, "held")} == {"long.json", "name.json"}
    assert project.run("sweep").stdout == ""


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[tuple[Project, tuple[str, ...]]]:
    """A project of the user daemon's, and what runs a command as that user."""
    needs.root("files of another user")
    folder = Path(tempfile.mkdtemp(prefix="eventctl-"))
    project = Project(folder / "project")
    user = ("setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups")
    try:
        project.write(TOML, HANDLERS, store=STORE)
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, "daemon", "daemon")
        project.run("sweep", wrapper=user)
        spool = _spool(project)
        shutil.chown(spool, "daemon", "daemon")
        yield project, user
    finally:
        project.close()
        shutil.rmtree(folder)


def test_roots_files_in_the_spool(daemons: tuple[Project, tuple[str, ...]]) -> None:
    project, user = daemons
    spool = _spool(project)
    drop(spool, "roots.json", "A").chmod(0o600)
    draft = spool / ".0123.json.tmp"
    draft.write_text("half")
    draft.chmod(0o600)
    shutil.chown(drop(spool, "good.json", "B"), "daemon")
    sent = project.run("sweep", wrapper=user, check=1)
    assert sent.stderr == ""
    assert look.notes(project) == ['["B"]']
    assert "itbelongstoroot,andthisusermaynotreadit" in flat(sent.stdout)
    held = spool / "held" / "roots.json"
    assert f"chowndaemon{held}" in flat(sent.stdout)
    assert project.run("sweep", wrapper=user).stdout == ""
    shutil.chown(held, "daemon")
    project.run("sweep", wrapper=user)
    assert look.notes(project) == ['["B"]', '["A"]']


def test_roots_files_among_the_claims(daemons: tuple[Project, tuple[str, ...]]) -> None:
    """What root has claimed waits for its lease; everything else goes on, and doctor says so."""
    project, user = daemons
    claims = project.folder / "state" / "claims"
    for name in ("0123456789ab", "notes.txt"):
        (claims / name).write_text("")
        (claims / name).chmod(0o600)
    (claims / "folder").mkdir()
    project.run("emit", "--defer", "purchased", "A", wrapper=user)
    project.run("emit", "--defer", "purchased", "B", wrapper=user)
    folder = os.readlink(project.folder / "state" / "name").partition(".")[0]
    project.execute(
        "UPDATE eventctl_delivery SET state = 'running', claim = ?, due_at = ? WHERE event_id = 1",
        f"{folder}.0123456789ab.01234567",
        int(time.time() * 1000) + 1500,
    )
    swept = project.run("sweep", wrapper=user)
    (line,) = swept.stderr.splitlines()
    assert "0123456789ab belongs to root" in line
    assert look.notes(project) == ['["B"]']
    assert "0123456789ab belongs to root" in project.run("doctor", wrapper=user, check=None).stdout

    def is_done() -> bool:
        done = project.run("sweep", wrapper=user)
        assert done.stderr == ""  # it is said once an hour
        return len(look.notes(project)) == 2

    wait_until(is_done, what="the end of the lease")


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777], ids=["closed", "read-only", "sticky"])
def test_a_spool_of_roots_is_passed_over_and_named(
    daemons: tuple[Project, tuple[str, ...]], mode: int
) -> None:
    project, user = daemons
    spool = _spool(project)
    drop(spool, "a.json", "A").chmod(0o644)
    shutil.chown(spool, "root")
    spool.chmod(mode)
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('purchased', '[\"B\"]')")
    swept = project.run("sweep", wrapper=user)
    assert look.notes(project) == ['["B"]']
    assert f"as root, chown -R daemon {spool}" in swept.stderr
    assert project.run("sweep", wrapper=user).stderr == ""
    doctor = project.run("doctor", wrapper=user, check=None)
    assert "Traceback" not in doctor.stderr
    assert f"chown-Rdaemon{spool}" in flat(doctor.stdout)
    assert stat.S_IMODE(spool.stat().st_mode) == mode


TIMES = ["-9000000000000000000", "9000000000000000000", "-1", "'soon'", "1e300"]


@sqlite_only
def test_impossible_times_in_the_outbox(project: Project, spool: Path) -> None:
    for number, moment in enumerate(TIMES):
        project.execute(
            "INSERT INTO eventctl_outbox (name, args, created_at)"
            f" VALUES ('purchased', '[{number}]', {moment})"
        )
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('purchased', '[\"A\"]')")
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert sorted(look.notes(project)) == ['["A"]', "[1]"]
    assert project.value("SELECT COUNT(*) FROM eventctl_outbox WHERE held IS NOT NULL") == 4
    assert project.run("sweep").stdout == ""
    for command in (("list",), ("stats",), ("check",), ("list", "--json")):
        assert "Traceback" not in project.run(*command, check=None).stderr


@sqlite_only
def test_held_rows_that_are_large_are_not_read_again(project: Project, spool: Path) -> None:
    project.execute("CREATE TABLE large AS SELECT '[\"' || hex(zeroblob(5000000)) || '\"]' AS args")
    for _ in range(20):
        project.execute(
            "INSERT INTO eventctl_outbox (name, args) SELECT 'purchased', args FROM large"
        )
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('purchased', '[\"A\"]')")
    limited = ("bash", "-c", 'ulimit -v 500000; exec "$@"', "bash")
    sent = project.run("sweep", check=1, wrapper=limited)
    assert "max_args" in sent.stdout
    assert look.notes(project) == ['["A"]']
    again = project.run("sweep", wrapper=limited)
    assert (again.stdout, again.stderr) == ("", "")


def test_a_row_that_the_store_refuses_is_held(project: Project, spool: Path) -> None:
    """It fails the statement of its batch, as nobody has foreseen: the others are recorded."""
    refuse = "SELECT RAISE(ABORT, 'not this one')"
    body = f"WHEN NEW.args = '[\"bad\"]' BEGIN {refuse}; END"
    if project.server:
        body = (
            "FOR EACH ROW IF NEW.args = '[\"bad\"]' THEN SIGNAL SQLSTATE '22000'"
            " SET MESSAGE_TEXT = 'not this one', MYSQL_ERRNO = 1644; END IF"
        )
    project.execute(f"CREATE TRIGGER picky BEFORE INSERT ON eventctl_event {body}")
    for args in ('["A"]', '["bad"]', '["B"]', '["C"]'):
        project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('purchased', ?)", args)
    drop(spool, "a.json", "bad")
    (spool / "a.json").write_text('{"name": "purchased", "args": ["bad"]}')
    drop(spool, "b.json", "D")
    sent = project.run("sweep", check=1)
    assert "not this one" in " ".join(sent.stdout.split())
    assert sorted(look.notes(project)) == ['["A"]', '["B"]', '["C"]', '["D"]']
    assert [path.name for path in spooled(project, "held")] == ["a.json"]
    project.execute("DROP TRIGGER picky")
    project.run("sweep")
    assert look.notes(project).count('["bad"]') == 2


LONG = """
import eventctl
import journal

def note(text):
    if text:
        raise eventctl.Discard(text)
    with journal.run(note="ok"):
        pass
"""


@pytest.mark.parametrize("text", ["x", "é", "\N{PILE OF POO}"])
def test_a_long_text_of_discard_drops_no_result(project: Project, text: str) -> None:
    project.write(TOML, LONG, store=STORE)
    batch = [{"name": "purchased", "args": [args]} for args in ("", "", text * 80_000, "", "")]
    project.run("emit", "-q", "--batch", "-", input="\n".join(map(json.dumps, batch)))
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert look.notes(project) == ["ok"] * 4
    states = "SELECT state, COUNT(*) FROM eventctl_delivery GROUP BY state ORDER BY state"
    assert project.rows(states) == [("done", 4), ("failed", 1)]
    assert project.run("sweep").stdout == ""


@server_only
def test_long_texts_are_cut_to_what_the_server_takes(small_packets: Project) -> None:
    """A server hangs up on a statement that is too large, and seems to be gone."""
    project = small_packets
    once = "[defaults]\nretry = { attempts = 1 }\n"
    project.write(once + TOML.replace("handlers:note", "handlers:shout"), SHOUT, store=STORE)
    project.run("emit", "-q", "purchased", "A")
    project.run("emit", "-q", "--defer", "purchased", "B")
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert "RuntimeError" in sent.stdout
    assert look.count(project, "attempt") == 2
    shown = project.run("alerts", "--json").stdout
    assert "RuntimeError" in shown
    assert project.run("sweep").stdout == ""


@server_only
def test_a_batch_that_is_larger_than_the_servers_packet(small_packets: Project) -> None:
    project = small_packets
    project.write(TOML, HANDLERS, store=STORE)
    project.run("sweep")
    line = json.dumps({"name": "purchased", "args": ["x" * 500]}) + "\n"
    project.run("emit", "-q", "--defer", "--batch", "-", input=line * 1500)
    assert look.count(project, "event") == look.count(project, "delivery") == 1500
    large = json.dumps({"name": "purchased", "args": ["x" * 70_000]}) + "\n"
    done = project.run(
        "emit", "--defer", "--batch", "-", input=f"{line * 1200}\n{large}{line}", check=2
    )
    assert done.stdout == ""
    (said,) = done.stderr.splitlines()
    assert "stdin, line 1202: an event purchased takes 72,0" in said
    assert said.endswith("nothing was recorded")
    assert look.count(project, "event") == 1500


def test_a_batch_with_an_event_that_is_larger_than_max_args(project: Project) -> None:
    project.write(TOML, HANDLERS, store=STORE + 'max_args = "1KB"\n')
    line = json.dumps({"name": "purchased", "args": ["x"]}) + "\n"
    large = json.dumps({"name": "purchased", "args": ["x" * 2000]}) + "\n"
    done = project.run("emit", "--batch", "-", input=line + large, check=2)
    assert "stdin, line 2: the args of purchased have 2,004 bytes" in done.stderr
    assert "nothing was recorded" in done.stderr
    (said,) = done.stderr.splitlines()
    assert "max_args allows 1,000" in said


@pytest.mark.parametrize("what", ["file", "closed"])
def test_a_spool_that_cannot_be_read_is_named(
    daemons: tuple[Project, tuple[str, ...]], what: str
) -> None:
    """By all who are asked how things are, and who then say all else that they know."""
    project, user = daemons
    project.run("emit", "-q", "purchased", "A", wrapper=user)
    spool = _spool(project)
    if what == "file":
        spool.rmdir()
        spool.write_text("")
    else:
        shutil.chown(spool, "root")
    said = project.run("check", wrapper=user, check=2).stdout
    assert "cannot be read" in said
    assert "backlog=0" in said
    assert "spool=U" in said
    for words in (
        ("stats",),
        ("stats", "--html", "state/page.html"),
        ("check", "--prometheus", "state/x.prom"),
    ):
        assert project.run(*words, wrapper=user).stderr == ""
    assert "cannot be read" in (project.folder / "state" / "page.html").read_text()
    assert "eventctl_spool_files" not in (project.folder / "state" / "x.prom").read_text()
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('purchased', '[\"B\"]')")
    swept = project.run("sweep", wrapper=user)
    assert look.notes(project) == ['["A"]', '["B"]']
    assert str(spool) in swept.stderr
    assert swept.stderr.count("\n") == 1
