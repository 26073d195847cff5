"""P1, P12: what a host may refuse, or a caller leave behind, costs no event and no attempt."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import fire, look, needs
from tests.support.away import any_way, read, spooled
from tests.support.project import Finished, Project, kill_group
from tests.support.receiver import Receiver
from tests.support.wait import wait_until

TOML = """
[sweep]
breaker = 1000
grace = "1s"

[defaults]
retry = { attempts = 5, delay = "1m", jitter = 0 }

[events]
pay = ["ok"]
two = ["ok", "also"]
fails = ["fails"]
stuck = ["stuck"]
program = ["program"]

[handlers]
ok = "handlers:ok"
also = "handlers:ok"
fails = "handlers:fail"
stuck = { call = "handlers:stuck", timeout = "1s" }
program = { command = ["./program"] }
"""

HANDLERS = """
import time


def ok(*args):
    pass


def fail(*args):
    raise ConnectionError("the service is down")


def stuck(*args):
    time.sleep(600)
"""

STORE = 'state = "state"\ntimeout = "2s"'

SQLITE = pytest.mark.parametrize("project", ["sqlite"], indirect=True)


def write(project: Project, more: str = "") -> None:
    """Write a project whose command handler fails, and make its tables."""
    project.write(TOML + more, HANDLERS, store=STORE)
    look.script(project.folder / "program", "#!/bin/sh\nexit 3\n")
    if not more:
        project.run("sweep")


def assert_few_words(done: Finished, most: int = 2) -> None:
    """Fail if a command has said more than a line or two, or what is not for people."""
    lines = done.stderr.splitlines()
    assert len(lines) <= most, done.stderr
    assert all(line.startswith("eventctl: ") for line in lines), done.stderr


def assert_kept(project: Project, done: Finished, key: str) -> None:
    """Fail unless an emit has exited with 0, in few words, and the event is there."""
    assert done.returncode == 0, done
    assert_few_words(done)
    assert keys(project).count(key) == 1, done


def keys(project: Project) -> list[str]:
    """Return the keys of all events in the store and in the spool."""
    found = [key for (key,) in project.rows("SELECT `key` FROM eventctl_event")]
    return found + [read(path)["key"] for path in spooled(project)]


def sweep_until_processed(project: Project, count: int) -> None:
    """Sweep as on a good day, and fail unless so many events are processed by it."""
    for _ in range(2):
        fire.make_due(project)
        project.run("sweep")
    fire.assert_all_processed(project, count)


# --- 1. The host refuses something


@pytest.fixture
def ordinary(project: Project) -> Iterator[tuple[Project, tuple[str, ...]]]:
    """A project of an ordinary user's, and the command that runs another as that user."""
    needs.root("to become an ordinary user")
    folder = Path(tempfile.mkdtemp(prefix="eventctl-"))
    own = Project(folder / "project", project.server)
    # It may look into all folders, since the Python that the tests run in may be root's own.
    may = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *may)
    try:
        write(own)
        subprocess.run(["chown", "-R", "65534:65534", str(folder)], check=True)
        own.run("sweep", wrapper=user)
        yield own, user
    finally:
        own.close()
        shutil.rmtree(folder)


