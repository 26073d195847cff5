"""`eventctl doctor` on stores and mail servers that are not as they should be."""

from __future__ import annotations

import contextlib
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from eventctl.setup.doctor.database import judge
from tests.promises import test_clocks
from tests.support import fire, needs
from tests.support.certificate import Certificate
from tests.support.databases import server_only, sqlite_only
from tests.support.diagnosis import Line, bad, doctor, only
from tests.support.in_memory import Folders
from tests.support.mariadb import PASSWORD, MariaDB
from tests.support.project import Project

TOML = '[events]\nbought = ["handlers:draw"]\n'
HANDLERS = "def draw(*args):\n    pass\n"


def swept(project: Project, store: str = "") -> None:
    """Write a project, and sweep once."""
    project.write(TOML, HANDLERS, store=store)
    project.run("sweep")


@sqlite_only
@pytest.mark.parametrize("ahead", [0, -365 * 24 * 3600])
def test_for_how_long_a_sweep_has_been_running(project: Project, ahead: int) -> None:
    """Whatever its clock showed: the same time decides when others report it."""
    fire.write(project, test_clocks.HANDLERS, code=test_clocks.CODE)
    with test_clocks.held_sweep(project, test_clocks.clock(ahead)):
        lines = doctor(project)
    (line,) = (each for each in lines if each.check == "sweep")
    assert re.fullmatch(r"a sweep has been running for [\d.]+m?s", line.text)


@sqlite_only
def test_a_store_that_is_no_database(project: Project) -> None:
    project.write(TOML, HANDLERS)
    (project.folder / "events.db").write_text("no database, but long enough to look at" * 100)
    line = only(doctor(project, check=1), "store", "is not a SQLite database")
    assert line.level == "problem"


