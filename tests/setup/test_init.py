"""`eventctl init`: a project that works, and words that can be typed to the letter."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from eventctl.setup.scaffold import Answers, function_of, handlers
from tests.support import needs
from tests.support.cron import running_cron
from tests.support.databases import server_only, sqlite_only
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain

NAMES = ("events.toml", "handlers.py")


def next_steps(shown: str) -> list[str]:
    """Return the commands that init says to type next."""
    _, _, steps = shown.partition("Next steps:\n")
    return [line.partition("   # ")[0].strip() for line in steps.splitlines()]


@sqlite_only
def test_each_step_works_as_it_is_written(project: Project, tmp_path: Path) -> None:
    """On a machine with a cron of its own: emit, list, sweep, crontab, and a doctor at peace."""
    with running_cron(tmp_path / "cron") as cron:
        folder = project.folder / "a new shop"
        stage = cron.stage(project.folder)
        done = subprocess.run(
            [*stage, "eventctl", "init", "a new shop", "--yes"],
            env=project.environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        steps = next_steps(done.stdout)
        assert steps[0] == f"cd '{folder}'"
        assert [step.split()[1] for step in steps[1:]] == [
            "emit", "list", "sweep", "crontab", "doctor"
        ]  # fmt: skip
        shell = subprocess.run(
            [*stage, "sh", "-ex", "-c", "\n".join(steps)],
            env=project.environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert shell.returncode == 0, shell.stdout + shell.stderr
        assert shell.stdout.startswith("1\n1\t")
        assert "\tpurchased\tprocessed\t1/1\t" in shell.stdout
        assert "a new shop/events.toml\n" in cron.installed()
        assert "problem\t" not in shell.stdout
    assert (folder / "give_coupon.done" / "1.json").exists()


@sqlite_only
def test_the_handler_may_run_twice(project: Project) -> None:
    project.run("init", "--yes")
    project.run("emit", "--key", "k", "purchased", "a", "1")
    done = project.folder / "give_coupon.done" / "1.json"
    before = done.stat().st_ino
    project.execute("UPDATE eventctl_delivery SET state = 'pending', due_at = 1")
    project.run("sweep")
    assert done.stat().st_ino == before
    (project.folder / "service-is-down").touch()
    said = project.run("emit", "purchased", "b", "2").stderr
    assert "the service does not answer" in said
    assert not (done.parent / "2.json").exists()


@sqlite_only
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_nobody_else_may_change_what_it_makes(project: Project, umask: int) -> None:
    wrapper = ("sh", "-c", f'umask {umask:o}; exec "$@"', "sh")
    project.run("init", "made/here", "--yes", wrapper=wrapper)
    folder = project.folder / "made" / "here"
    for path in (folder, *(folder / name for name in NAMES)):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o022, path
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES), "no draft is left"
    project.run("--config", "made/here/events.toml", "list")


@sqlite_only
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["file", "link"])
def test_it_writes_over_nothing(project: Project, name: str, kind: str) -> None:
    there = project.folder / name
    if kind == "file":
        there.write_text("mine")
    else:
        there.symlink_to("nowhere")
    before = sorted(project.folder.iterdir())
    done = project.run("init", "--yes", check=2)
    assert done.stderr.startswith(
        f"eventctl: {there} already exists, and init does not overwrite it"
    )
    assert done.stdout == ""
    assert {*project.folder.iterdir()} - {project.folder / "home"} == {*before}


@sqlite_only
def test_the_answers_of_a_person(project: Project) -> None:
    typed = "\nuser signed up\nsend-welcome\nops@example.com\nsmtp.example.com\n\n"
    code, shown = on_terminal(project, "init", "asked", typed=typed, columns=100)
    shown = plain(shown)
    assert code == 0, shown
    assert "Where to keep events: a SQLite file, or mysql://user@host/database [sqlite:///" in shown
    # One answer was of no use, and is asked for again.
    assert "--smtp: is not an SMTP URL; write smtp://user@host:587" in shown
    text = (project.folder / "asked" / "events.toml").read_text()
    assert '"user signed up" = ["send-welcome"]' in text
    assert 'send-welcome = "handlers:send_welcome"' in text
    assert 'mail_to = ["ops@example.com"]' in text
    (step,) = (step for step in next_steps(shown) if " emit " in step)
    assert "emit 'user signed up' 'user A' 5000" in step
    words = shlex.split(step)
    project.run("--config", "asked/events.toml", *words[words.index("emit") :])
    assert project.folder.joinpath("asked", "send_welcome.done", "1.json").exists()


@sqlite_only
def test_who_stops_answering_leaves_nothing(project: Project) -> None:
    code, shown = on_terminal(project, "init", "asked", typed="\n\x04")
    assert code == 130
    assert "interrupted" in shown
    assert not (project.folder / "asked").exists()


@sqlite_only
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "stdin is not a terminal: use --yes"),
        (
            ["--yes", "--store", "mysq://x"],
            "begins with mysq://, which is not supported; write mysql://",
        ),
        (["--yes", "--store", "foo"], "eventctl: --store: is neither sqlite:/// nor mysql://;"),
        (["--yes", "--store", ""], "eventctl: --store: is empty; write a value\n"),
        (["--yes", "--event", "--x"], "--event: has a name that looks like an option"),
        (["--yes", "--event", ""], "--event: is an empty name; give it a name"),
        (["--yes", "--handler", "a\nb"], "--handler: has a control character"),
        (["--yes", "--mail-to", "a,,b"], '--mail-to: "" is not a mail address'),
        (["--yes", "--mail-to", "a@b", "--smtp", "foo"], "--smtp: is not an SMTP URL"),
        (["--yes", "--smtp", "smtp://host"], "requires --mail-to"),
        (["events.toml/x", "--yes"], "Not a directory; nothing was written; choose a folder"),
    ],
)
def test_answers_of_no_use_and_nothing_is_made(
    project: Project, options: list[str], words: str
) -> None:
    (project.folder / "new").mkdir()
    if "events.toml/x" in options:
        (project.folder / "events.toml").write_text("")
    folder = [] if "events.toml/x" in options else ["new"]
    done = project.run("init", *folder, *options, check=None)
    assert done.returncode in (1, 2)
    assert words in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list((project.folder / "new").iterdir()) == []


@sqlite_only
def test_a_folder_that_others_may_write_to(project: Project) -> None:
    needs.root("a file that root refuses")
    (project.folder / "open").mkdir()
    (project.folder / "open").chmod(0o777)
    done = project.run("init", "open", "--yes", check=78)
    assert "can be replaced by anybody, through its folder; chmod go-w" in done.stderr
    assert list((project.folder / "open").iterdir()) == []


@sqlite_only
def test_config_names_no_folder_and_a_variable_is_respected(project: Project) -> None:
    done = project.run("--config", "x.toml", "init", "--yes", check=2)
    assert "without --config" in done.stderr
    (project.folder / "other.toml").write_text("")
    env = {"EVENTCTL_CONFIG": str(project.folder / "other.toml")}
    steps = next_steps(project.run("init", "new", "--yes", env=env).stdout)
    assert all(f" --config {project.folder}/new/events.toml " in step for step in steps[1:])


@server_only
def test_a_store_on_mysql_with_the_password_in_a_variable(project: Project) -> None:
    assert project.server
    url = project.url.replace(":s3cret@", ":${DB_PASSWORD}@")
    done = project.run("init", "new", "--yes", "--store", url)
    secrets = project.folder / "new" / "eventctl.env"
    assert f"DB_PASSWORD is not set; set DB_PASSWORD in {secrets}" in done.stderr
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    secrets.write_text(secrets.read_text().replace("# DB_PASSWORD=", "DB_PASSWORD=s3cret"))
    project.run("--config", "new/events.toml", "emit", "purchased", "a", "1")
    assert project.value("SELECT status FROM eventctl_event") == 2
    # One that is written out is for nobody else to read.
    project.run("init", "open", "--yes", "--store", project.url)
    file = project.folder / "open" / "events.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    project.run("--config", str(file), "list")


@pytest.mark.parametrize(
    ("handler", "function"),
    [
        ("giveCoupon", "give_coupon"),
        ("send-welcome", "send_welcome"),
        ("os", "handle_os"),
        ("class", "handle_class"),
        ("7days", "handle_7days"),
        ("Grüße", "gr_e"),
        ("歓迎", "handle"),
        ("shop.mail:welcome", "shop_mail_welcome"),
    ],
)
def test_the_functions_name(handler: str, function: str) -> None:
    assert function_of(handler) == function
    text = handlers(Answers(handler=handler))
    assert f"\ndef {function}(*args, **fields):\n" in text
    compile(text, "handlers.py", "exec")


@sqlite_only
def test_a_handlers_name_that_is_no_word_of_pythons(project: Project) -> None:
    project.run("init", "--yes", "--handler", "os → Ä")
    project.run("emit", "--strict", "purchased", "a", "1")
    assert os.listdir(project.folder / f"{function_of('os → Ä')}.done") == ["1.json"]
