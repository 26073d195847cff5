"""Security: what is data stays data, what is secret stays secret, and only events.toml runs."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest

from eventctl import cli, config
from eventctl.config import load
from eventctl.errors import ConfigError
from eventctl.intake.importer import import_spool
from eventctl.state.folder import StateFolder
from eventctl.store.connect import open_store
from tests.support import needs
from tests.support.databases import server_only, sqlite_only
from tests.support.events_toml import write
from tests.support.hostile import ESCAPES, HOSTILE, assert_harmless
from tests.support.look import Mailbox, count, delivery, make_due, script, status
from tests.support.project import Project
from tests.support.server import PASSWORD

TOML = """
[sweep]
breaker = 1000

[events]
purchased = ["log"]

[handlers]
log = { command = ["./log"], retry = { attempts = 1 } }
"""


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with one handler: a command that succeeds."""
    project.write(TOML)
    script(project.folder / "log", "#!/bin/sh\ncat >>got\n")
    return project


# An events.toml that others may change


@pytest.mark.parametrize(
    ("mode", "folder_mode", "wrong", "fix"),
    [
        (0o664, 0o755, "can be changed by the group root", "chmod go-w {path}"),
        (0o646, 0o755, "can be changed by anybody", "chmod go-w {path}"),
        (0o644, 0o757, "can be replaced by anybody, through its folder", "chmod go-w {folder}"),
        (0o644, 0o775, "can be replaced by the group root, through its folder", "chmod go-w"),
    ],
)
def test_root_runs_nothing_that_others_may_change(
    tmp_path: Path, mode: int, folder_mode: int, wrong: str, fix: str
) -> None:
    needs.root("to be refused as root")
    path = write(tmp_path, "", mode)
    tmp_path.chmod(folder_mode)
    with pytest.raises(ConfigError) as caught:
        load(path)
    (line,) = caught.value.mistakes
    assert line.startswith(f"{path}: {wrong}; {fix.format(path=path, folder=tmp_path)}")
    assert caught.value.exit_code == 78


def test_root_runs_nothing_of_another_user(tmp_path: Path) -> None:
    needs.root("to be refused as root")
    path = write(tmp_path, "")
    os.chown(path, 65534, 0)
    with pytest.raises(
        ConfigError, match="who could change what root runs; run eventctl as the user"
    ):
        load(path)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    with pytest.raises(ConfigError, match=f"chown root {link}"):
        load(link)


def test_a_link_into_an_open_folder_is_refused(tmp_path: Path) -> None:
    needs.root("to be refused as root")
    (tmp_path / "open").mkdir()
    path = write(tmp_path / "open", "")
    (tmp_path / "open").chmod(0o777)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    with pytest.raises(ConfigError, match=f"chmod go-w {tmp_path / 'open'}$"):
        load(link)


def test_in_a_sticky_folder_nobody_can_replace_it(tmp_path: Path) -> None:
    path = write(tmp_path, "", 0o600)
    tmp_path.chmod(0o1777)
    load(path)
    assert config.concerns(path) == []


@sqlite_only
def test_refused_by_every_command_and_nothing_is_changed(shop: Project) -> None:
    needs.root("to be refused as root")
    shop.config.chmod(0o602)
    for command in (("emit", "purchased"), ("sweep",), ("list",)):
        line, *event = shop.run(*command, check=78).stderr.splitlines()
        assert line.startswith(f"eventctl: {shop.config}: can be changed by anybody; chmod go-w ")
        # What such a file says of a spool counts for nothing.
        assert len(event) == (command[0] == "emit")
    assert not (shop.folder / "events.db").exists()