LIMITS = ["-u 1", "-u 2", "-n 8", "-n 10"]
WAYS = {
    "run": ("emit", "pay", "1"),
    "two handlers": ("emit", "two", "1"),
    "detach": ("emit", "--detach", "pay", "1"),
    "defer": ("emit", "--defer", "pay", "1"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("limit", LIMITS)
def test_emit_with_few_processes_or_files(
    ordinary: tuple[Project, tuple[str, ...]], limit: str, way: str
) -> None:
    project, user = ordinary
    limited = (*user, "bash", "-c", f'ulimit {limit}; exec "$@"', "bash")
    done = project.run(*WAYS[way], "--key", "k", wrapper=limited, check=None)
    assert_kept(project, done, "k")
    for _ in range(2):
        fire.make_due(project)
        project.run("sweep", wrapper=user)
    fire.assert_all_processed(project, 1)


@pytest.mark.parametrize("limit", LIMITS)
def test_sweep_with_few_processes_or_files(
    ordinary: tuple[Project, tuple[str, ...]], limit: str
) -> None:
    """It says so in one line, and charges nobody for it."""
    project, user = ordinary
    project.run("emit", "--defer", "pay", "1", wrapper=user)
    limited = (*user, "bash", "-c", f'ulimit {limit}; exec "$@"', "bash")
    done = project.run("sweep", wrapper=limited, check=None)
    assert_few_words(done, 1)
    assert done.returncode in (0, 1, 74), done
    fire.make_due(project)
    project.run("sweep", wrapper=user)
    fire.assert_all_processed(project, 1)
    assert project.value("SELECT attempts FROM eventctl_delivery") == 1


def refusing(project: Project, call: str, error: str) -> tuple[str, ...]:
    """Return the command that runs another, none of whose processes may make a call."""
    strace = needs.program("strace", "strace")
    log = str(project.folder / "strace.log")
    return (strace, "-f", "-qq", "-o", log, f"--trace={call}", f"--inject={call}:error={error}")


REFUSED = [("pidfd_open", "EPERM"), ("pidfd_open", "ENOSYS"), ("memfd_create", "ENOSYS")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("call", "error"), REFUSED)
def test_emit_where_a_call_is_not_to_be_had(
    project: Project, call: str, error: str, way: str
) -> None:
    """As in an old container runtime's list of what is allowed."""
    write(project)
    refused = refusing(project, call, error)
    done = project.run(*WAYS[way], "--key", "k", wrapper=refused, check=None)
    assert_kept(project, done, "k")
    sweep_until_processed(project, 1)


@pytest.mark.parametrize(("call", "error"), REFUSED)
def test_sweep_where_a_call_is_not_to_be_had(project: Project, call: str, error: str) -> None:
    write(project)
    project.run("emit", "--defer", "two", "1")
    done = project.run("sweep", wrapper=refusing(project, call, error), check=None)
    assert_few_words(done, 1)
    assert done.returncode in (0, 1, 74), done
    sweep_until_processed(project, 1)
    assert project.rows("SELECT DISTINCT attempts FROM eventctl_delivery") == [(1,)]


# --- 2. The caller ignores SIGCHLD

DEAF = ("perl", "-e", '$SIG{CHLD} = "IGNORE"; exec @ARGV or die')


@pytest.mark.parametrize("way", WAYS)
def test_emit_by_a_caller_that_ignores_sigchld(project: Project, way: str) -> None:
    write(project)
    done = project.run(*WAYS[way], "--key", "k", wrapper=DEAF, check=None)
    assert_kept(project, done, "k")
    assert done.stderr == ""
    if way != "defer":
        wait_until(lambda: look.status(project) == 2, what="its handlers to be run")


def test_a_failure_seen_by_a_caller_that_ignores_sigchld(project: Project) -> None:
    write(project)
    for number, name in enumerate(("fails", "program"), 1):
        done = project.run("emit", "--strict", name, wrapper=DEAF, check=None)
        assert done.returncode == 1, done
        assert_few_words(done, 1)
        assert [each.outcome for each in look.attempts(project, name, number)] == ["failed"]


def test_sweep_by_a_caller_that_ignores_sigchld(project: Project) -> None:
    """A failing handler, a command that fails, and one past its timeout end nothing else."""
    write(project)
    fire.defer(project, "fails", "program", "stuck", "two")
    assert_few_words(project.run("sweep", wrapper=DEAF), 0)
    assert fire.by_handler(project) == {
        "fails": ("pending", 1),
        "program": ("pending", 1),
        "stuck": ("pending", 1),
        "ok": ("done", 1),
        "also": ("done", 1),
    }
    assert sorted(fire.attempts(project)) == [
        ("fails", 1, "failed"),
        ("program", 1, "failed"),
        ("stuck", 1, "timed out"),
    ]


def test_a_sendmail_that_exits_75_where_sigchld_is_ignored(project: Project) -> None:
    """What it did not take goes out with the next sweep."""
    mailbox = look.Mailbox(project.folder / "mailbox")
    report = f'[report]\nmail_to = ["ops@example.com"]\nsendmail = "{mailbox.sendmail}"\n'
    write(project, report + 'again_after = "1s"\n')
    fail_for_good(project)
    mailbox.refuse(True)
    done = project.run("sweep", wrapper=DEAF, check=None)
    assert "the report was not accepted" in done.stderr, done
    assert "the queue is full" in done.stderr
    mailbox.refuse(False)
    project.run("sweep", check=None)
    (mail,) = mailbox.mails()
    assert "the service is down" in mail


def test_a_command_channel_that_exits_75_where_sigchld_is_ignored(project: Project) -> None:
    took = project.folder / "took"
    program = look.script(
        project.folder / "channel",
        f"#!/bin/sh\n[ -e accepts ] || {{ echo the queue is full; exit 75; }}\ncat >{took}\n",
    )
    write(project, f'[[alerts]]\ncommand = ["{program}"]\n')
    fail_for_good(project)
    done = project.run("sweep", wrapper=DEAF, check=None)
    assert "was not accepted" in done.stderr, done
    assert "the queue is full" in done.stderr
    (project.folder / "accepts").touch()
    project.run("sweep", check=None)
    assert "the service is down" in took.read_text()


def fail_for_good(project: Project) -> None:
    """Make it look as if a delivery's last attempt comes with the next sweep."""
    project.run("emit", "-q", "fails")
    project.execute("UPDATE eventctl_delivery SET attempts = 4, due_at = 1")


# --- 3. stderr cannot be written

BLOCKED = ["full", "closed reader", "nobody reads"]


@contextlib.contextmanager
def broken_stderr(how: str) -> Iterator[int]:
    """An fd to write to: a full disk, a pipe without a reader, a full pipe nobody reads."""
    if how == "full":
        fd = os.open("/dev/full", os.O_WRONLY)
        yield fd
        os.close(fd)
        return
    reader, fd = os.pipe()
    if how == "closed reader":
        os.close(reader)
    else:
        os.set_blocking(fd, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(fd, b"x" * 512)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(fd, b"x")
        os.set_blocking(fd, True)
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK == 0
    yield fd
    os.close(fd)
    if how == "nobody reads":
        os.close(reader)


def run_mute(project: Project, how: str, *args: str, seconds: float = 20.0) -> tuple[int, str]:
    """Run a command whose stderr is broken; return its exit code and what is on stdout."""
    with broken_stderr(how) as fd:
        process = project.start(*args, stderr=fd)
        try:
            out, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            kill_group(process)
            process.communicate()
            raise AssertionError(f"eventctl {' '.join(args)} hangs") from None
    return process.returncode, out


@pytest.mark.parametrize("how", BLOCKED)
def test_emit_where_stderr_cannot_be_written(project: Project, how: str) -> None:
    """A handler fails, and nobody can be told of it: the event is recorded, and 0 says so."""
    write(project)
    code, out = run_mute(project, how, "emit", "fails", "--key", "k")
    assert (code, out) == (0, "1\n")
    assert keys(project) == ["k"]
    assert fire.by_handler(project) == {"fails": ("pending", 1)}
    fire.assert_nothing_claimed(project)


@pytest.mark.parametrize("how", BLOCKED)
def test_emit_strict_where_stderr_cannot_be_written(project: Project, how: str) -> None:
    """1 says that a handler has failed, and nothing else: it is charged once."""
    write(project)
    assert run_mute(project, how, "emit", "--strict", "fails", "--key", "k")[0] == 1
    assert fire.attempts(project) == [("fails", 1, "failed")]
    assert run_mute(project, how, "emit", "--strict", "two", "--key", "l")[0] == 0
    assert look.status(project, 2) == 2


@pytest.mark.parametrize("how", BLOCKED)
def test_emit_into_the_spool_where_stderr_cannot_be_written(project: Project, how: str) -> None:
    write(project)
    with any_way(project):
        assert run_mute(project, how, "emit", "pay", "--key", "k") == (0, "")
        (path,) = spooled(project)
        assert read(path)["key"] == "k"


@pytest.mark.parametrize("how", BLOCKED)
def test_sweep_where_stderr_cannot_be_written(project: Project, how: str) -> None:
    """Each handler is run once, and what became of it is written down."""
    write(project)
    fire.defer(project, "two", "fails", "pay", "program", "two")
    code, _ = run_mute(project, how, "sweep", "-v")
    assert code == 0
    states = sorted((handler, *stands) for (_, handler), stands in fire.deliveries(project).items())
    assert states == [
        ("also", "done", 1),
        ("also", "done", 1),
        ("fails", "pending", 1),
        *[("ok", "done", 1)] * 3,
        ("program", "pending", 1),
    ]
    fire.assert_nothing_claimed(project)


@pytest.mark.parametrize("how", BLOCKED)
def test_a_timeout_is_enforced_where_stderr_cannot_be_written(project: Project, how: str) -> None:
    """The words about the first one's end block nothing: the second one is ended in time."""
    write(project)
    fire.defer(project, "fails", "stuck", "pay")
    code, _ = run_mute(project, how, "sweep", "-v", "--jobs", "2")
    assert code == 0
    assert fire.by_handler(project) == {
        "fails": ("pending", 1),
        "stuck": ("pending", 1),
        "ok": ("done", 1),
    }
    assert ("stuck", 1, "timed out") in fire.attempts(project)


def test_sweep_whose_reader_takes_one_line(project: Project) -> None:
    """As with `eventctl sweep -v 2>&1 | head -1`."""
    write(project)
    fire.defer(project, *["two"] * 20)
    head = ("bash", "-c", '"$@" 2>&1 | head -1; exit "${PIPESTATUS[0]}"', "bash")
    done = project.run("sweep", "-v", wrapper=head, check=None)
    assert done.returncode == 0, done
    assert done.stdout.startswith("eventctl: two ")
    fire.assert_all_processed(project, 20)
    assert project.rows("SELECT DISTINCT attempts FROM eventctl_delivery") == [(1,)]


# --- 4. A part of events.toml that emit does not need


def each_once(mistakes: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return each mistake with the plain emit, and the first one with each way to emit."""
    first, *_ = mistakes
    return [*((first, way) for way in WAYS), *((which, "run") for which in mistakes)][1:]


ELSEWHERE = {
    "slack": ('[[alerts]]\nslack = "${SLACK_WEBHOOK_URL}"\n', "SLACK_WEBHOOK_URL"),
    "report type": ("[report]\nmail_to = 5\n", "mail_to"),
    "report password": (
        '[report]\nmail_to = ["ops@example.com"]\nsmtp = "smtp://ops@127.0.0.1"\n'
        'smtp_password = "${SMTP_PASSWORD}"\n',
        "SMTP_PASSWORD",
    ),
    "alerts type": ('alerts = "ops@example.com"\n', "alerts"),
    "redact": ("redact = 5\n", "redact"),
    "unknown table": ("[reports]\nprint = true\n", "reports"),
}
"""Mistakes that recording needs nothing of, and what the one line about each names."""


def write_mistaken(project: Project, which: str) -> str:
    """Write a project with a mistake of `ELSEWHERE`; return what the line about it names."""
    write(project)
    text, named = ELSEWHERE[which]
    # What is no table has to come before all tables.
    toml = project.config.read_text()
    project.config.write_text(toml + "\n" + text if text.startswith("[") else text + toml)
    return named


@pytest.mark.parametrize(("which", "way"), each_once(ELSEWHERE))
@SQLITE
def test_emit_with_a_mistake_that_it_does_not_need(project: Project, which: str, way: str) -> None:
    named = write_mistaken(project, which)
    done = project.run(*WAYS[way], "--key", "k", check=None)
    assert_kept(project, done, "k")
    assert done.stdout == "1\n"
    (line,) = done.stderr.splitlines()
    assert named in line
    assert str(project.config) in line
    # Where nobody knows what is secret, a handler's error is better not written down.
    if way in ("run", "two handlers") and which != "redact":
        assert look.status(project) == 2


@pytest.mark.parametrize("which", ELSEWHERE)
@SQLITE
def test_emit_batch_with_a_mistake_that_it_does_not_need(project: Project, which: str) -> None:
    named = write_mistaken(project, which)
    lines = "".join(json.dumps({"name": "pay", "key": f"k{n}"}) + "\n" for n in range(3))
    done = project.run("emit", "--batch", "-", input=lines, check=None)
    assert done.returncode == 0, done
    (line,) = done.stderr.splitlines()
    assert named in line
    assert keys(project) == ["k0", "k1", "k2"]


@pytest.mark.parametrize("which", ELSEWHERE)
@SQLITE
def test_the_api_with_a_mistake_that_it_does_not_need(project: Project, which: str) -> None:
    write_mistaken(project, which)
    done = emit_by_api(project)
    assert (done.returncode, done.stdout) == (0, "1\n"), done
    assert keys(project) == ["key-1234"]


@pytest.mark.parametrize("which", [which for which in ELSEWHERE if which != "redact"])
@SQLITE
def test_look_with_a_mistake_elsewhere(project: Project, which: str) -> None:
    """They need `redact` as well, and nothing else."""
    write(project)
    project.run("emit", "--defer", "pay", "--key", "k")
    write_mistaken(project, which)
    for command in (("list",), ("show", "1"), ("list", "--format", "json")):
        done = project.run(*command, check=None)
        assert done.returncode == 0, done
        assert "pay" in done.stdout
        assert_few_words(done, 1)


@pytest.mark.parametrize("which", ELSEWHERE)
@SQLITE
def test_sweep_and_doctor_check_the_whole(project: Project, which: str) -> None:
    """A mistake that stops nobody from emitting is still one: the sweep says it."""
    named = write_mistaken(project, which)
    for command in ("sweep", "doctor"):
        done = project.run(command, check=None)
        assert done.returncode != 0, done
        assert named in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


def emit_by_api(project: Project) -> Finished:
    """Emit by the API; it prints the id, or "raised" and the exception's name."""
    program = (
        "import eventctl\n"
        "try:\n"
        "    print(eventctl.emit('pay', 'A', key='key-1234'))\n"
        "except eventctl.EventctlError as error:\n"
        "    print('raised', type(error).__name__)\n"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


NEEDED = {
    "store timeout": ('timeout = "2s"', 'timeout = "soon"', "timeout"),
    "store key": ('timeout = "2s"', "timeouts = 2", "timeouts"),
    "url variable": ("events.db", "${DB_FILE}", "DB_FILE"),
    "events type": ('pay = ["ok"]', "pay = 5", "pay"),
    "unknown handler": ('pay = ["ok"]', 'pay = ["okay"]', "okay"),
    "handlers type": ('ok = "handlers:ok"', "ok = 5", "ok"),
    "defaults": ("attempts = 5", 'attempts = "many"', "attempts"),
}
"""Mistakes in what recording needs, where the state folder is known all the same."""


@pytest.mark.parametrize(("which", "way"), each_once(NEEDED))
@SQLITE
def test_a_mistake_in_what_emit_needs_leaves_the_event_in_the_spool(
    project: Project, which: str, way: str
) -> None:
    write(project)
    right = project.config.read_text()
    old, new, named = NEEDED[which]
    assert old in right
    project.config.write_text(right.replace(old, new))
    done = project.run(*WAYS[way], "--key", "k", check=None)
    assert done.returncode == 0, done
    assert_few_words(done, 2)
    assert named in done.stderr
    (path,) = spooled(project)
    assert (read(path)["key"], read(path)["args"]) == ("k", ["1"])
    assert str(path) in done.stderr
    project.config.write_text(right)
    sweep_until_processed(project, 1)


@SQLITE
@pytest.mark.parametrize("which", NEEDED)
def test_the_api_with_a_mistake_in_what_it_needs(project: Project, which: str) -> None:
    write(project)
    old, new, _ = NEEDED[which]
    project.config.write_text(project.config.read_text().replace(old, new))
    done = emit_by_api(project)
    assert (done.returncode, done.stdout) == (0, "None\n"), done
    (path,) = spooled(project)
    assert read(path)["key"] == "key-1234"


UNKNOWN = {
    "no TOML": lambda text: text.replace("[events]", "[events"),
    "not UTF-8": lambda text: "# \udcff\n" + text,
    "state type": lambda text: text.replace('state = "state"', "state = 5"),
    "state variable": lambda text: text.replace('state = "state"', 'state = "${STATE}"'),
    "store type": lambda text: "store = 5\n" + text.partition("[store]")[0],
    "gone": lambda text: None,
}
"""What leaves nobody to know where the state folder is."""


@pytest.mark.parametrize(("which", "way"), each_once(UNKNOWN))
@SQLITE
def test_where_the_state_folder_is_unknown_the_event_is_on_stderr(
    project: Project, which: str, way: str
) -> None:
    write(project)
    text = UNKNOWN[which](project.config.read_text())
    if text is None:
        project.config.unlink()
    else:
        project.config.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = project.run(*WAYS[way], "--key", "k", check=None)
    assert done.returncode == 78, done
    *words, event = done.stderr.splitlines()
    assert 1 <= len(words) <= 2
    assert all(line.startswith("eventctl: ") for line in words)
    assert json.loads(event) == {"name": WAYS[way][-2], "key": "k", "args": ["1"]}
    assert done.stdout == ""
    assert keys(project) == []


# --- 5. Neither store nor spool


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver((204, b""))
    yield found
    found.close()


def messages(receiver: Receiver) -> list[dict[str, Any]]:
    """Return what a webhook was sent."""
    return [json.loads(request.body) for request in receiver.requests]


def webhook(receiver: Receiver) -> str:
    return f'[[alerts]]\nwebhook = "{receiver.url("/in")}"\n'


def write_nowhere(project: Project, receiver: Receiver) -> None:
    """Write a project with neither store nor spool: both would be below a plain file."""
    project.write(TOML + webhook(receiver), HANDLERS, store='state = "file/state"\ntimeout = "1s"')
    (project.folder / "file").touch()
    nowhere = "sqlite:///file/events.db"
    if project.server:
        nowhere = project.url.replace(f":{project.server.port}/", f":{needs.free_port()}/")
    project.config.write_text(project.config.read_text().replace(project.url, nowhere))


def assert_heard(receiver: Receiver, *words: str) -> None:
    """Wait until a message has come that has all these words in it."""
    wait_until(lambda: receiver.requests, 15, "a message on the channel")
    body = receiver.requests[0].body.decode()
    for word in words:
        assert word in body


@pytest.mark.parametrize("way", WAYS)
def test_neither_store_nor_spool(project: Project, receiver: Receiver, way: str) -> None:
    """The caller gets the event back, and a person hears of it."""
    write_nowhere(project, receiver)
    done = project.run(*WAYS[way], "--key", "key-1234", check=74)
    *words, event = done.stderr.splitlines()
    assert 1 <= len(words) <= 2
    assert "is NOT recorded" in words[-1]
    name = WAYS[way][-2]
    assert json.loads(event) == {"name": name, "key": "key-1234", "args": ["1"]}
    assert_heard(receiver, name, "key-1234")
    assert messages(receiver)[0]["data"]["severity"] == "critical"


def test_neither_store_nor_spool_for_the_api(project: Project, receiver: Receiver) -> None:
    """It raises, since the event is nowhere; and a person hears of it."""
    write_nowhere(project, receiver)
    done = emit_by_api(project)
    assert done.returncode == 0, done
    assert done.stdout in ("raised StoreUnavailable\n", "raised StateUnavailable\n")
    assert_heard(receiver, "pay", "key-1234")


def test_a_channel_that_hangs_does_not_hold_up_who_could_not_record(
    project: Project, receiver: Receiver
) -> None:
    slow = Receiver("hang")
    try:
        write_nowhere(project, receiver)
        text = project.config.read_text()
        project.config.write_text(
            text.replace("[[alerts]]", f'[[alerts]]\nwebhook = "{slow.url()}"\n\n[[alerts]]')
        )
        project.run("emit", "pay", "--key", "key-1234", check=74, timeout=15)
        assert_heard(receiver, "pay", "key-1234")
    finally:
        slow.close()


def test_what_was_spooled_is_resolved_once_it_is_imported(
    project: Project, receiver: Receiver
) -> None:
    write(project)
    project.config.write_text(project.config.read_text() + "\n" + webhook(receiver))
    with any_way(project):
        project.run("emit", "pay", "--key", "key-1234")
        assert_heard(receiver, "pay", "key-1234")
        assert not resolved(receiver)
    project.run("sweep", check=None)
    assert keys(project) == ["key-1234"]
    project.run("sweep", check=None)
    wait_until(lambda: resolved(receiver), 10, "the message that it is over")
    assert len(messages(receiver)) == 2
    project.run("sweep")
    assert len(messages(receiver)) == 2


def test_nothing_is_resolved_while_something_is_in_the_spool(
    project: Project, receiver: Receiver
) -> None:
    """A thousand events that could not be recorded are one message, and one that it is over."""
    write(project)
    project.config.write_text(project.config.read_text() + "\n" + webhook(receiver))
    with any_way(project):
        for number in range(3):
            project.run("emit", "--defer", "pay", "--key", f"key-{number}")
        assert_heard(receiver, "pay", "key-0")
        project.run("sweep", check=None)
        assert not resolved(receiver)
    for _ in range(2):
        project.run("sweep", check=None)
    wait_until(lambda: resolved(receiver), 10, "the message that it is over")
    assert [bool(is_over(message)) for message in messages(receiver)] == [False, True]
    assert sorted(keys(project)) == ["key-0", "key-1", "key-2"]


def resolved(receiver: Receiver) -> list[dict[str, Any]]:
    """Return the messages that say that something is over."""
    return [message for message in messages(receiver) if is_over(message)]


def is_over(message: dict[str, Any]) -> bool:
    data = message["data"]
    return all(each["ended"] for each in data.get("incidents", [data]))