@sqlite_only
def test_a_store_that_is_damaged(project: Project) -> None:
    swept(project)
    with contextlib.closing(sqlite3.connect(project.folder / "events.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (project.folder / "events.db").open("r+b") as file:
        file.seek(0, 2)
        pages = file.tell() // 4096
        file.seek((pages - 2) * 4096)
        file.write(b"\xff" * 8192)
    found = [line for line in doctor(project, check=1) if line.check == "store"]
    (line,) = (each for each in found if each.level == "problem")
    assert "damaged" in line.text
    assert "restore it from a backup" in (line.fix or "")


@sqlite_only
def test_a_store_that_another_process_has_locked(project: Project) -> None:
    swept(project, store='timeout = "200ms"')
    with contextlib.closing(
        sqlite3.connect(project.folder / "events.db", isolation_level=None)
    ) as connection:
        connection.execute("BEGIN IMMEDIATE")
        only(doctor(project, check=1), "rights", "is locked by another process")


@sqlite_only
def test_a_store_in_a_folder_that_is_not_there(project: Project) -> None:
    project.write(TOML, HANDLERS)
    text = project.config.read_text().replace("sqlite:///events.db", "sqlite:///gone/events.db")
    project.config.write_text(text)
    line = only(
        doctor(project, check=1), "store", f"the folder {project.folder}/gone does not exist"
    )
    assert line.fix == f"mkdir -p {project.folder}/gone"


@server_only
def test_a_server_that_is_not_there(project: Project) -> None:
    project.write(TOML, HANDLERS)
    assert project.server
    port = needs.free_port()
    text = project.config.read_text().replace(f":{project.server.port}/", f":{port}/")
    project.config.write_text(text)
    lines = doctor(project, check=1)
    line = only(lines, "store", f"mysql 127.0.0.1:{port}/{project.database}", "cannot be reached")
    assert "spool" in (line.fix or "")
    assert {"handlers", "state", "disk", "spool"} <= {each.check for each in lines}


@server_only
def test_a_wrong_password(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.config.write_text(project.config.read_text().replace(PASSWORD, "other-secret"))
    project.config.chmod(0o600)
    line = only(doctor(project, check=1), "store", "refuses this user")
    assert "other-secret" not in str(doctor(project))
    assert line.level == "problem"


@server_only
def test_rights_that_are_missing(project: Project) -> None:
    swept(project)
    assert project.server
    user = f"half_{project.database}"
    project.server.sql(f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
    project.server.sql(
        f"GRANT SELECT, INSERT, UPDATE ON {project.database}.* TO '{user}'@'127.0.0.1'"
    )
    project.server.sql(f"GRANT DELETE ON {project.database}.eventctl_event TO '{user}'@'127.0.0.1'")
    project.config.write_text(project.config.read_text().replace("//app:", f"//{user}:"))
    project.config.chmod(0o600)
    line = only(doctor(project, check=1), "rights", "no DELETE on eventctl_")
    tables = set(line.text.removeprefix("no DELETE on ").split(", "))
    assert "eventctl_event" not in tables
    assert {"eventctl_delivery", "eventctl_outbox", "eventctl_sweep"} <= tables
    assert line.fix
    project.server.sql(line.fix.partition(": ")[2])
    assert bad(doctor(project)) <= {"mail"}


@server_only
def test_a_server_that_may_lose_what_it_has_confirmed(project: Project) -> None:
    swept(project)
    assert project.server
    project.server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        line = only(doctor(project), "store", "innodb_flush_log_at_trx_commit is 2", "power cut")
    finally:
        project.server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    assert line.level == "warning"
    project.server.sql((line.fix or "").partition(",")[0])
    assert "store" not in bad(doctor(project))


def test_a_server_whose_binary_log_forbids_what_sweeps_do(
    tmp_path: Path, server_folders: Folders
) -> None:
    options = ["--log-bin=b", "--binlog-format=STATEMENT", "--server-id=1"]
    server = MariaDB(server_folders("binlog"), options)
    try:
        server.start()
        project = Project(tmp_path / "project", server)
        project.write(TOML, HANDLERS)
        lines = [line for line in doctor(project, check=1) if line.check == "store"]
        levels = {line.text.split()[0]: line.level for line in lines if line.level != "ok"}
        assert levels == {"sync_binlog": "warning", "binlog_format": "problem"}
        assert project.run("list", check=None).returncode in (74, 78), "it is as doctor says"
        for line in lines:
            if line.fix:
                server.sql(line.fix.partition(" (")[0].partition(", and")[0])
        assert "store" not in bad(doctor(project))
        project.run("list")
        project.close()
    finally:
        server.close()


@server_only
def test_a_clock_that_is_wrong(project: Project) -> None:
    # Not by the command faketime, which fails where a killed process with its pid has left files.
    clock = {"LD_PRELOAD": str(needs.faketime_library()), "FAKETIME": "-90s"}
    swept(project)
    line = only(doctor(project, env=clock), "clock", "behind the store's")
    assert re.search(r"is 1m (2[5-9]|3[0-5])s", line.text)  # a busy host answers late
    assert line.level == "warning"
    only(doctor(project, env={**clock, "FAKETIME": "+90s"}), "clock", "ahead of the store's")


@pytest.mark.parametrize(
    ("settings", "words", "level"),
    [
        ({"innodb_flush_log_at_trx_commit": "0"}, "flush_log_at_trx_commit is 0", "warning"),
        ({"innodb_flush_log_at_trx_commit": "3"}, "", ""),
        ({"log_bin": "ON", "sync_binlog": "0"}, "sync_binlog is 0", "warning"),
        ({"log_bin": "OFF", "sync_binlog": "0"}, "", ""),
        ({"log_bin": "ON", "binlog_format": "STATEMENT"}, "binlog_format", "problem"),
        ({"max_allowed_packet": "1000000"}, "max_allowed_packet is 1,000,000", "warning"),
    ],
)
def test_what_settings_mean(settings: dict[str, str], words: str, level: str) -> None:
    found = list(judge(settings, 1_000_000))
    assert [each.level for each in found] == ([level] if level else [])
    assert all(words in each.text and each.fix for each in found)


@contextlib.contextmanager
def mail_server(**options: Any) -> Iterator[int]:
    """A mail server that takes one password, and no mail; yield its port."""

    class Nobody:
        async def handle_MAIL(self, *sent: object) -> str:  # noqa: N802 - the name is aiosmtpd's
            raise AssertionError("doctor has begun to send a mail")

    def login(server: Any, session: Any, envelope: Any, how: str, data: Any) -> AuthResult:
        return AuthResult(success=data.password == b"good-secret", handled=False)

    port = needs.free_port()
    options = {"authenticator": login, **options}
    controller = Controller(Nobody(), hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def mail(project: Project, url: str, more: str = "") -> list[Line]:
    """Write a project that mails by SMTP, and ask the doctor."""
    report = f'[report]\nmail_to = ["ops@example.com"]\nsmtp = "{url}"\n{more}\n'
    project.write(TOML + report, HANDLERS)
    return [line for line in doctor(project) if line.check == "mail"]


@sqlite_only
def test_a_mail_server(project: Project) -> None:
    with mail_server() as port:
        (line,) = mail(project, f"smtp://127.0.0.1:{port}")
        assert line.text == f"to ops@example.com by 127.0.0.1:{port} (without TLS)"
        (line,) = mail(project, f"smtp://me@127.0.0.1:{port}", 'smtp_password = "good-secret"')
        assert "offers no STARTTLS, and a password is never sent in the clear" in line.text
        assert "fix smtp" in (line.fix or "")
    (line,) = mail(project, f"smtp://127.0.0.1:{needs.free_port()}")
    assert (line.level, "Connection refused" in line.text) == ("problem", True)


@sqlite_only
def test_the_mail_server_of_an_alert(project: Project) -> None:
    report = f'[report]\nsmtp = "smtp://127.0.0.1:{needs.free_port()}"\n'
    alert = '[[alerts]]\nmail = ["night@example.com"]\n'
    project.write(TOML + report + alert, HANDLERS)
    line = only(doctor(project, check=1), "mail", "Connection refused")
    assert line.level == "problem"


@sqlite_only
def test_the_password_of_a_mail_server(project: Project, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, "IP:127.0.0.1")
    trusted = f'ca_file = "{certificate.file}"\nsmtp_password = '
    with mail_server(require_starttls=True, tls_context=certificate.context) as port:
        url = f"smtp://me@127.0.0.1:{port}"
        (line,) = mail(project, url, f'{trusted}"good-secret"')
        assert line.text.endswith(f"127.0.0.1:{port} (over TLS, logged in as me)")
        (line,) = mail(project, url, f'{trusted}"bad-secret"')
        assert line.level == "problem"
        assert "it refused the user or the password" in line.text
        assert "secret" not in line.text
        (line,) = mail(project, url, 'smtp_password = "good-secret"')
        assert "its certificate is not valid" in line.text


@sqlite_only
def test_a_mail_server_that_says_nothing(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        report = (
            f'[report]\nmail_to = ["a@b"]\nsmtp = "smtp://127.0.0.1:{silent.getsockname()[1]}"\n'
        )
        project.write(TOML + report, HANDLERS)
        code = (
            "import sys; from eventctl.setup.doctor import cron; cron.PATIENCE = 0.5;"
            " from eventctl.cli import run; sys.exit(run(['doctor']))"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            cwd=project.folder,
            env=project.environment(),
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert re.search(r"problem\tmail\tthe mail server .* (after|within) 500ms\t", done.stdout)