def test_who_is_not_root_is_reported_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, "", 0o666)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert config.concerns(path) == [f"{path}: can be changed by anybody; chmod go-w {path}"]
    path.chmod(0o664)
    (line,) = config.concerns(path)
    assert line.startswith(f"{path}: can be changed by the group ")
    # Cron would mail it each minute; on a terminal it stands above what was asked for.
    for terminal, sent in ((False, ""), (True, f"eventctl: {line}\n")):
        monkeypatch.setattr(os, "isatty", lambda fd, terminal=terminal: terminal)
        assert cli.run(["--config", str(path), "emit", "x"]) == 2
        assert (
            capsys.readouterr()
            .err.removesuffix(f"{path}: it has no [events]\n")
            .startswith(sent + "eventctl: no event")
        )


def test_a_group_of_ones_own_is_no_concern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "", 0o664)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_gid or 1000)
    if path.stat().st_gid == 0:
        os.chown(path, 1000, 1000)
    assert config.concerns(path) == []


# A spool that others may write to


def test_root_imports_nothing_from_a_spool_that_others_may_write_to(shop: Project) -> None:
    needs.root("to be refused as root")
    shop.run("emit", "--defer", "-q", "purchased")
    spool = shop.folder / "events.state" / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    (spool / "x.json").write_text('{"name": "purchased"}')
    spool.chmod(0o777)
    (line,) = shop.run("sweep").stderr.splitlines()
    assert line == (
        f"eventctl: anybody can write to {spool}, and so emit: chmod go-w {spool};"
        " until then root imports nothing from the spool"
    )
    # All else goes on, and it is not reported each minute.
    assert status(shop) == 2
    assert shop.run("sweep").stderr == ""
    assert count(shop, "event") == 1
    spool.chmod(0o700)
    shop.run("sweep")
    assert (count(shop, "event"), status(shop, 2)) == (2, 2)


@pytest.mark.parametrize(
    ("group", "mode", "new"), [(None, 0o770, 0), ("root", 0o2770, 1), ("root", 0o2777, 0)]
)
def test_the_group_that_store_names_may_write(
    tmp_path: Path, group: str | None, mode: int, new: int
) -> None:
    needs.root("to be refused as root")
    settings = load(write(tmp_path, "[events]\npurchased = ['a:b']"))
    state = StateFolder(settings.store.state, group)
    folder = state.folder("spool")
    (folder / "x.json").write_text('{"name": "purchased"}')
    state.path.chmod(mode)
    with open_store(settings) as database:
        assert import_spool(settings, database, state) == new


def test_who_is_not_root_imports_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(write(tmp_path, "[events]\npurchased = ['a:b']"))
    state = StateFolder(settings.store.state)
    folder = state.folder("spool")
    (folder / "x.json").write_text('{"name": "purchased"}')
    folder.chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with open_store(settings) as database:
        assert import_spool(settings, database, state) == 1


