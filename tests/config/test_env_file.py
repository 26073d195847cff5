"""`eventctl.env`: where `${NAME}` is looked up that the environment lacks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eventctl.config import Needs, load
from eventctl.errors import ConfigError
from tests.support import needs
from tests.support.databases import sqlite_only
from tests.support.diagnosis import doctor, only
from tests.support.events_toml import mistakes, write
from tests.support.project import Project

TOML = '[store]\nsource = "${NAME}"'
SLACK = """\
[events]
purchased = ["x"]
[handlers]
x = { command = ["true"] }
[[alerts]]
slack = "${SLACK_WEBHOOK_URL}"
"""


def secrets(folder: Path, text: str | bytes, mode: int = 0o600, name: str = "eventctl.env") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NAME=/shop", "/shop"),
        ("# one\n; two\n\nOTHER=1\nNAME = /shop \n", "/shop"),
        ("\ufeffNAME=/shop\r\n", "/shop"),
        ('NAME="/shop"', "/shop"),
        ("NAME='/shop'", "/shop"),
        (r'NAME="/a\"b\\c\$d"', '/a"b\\c$d'),
        (r"NAME='/a\$b'", r"/a\$b"),
        (r"NAME=/a\$b#c'd", r"/a\$b#c'd"),
        ("NAME=/a=b", "/a=b"),
        ("NAME=/first\nNAME=/last", "/last"),
        ("NAME='/a", "'/a"),
        ("NAME=\t'/a' ", "/a"),
        ("\r\nNAME=/a\r\n\r\n", "/a"),
        ("NAME=/a\rOTHER=1\r", "/a"),
        ("NAME=$(id)`id`${HOME}", "$(id)`id`${HOME}"),
    ],
)
def test_a_value_is_read_as_others_read_it(tmp_path: Path, text: str, value: str) -> None:
    secrets(tmp_path, text)
    config = load(write(tmp_path, '[handlers]\nx = { command = ["echo", "${NAME}"] }'))
    assert config.handlers["x"].command == ("echo", value)


def test_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets(tmp_path, "NAME=/file", 0o644)
    monkeypatch.setenv("NAME", "/environment")
    assert load(write(tmp_path, TOML)).store.source == "/environment"


def test_env_file_names_another(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    secrets(tmp_path / "etc", "NAME=/shop", 0o640, "shop.env")
    path = write(tmp_path, 'env_file = "etc/shop.env"\n' + TOML)
    assert load(path).store.source == "/shop"
    (tmp_path / "etc" / "shop.env").unlink()
    (line,) = mistakes(path)
    assert line.startswith(f"F: store.source: {tmp_path}/etc/shop.env is missing; ")


def test_a_link_to_the_file(tmp_path: Path) -> None:
    """As systemd, Docker and Kubernetes mount secrets; the rights are those of the file itself."""
    (tmp_path / "run").mkdir()
    target = secrets(tmp_path / "run", "NAME=/shop", 0o440, "shop.env")
    (tmp_path / "run" / "..data").symlink_to(target)
    (tmp_path / "eventctl.env").symlink_to(tmp_path / "run" / "..data")
    path = write(tmp_path, TOML)
    assert load(path).store.source == "/shop"
    target.chmod(0o444)
    assert "others can read or write it; chmod o-rwx " in mistakes(path)[0]
    target.unlink()
    assert "NAME is not set" in mistakes(path)[0]


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"NAME=s3cret", 0o604, "others can read or write it; chmod o-rwx "),
        (b"NAME=s3cret", 0o602, "others can read or write it; chmod o-rwx "),
        (b"\nexport NAME=s3cret", 0o600, "line 2 of D/eventctl.env is not KEY=VALUE; "),
        (b"s3cret", 0o600, "line 1 of D/eventctl.env is not KEY=VALUE; "),
        ("NAME=s3cret".encode("utf-16"), 0o600, "line 1 of D/eventctl.env is not UTF-8; "),
        (b"NAME=s3cr\0t", 0o600, "line 1 of D/eventctl.env is not KEY=VALUE; "),
        (b"NAME s3cret", 0o600, "line 1 of D/eventctl.env is not KEY=VALUE; "),
        (b"2NAME=s3cret", 0o600, "line 1 of D/eventctl.env is not KEY=VALUE; "),
        (b"NAME=s3cr\xe9t", 0o600, "line 1 of D/eventctl.env is not UTF-8; "),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_without_its_content(
    tmp_path: Path, content: bytes, mode: int, words: str
) -> None:
    secrets(tmp_path, content, mode)
    (line,) = mistakes(write(tmp_path, TOML))
    assert words in line.replace(str(tmp_path), "D")
    assert "s3cr" not in line


def test_a_folder_or_a_pipe_in_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, TOML)
    os.mkfifo(tmp_path / "eventctl.env", 0o600)
    assert "eventctl.env cannot be read (it is not a regular file)" in mistakes(path)[0]
    (tmp_path / "eventctl.env").unlink()
    (tmp_path / "eventctl.env").mkdir()
    assert "eventctl.env cannot be read (" in mistakes(path)[0]


def test_root_refuses_a_file_of_another_user(tmp_path: Path) -> None:
    needs.root("a file of another user")
    os.chown(secrets(tmp_path, "NAME=/shop"), 1, 1)
    (line,) = mistakes(write(tmp_path, TOML))
    assert "eventctl.env: belongs to the user" in line


def test_an_emitter_needs_no_secret_that_it_does_not_use(tmp_path: Path) -> None:
    """It may be a user who must not read the file: the channels are there, and are silent."""
    secrets(tmp_path, "SLACK_WEBHOOK_URL=https://hooks.slack.com/s3cret", 0o644)
    path = write(tmp_path, SLACK + '[sweep]\nping = "${PING_URL}"')
    config = load(path, Needs.TO_RECORD)
    assert config.mistakes == ()
    assert [channel.channel for channel in config.channels] == ["print", "slack"]
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert len(caught.value.mistakes) == 2


@sqlite_only
def test_emit_sweep_and_doctor(project: Project) -> None:
    project.write(SLACK)
    done = project.run("emit", "purchased")
    assert done.stderr == ""
    done = project.run("sweep", check=78)
    assert "SLACK_WEBHOOK_URL is not set; set SLACK_WEBHOOK_URL in" in done.stderr
    file = secrets(project.folder, "SLACK_WEBHOOK_URL=https://hooks.slack.com/s3cret", 0o644)
    done = project.run("sweep", check=78)
    fix = f"{file} holds secrets, and others can read or write it; chmod o-rwx {file}\n"
    assert done.stderr.endswith(fix)  # and no other fix
    assert "s3cret" not in done.stderr
    file.chmod(0o600)
    assert project.run("sweep").stderr == ""
    lines = [line for line in doctor(project) if "eventctl.env" in line.text]
    assert [line.level for line in lines] == ["ok"]
    file.chmod(0o644)
    env = {"SLACK_WEBHOOK_URL": "https://hooks.slack.com/x"}
    assert only(doctor(project, check=1, env=env), "config", "eventctl.env").level == "problem"


@sqlite_only
def test_a_handler_does_not_get_what_the_file_has(project: Project) -> None:
    secrets(project.folder, "NAME=/s3cret")
    handler = 'import os\ndef x():\n    assert "NAME" not in os.environ\n'
    project.write('[events]\na = ["x"]\n[handlers]\nx = "handlers:x"', handler,
                  store='source = "${NAME}"')  # fmt: skip
    project.run("emit", "--strict", "a")