@sqlite_only
def test_what_is_no_plain_file_in_the_spool_is_set_aside(shop: Project) -> None:
    secret = shop.folder / "secret.json"
    secret.write_text('{"name": "purchased", "args": ["of another user"]}')
    spool = shop.folder / "events.state" / "spool"
    spool.mkdir(parents=True)
    os.mkfifo(spool / "fifo.json")
    (spool / "link.json").symlink_to(secret)
    (spool / "folder.json").mkdir()
    (spool / "gone.json").symlink_to("/no/such/file")
    fd = os.open(spool, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{fd}/socket.json")  # the path itself is too long
    os.close(fd)
    sent = shop.run("sweep", check=1, timeout=20).stdout
    assert "5 entries were set aside" in sent
    assert count(shop, "event") == 0
    assert sorted(path.name for path in (spool / "damaged").iterdir()) == [
        *("fifo.json", "folder.json", "gone.json", "link.json", "socket.json")
    ]
    assert shop.run("sweep").stdout == ""


@sqlite_only
def test_no_link_in_the_state_folder_is_followed(shop: Project) -> None:
    victim = shop.folder / "victim"
    victim.write_text("precious")
    state = shop.folder / "events.state"
    state.mkdir()
    for name in ("boot", "sweep.lock", "exposed.said"):
        (state / name).symlink_to(victim)
    shop.run("emit", "--defer", "-q", "purchased")
    shop.run("sweep", check=None)
    assert victim.read_text() == "precious"


# Passwords

SPY = """
import pathlib

def spy():
    seen = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == pathlib.Path.cwd():  # not another test's
                words = (process / "cmdline").read_bytes().replace(b"\\0", b" ")
                seen.append(words.decode("utf-8", "replace"))
        except OSError:
            continue
    pathlib.Path("seen").write_text("\\n".join(seen))
    raise RuntimeError("the spy has failed")
"""

SPY_TOML = """
[events]
purchased = ["spy"]

[handlers]
spy = { call = "handlers:spy", retry = { attempts = 1 } }
"""


def without_password(project: Project, store: str) -> None:
    text = project.config.read_text().replace(f":{PASSWORD}@", "@")
    project.config.write_text(f"{text}\n{store}\n")


@pytest.fixture(params=["variable", "option file", "0600"])
def secretive(request: pytest.FixtureRequest, project: Project) -> tuple[Project, dict[str, str]]:
    """A project on MariaDB that has its password in each of the places where it may be."""
    project.write(SPY_TOML, SPY)
    environment = {}
    if request.param == "variable":
        text = project.config.read_text().replace(f":{PASSWORD}@", ":${DB_PASSWORD}@")
        project.config.write_text(text)
        project.config.chmod(0o644)
        environment = {"DB_PASSWORD": PASSWORD}
    elif request.param == "option file":
        without_password(project, 'read_default_file = "my.cnf"')
        project.config.chmod(0o644)
        (project.folder / "my.cnf").write_text(f'[client]\npassword="{PASSWORD}"\n')
    return project, environment


@server_only
def test_a_password_is_in_no_argument_list_no_output_no_file_and_no_table(
    secretive: tuple[Project, dict[str, str]],
) -> None:
    project, environment = secretive
    said = []
    for arguments in (
        ("emit", "purchased"),
        ("emit", "--defer", "purchased"),
        ("sweep", "-v"),
        ("list",),
        ("show", "1"),
        ("emit", "no such event"),
    ):
        done = project.run(*arguments, env=environment, check=None)
        said.append(done.stdout + done.stderr)
    assert "the spy has failed" in "".join(said)
    seen = (project.folder / "seen").read_text()
    assert str(project.config) in seen or "eventctl" in seen
    for table in ("event", "delivery", "attempt", "notice", "sweep"):
        said.append(repr(project.rows(f"SELECT * FROM eventctl_{table}")))
    for path in (project.folder / "events.state").rglob("*"):
        if path.is_file():
            said.append(path.read_text(errors="replace"))
    assert PASSWORD not in "".join(said) + seen


@server_only
def test_a_password_is_in_no_error(
    secretive: tuple[Project, dict[str, str]], mariadb_port: int
) -> None:
    project, environment = secretive
    away = project.config.read_text().replace(f":{mariadb_port}/", ":1/")
    wrong = project.config.read_text().replace("//app", "//nobody")
    for text, code in ((away, 74), (wrong, 78)):
        project.config.write_text(text)
        for sent in project.folder.glob("*/store.said"):
            sent.unlink()
        emitted = project.run("emit", "purchased", env=environment)
        (line,) = emitted.stderr.splitlines()
        assert "the event is kept in" in line
        swept = project.run("sweep", env=environment, check=code)
        listed = project.run("list", env=environment, check=code)
        assert len(swept.stderr.splitlines()) == len(listed.stderr.splitlines()) == 1
        assert PASSWORD not in emitted.stderr + swept.stderr + listed.stderr


@pytest.fixture
def mariadb_port(project: Project) -> int:
    assert project.server is not None
    return project.server.port


@server_only
def test_a_password_that_others_can_read_is_refused_and_not_shown(project: Project) -> None:
    project.write(SPY_TOML, SPY)
    project.config.chmod(0o644)
    done = project.run("emit", "purchased")
    assert "the event is kept in" in done.stderr
    assert "store.url: has a password in it, and others can read this file" in done.stderr
    assert PASSWORD not in done.stderr


@server_only
def test_a_missing_option_file_is_named(project: Project) -> None:
    project.write(SPY_TOML, SPY)
    without_password(project, 'read_default_file = "my.cnf"')
    (line,) = project.run("sweep", check=78).stderr.splitlines()
    missing = project.folder / "my.cnf"
    assert line == (
        f"eventctl: [store] read_default_file: {missing}: No such file or directory;"
        " this is said once an hour until a sweep succeeds again"
    )


def test_records_do_not_show_passwords(tmp_path: Path) -> None:
    settings = load(
        write(
            tmp_path,
            '[store]\nurl = "mysql://app:s3cret@db1/shop"\n'
            '[report]\nmail_to = ["ops@example.com"]\nsmtp = "smtp://u@mail"\n'
            'smtp_password = "s3cret"\n',
            mode=0o600,
        )
    )
    assert settings.store.mysql is not None
    assert settings.store.mysql.password == settings.report.smtp_password == "s3cret"
    assert "s3cret" not in repr(settings)


@sqlite_only
def test_an_smtp_password_is_never_shown(shop: Project) -> None:
    script(shop.folder / "log", "#!/bin/sh\nexit 1\n")
    shop.write(
        TOML
        + f"""
[report]
mail_to = ["ops@example.com"]
smtp = "smtp://user@127.0.0.1:{needs.free_port()}"
smtp_password = "${{SMTP_PASSWORD}}"
"""
    )
    environment = {"SMTP_PASSWORD": "correct-horse"}
    shop.run("emit", "-q", "purchased", env=environment)
    swept = shop.run("sweep", "-v", env=environment, check=1)
    assert "the report could not be mailed by 127.0.0.1:" in swept.stderr
    assert "correct-horse" not in swept.stderr + swept.stdout


# Data that would like to be more

ECHO_TOML = """
[sweep]
breaker = 1000

[events]
purchased = ["echo", "call"]

[handlers]
echo = { command = ["./echo"], retry = { attempts = 1 } }
call = { call = "handlers:call", retry = { attempts = 1 } }
"""

ECHO = """
def call(*args, **fields):
    text = "".join(map(str, [*args, *fields, *fields.values()]))
    print(text)
    raise RuntimeError(text)
"""


@pytest.fixture
def hostile(project: Project) -> tuple[Project, Mailbox]:
    """Each hostile text through each door; the handlers put all of it into error and output."""
    mailbox = Mailbox(project.folder / "mail")
    report = f'[report]\nmail_to = ["ops@example.com"]\nsendmail = "{mailbox.sendmail}"\n'
    project.write(ECHO_TOML + report, ECHO)
    # What is in the JSON escaped comes out raw.
    script(
        project.folder / "echo",
        "#!/bin/sh\nprintf '\\033[31m\\007\\r'; cat; printf '\\302\\233\\377\\n'; exit 1\n",
    )
    spool = project.folder / "events.state" / "spool"
    spool.mkdir(parents=True)
    project.run("list")  # makes the tables
    batch = []
    for number, text in enumerate(HOSTILE):
        batch.append(json.dumps({"name": "purchased", "args": {text: [text]}}))
        event = {"name": "purchased", "args": [text], "key": f"spool {number}"}
        (spool / f"{number}.json").write_text(json.dumps(event))
        name = text.replace("/", "_")
        (spool / f"{name}.json").write_text("no event")
        (spool / f"unknown {name}.json").write_text(json.dumps({"name": text}))
        for key, name, args in (
            (f"outbox {number}", "purchased", json.dumps([text])),
            (None, "purchased", text),
            (None, text, "[]"),
            (text, "purchased", "[]"),
        ):
            project.execute(
                "INSERT INTO eventctl_outbox (`key`, name, args) VALUES (?, ?, ?)", key, name, args
            )
    project.run("emit", "-q", "--batch", "-", input="\n".join(batch))
    return project, mailbox


def test_what_is_in_data_harms_nobody_who_looks(hostile: tuple[Project, Mailbox]) -> None:
    project, mailbox = hostile
    emitted = project.run("emit", "purchased", *HOSTILE)
    dry = project.run("sweep", "--dry-run")
    swept = project.run("sweep", "-v", check=1)
    shown = [emitted.stderr, dry.stdout, swept.stdout, swept.stderr]
    # The events that all this made, but not those whose name or args are no event.
    n = len(HOSTILE)
    assert count(project, "event") >= 3 * n + 1
    for form in ("json", "jsonl", "csv", "text"):
        listed = project.run("list", "--limit", "0", "--format", form).stdout
        shown.append(listed)
        if form == "csv":
            cells = [cell for row in csv.reader(listed.splitlines()) for cell in row]
            assert any("HYPERLINK" in cell for cell in cells)
            assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    rows = project.run("list", "--limit", "0").stdout.splitlines()
    assert len(rows) == count(project, "event")
    for event in range(1, count(project, "event") + 1, 11):
        shown.append(project.run("show", str(event)).stdout)
        shown.append(project.run("show", str(event), "--json").stdout)
    plan = project.run("replay", "--dry-run", "--status", "failed")
    shown += [plan.stdout, plan.stderr]
    for text in shown:
        assert_harmless(text)
    mails = mailbox.mails()
    assert mails
    for mail in mails:
        assert_mail_is_harmless(mail)


def assert_mail_is_harmless(mail: str) -> None:
    message = message_from_string(mail)
    assert sorted(set(message.keys())) == sorted(
        [
            *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
            *("X-Auto-Response-Suppress", "MIME-Version", "Content-Type"),
        ]
    )
    text, page = (
        part.get_payload(decode=True).decode()  # type: ignore[union-attr]  # it is not a multipart
        for part in message.walk()
        if not part.is_multipart()
    )
    assert_harmless(text)
    assert_harmless(page)
    assert "<script" not in page
    assert "<img" not in page


@sqlite_only
@pytest.mark.parametrize(
    "arguments",
    [
        ("emit", "purchased", "--key", ESCAPES),
        ("emit", ESCAPES),
        ("emit", "purchased", "--json", ESCAPES),
        ("emit", "purchased", f"--{ESCAPES}"),
        ("emit", "purchased", "--delay", ESCAPES),
        ("emit", "--batch", ESCAPES),
        ("show", ESCAPES),
        ("list", "--event", ESCAPES),
        ("list", "--status", ESCAPES),
        ("list", "--since", ESCAPES),
        ("sweep", "--handler", ESCAPES),
        ("sweep", "--for", ESCAPES),
        ("replay", ESCAPES),
        ("--config", ESCAPES, "list"),
        (ESCAPES,),
        (f"--{ESCAPES}",),
    ],
)
def test_what_a_mistaken_command_line_held_is_reported_escaped(
    shop: Project, arguments: tuple[str, ...]
) -> None:
    done = shop.run(*arguments, check=None)
    assert done.returncode in (0, 2, 78)
    assert_harmless(done.stderr + done.stdout)
    assert "Traceback" not in done.stderr


# Only what events.toml names is run


def test_a_handler_that_was_written_into_a_row_is_held(shop: Project) -> None:
    shop.run("emit", "-q", "--defer", "purchased", "touch pwned")
    shop.execute("UPDATE eventctl_delivery SET handler = ?", "os:system")
    shop.execute("UPDATE eventctl_event SET expected = ?", '["os:system"]')
    shop.run("sweep")
    assert delivery(shop, "os:system").reason == "unknown handler"
    shop.execute("UPDATE eventctl_notice SET due_at = 1")  # another host may know the handler
    sent = shop.run("sweep", check=1).stdout
    assert "os:system" in sent
    assert "held" in sent
    assert not (shop.folder / "pwned").exists()
    make_due(shop)
    shop.run("sweep", "--handler", "os:system", check=2)
    shop.run("replay", "--now", "--yes", "1", check=None)
    assert not (shop.folder / "pwned").exists()


def test_no_door_takes_a_handler(shop: Project) -> None:
    spool = shop.folder / "events.state" / "spool"
    spool.mkdir(parents=True)
    event = {"name": "purchased", "args": ["touch pwned"]}
    more: list[dict[str, Any]] = [
        {"expected": ["os:system"]},
        {"handlers": ["os:system"]},
        {"name": "os:system"},
    ]
    for number, fields in enumerate(more):
        (spool / f"{number}.json").write_text(json.dumps({**event, **fields}))
        shop.run("emit", "--batch", "-", input=json.dumps({**event, **fields}), check=2)
    shop.run("emit", "os:system", "touch pwned", check=2)
    shop.run("list")  # makes the tables
    shop.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('os:system', '[]')")
    shop.run("sweep", check=1)
    assert count(shop, "event") == 0
    assert not (shop.folder / "pwned").exists()


@sqlite_only
def test_no_shell_sees_args(shop: Project) -> None:
    script(
        shop.folder / "log", '#!/bin/sh\necho "$@" "$EVENTCTL_KEY" $EVENTCTL_NAME; cat; exit 1\n'
    )
    for text in (
        "$(touch pwned)",
        "`touch pwned`",
        "; touch pwned;",
        "| touch pwned",
        "\ntouch pwned",
    ):
        shop.run("emit", "-q", "purchased", text)
        shop.run(
            "emit",
            "-q",
            "purchased",
            "--key",
            f"k{text.strip()}",
            "--json",
            json.dumps({text: text}),
        )
    shop.write(TOML.replace('"./log"', '"/bin/echo", "$(touch pwned)", "; touch pwned", "*"'))
    shop.run("emit", "-q", "purchased")
    shop.run("sweep", "-v", check=None)
    assert not list(shop.folder.glob("pwned*"))


@sqlite_only
def test_modules_of_the_current_folder_do_not_take_the_place_of_our_own(shop: Project) -> None:
    shop.run("emit", "-q", "--defer", "purchased")
    for name in ("click", "sqlite3", "json", "rich", "peewee", "eventctl", "sitecustomize"):
        (shop.folder / f"{name}.py").write_text("open('pwned', 'w').close()\n")
    shop.run("emit", "-q", "--defer", "purchased")
    shop.run("list")
    shop.run("show", "1", "--json")
    shop.run("sweep", "-v")
    assert not (shop.folder / "pwned").exists()
    assert (status(shop, 1), status(shop, 2)) == (2, 2)


@sqlite_only
def test_nor_for_a_program_that_emits_and_runs(shop: Project) -> None:
    (shop.folder / "click.py").write_text("open('pwned', 'w').close()\n")
    program = "import eventctl; eventctl.emit('purchased', run=True, config='events.toml')"
    subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=shop.folder,
        env=shop.environment(),
        check=True,
        timeout=60,
    )
    assert not (shop.folder / "pwned").exists()
    assert status(shop) == 2


@sqlite_only
def test_variables_of_the_environment_name_no_code(shop: Project) -> None:
    environment = {
        "EVENTCTL_HANDLER": "os:system",
        "EVENTCTL_NAME": "os:system",
        "EVENTCTL_ID": "7",
        "EVENTCTL_KEY": "k",
        "EVENTCTL_ATTEMPT": "$(touch pwned)",
        "SHELL": str(shop.folder / "pwn"),
        "PAGER": str(shop.folder / "pwn"),
        "EDITOR": str(shop.folder / "pwn"),
    }
    script(shop.folder / "pwn", "#!/bin/sh\ntouch pwned\n")
    script(
        shop.folder / "log",
        '#!/bin/sh\necho "$EVENTCTL_NAME $EVENTCTL_HANDLER $EVENTCTL_ID" >got\n',
    )
    shop.run("emit", "-q", "purchased", env=environment)
    shop.run("sweep", "-v", env=environment)
    shop.run("show", "1", env=environment)
    assert (shop.folder / "got").read_text() == "purchased log 1\n"
    assert not (shop.folder / "pwned").exists()
