"""Bad input and bad luck: one clear line, the right exit code, never a traceback."""

from __future__ import annotations

import json

import pytest

from tests.support import needs
from tests.support.databases import sqlite_only
from tests.support.look import attempts, count, make_due, notes
from tests.support.project import Finished, Project

TOML = """
[events]
purchased = ["note"]
"user.signed_up" = ["note"]
"[bold]sale[/bold] 😀 שלום" = ["note", "[red]fail"]

[handlers]
note = "handlers:note"
"[red]fail" = "handlers:fail"
"""

HANDLERS = """
import json
import journal

def note(*args):
    with journal.run(note=json.dumps(args)):
        pass

def fail(*args):
    raise RuntimeError("[link=x]\\x1b]0;title\\x07 \\u202egnihton 😀")
"""

SALE = "[bold]sale[/bold] 😀 שלום"


def one_line(done: Finished, *words: str) -> None:
    """Check that there is one line on stderr, nothing on stdout, and no traceback."""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("eventctl: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


@sqlite_only
def test_an_unknown_event_and_what_was_meant(project: Project) -> None:
    project.write(TOML, HANDLERS)
    done = project.run("emit", "purchsed", check=2)
    one_line(done, "no event 'purchsed'", "did you mean 'purchased'?", str(project.config))
    done = project.run("emit", "xyz", check=2)
    one_line(
        done, "no event 'xyz'", "[events] has [bold]sale[/bold] 😀 שלום, purchased, user.signed_up"
    )
    done = project.run("emit", "\x1b[31mx\udcff\n", check=2)
    one_line(done, "\\x1b[31mx\\udcff\\n")
    assert not (project.folder / "events.db").exists()


@pytest.mark.parametrize(
    "text", ["", "[", "5000", '"text"', "null", "{user: 1}", "[1,]", "[" * 100_000, '["\udcff"]']
)
@sqlite_only
def test_args_that_are_not_json(project: Project, text: str) -> None:
    project.write(TOML, HANDLERS)
    done = project.run("emit", "purchased", "--json", text, check=2)
    one_line(done, "args")
    assert len(done.stderr) < 300
    assert not (project.folder / "events.db").exists()


@sqlite_only
@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "strict"])
def test_args_on_stdin_that_are_not_utf8(project: Project, locale: str) -> None:
    project.write(TOML, HANDLERS)
    (project.folder / "latin").write_bytes('["Ä"]'.encode("latin-1"))
    env = {"PYTHONIOENCODING": "utf-8:strict"} if locale == "strict" else {"LC_ALL": locale}
    with (project.folder / "latin").open("rb") as stdin:
        emitting = project.start("emit", "purchased", "--json", "-", stdin=stdin, env=env)
        _, err = emitting.communicate(timeout=30)
    assert emitting.returncode == 2
    assert "Traceback" not in err
    assert err.count("\n") == 1
    assert count_events(project) == 0


def count_events(project: Project) -> int:
    return count(project, "event") if (project.folder / "events.db").exists() else 0


@sqlite_only
@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_letters_are_letters_in_cron_s_locale(project: Project, locale: str) -> None:
    project.write(TOML, HANDLERS)
    text = '["Ä 😀"]'
    project.run("emit", SALE, "Ä 😀", env={"LC_ALL": locale})
    project.run("emit", "purchased", "--json", "-", input=text, env={"LC_ALL": locale})
    assert [json.loads(note) for note in notes(project)] == [["Ä 😀"], ["Ä 😀"]]


def test_the_largest_args(project: Project) -> None:
    project.write(TOML, HANDLERS)
    big = json.dumps(["😀" * 225_000], ensure_ascii=False)
    assert 900_000 < len(big.encode()) < 1_000_000
    project.run("emit", "--defer", "purchased", "--json", "-", input=big)
    assert project.value("SELECT args FROM eventctl_event") == big
    too_big = json.dumps(["x" * 2_000_000])
    done = project.run("emit", "purchased", "--json", "-", input=too_big, check=2)
    one_line(done, "2,000,004 bytes", "max_args", "1,000,000")
    assert count(project, "event") == 1
    project.run("sweep")
    assert notes(project) == [json.dumps(json.loads(big))]


def test_odd_text_is_stored_to_the_letter_and_shown_escaped(project: Project) -> None:
    project.write(TOML, HANDLERS)
    args = ["[bold]x[/bold]", "\x1b[2Jgone", "a\r\nb", "\u202egnp.exe", "😀 שלום", "[/]"]
    said = project.run("emit", "--key", "[k] 😀", SALE, "--", *args)
    assert project.rows("SELECT `key`, name, args FROM eventctl_event") == [
        ("[k] 😀", SALE, json.dumps(args, ensure_ascii=False))
    ]
    assert [json.loads(note) for note in notes(project)] == [args]
    (attempt,) = attempts(project, "[red]fail")
    assert attempt.error == "RuntimeError: [link=x]\x1b]0;title\x07 \u202egnihton 😀"
    for _ in range(8):
        make_due(project)
        report = project.run("sweep", check=None).stdout
        if report:
            break
    listed = project.run("list", env={"COLUMNS": "200"}).stdout
    shown = project.run("show", "1", env={"COLUMNS": "200"}).stdout
    for text in (said.stderr, report, listed, shown):
        assert not {"\x1b", "\x07", "\r", "\u202e"} & set(text)
        assert "[bold]sale[/bold] 😀 שלום" in text
    for text in (said.stderr, report, shown):
        assert "RuntimeError: [link=x]\\x1b]0;title\\x07 \\u202egnihton 😀" in text
    data = json.loads(project.run("show", "1", "--json").stdout)
    assert (data["key"], data["eventName"], data["args"]) == ("[k] 😀", SALE, args)


def test_a_store_of_a_newer_eventctl_is_left_alone(project: Project) -> None:
    project.write(TOML, HANDLERS)
    project.run("emit", "--defer", "purchased", "before")
    project.execute("INSERT INTO eventctl_schema VALUES (1000, 1)")
    for command in (["sweep"], ["list"], ["show", "1"]):
        done = project.run(*command, check=78)
        one_line(done, "has schema 1000, newer than", "upgrade eventctl")
    # What is emitted meanwhile is not lost.
    done = project.run("emit", "purchased", "meanwhile")
    one_line(done, "has schema 1000", "is kept in")
    assert count(project, "event") == 1
    assert notes(project) == []
    project.execute("DELETE FROM eventctl_schema WHERE version = 1000")
    project.run("sweep")
    assert sorted(notes(project)) == ['["before"]', '["meanwhile"]']


@sqlite_only
@pytest.mark.parametrize(
    "content", [b"this is no database\n" * 300, b"SQLite format 3\0" + b"\xff" * 9000]
)
def test_a_file_that_is_no_database(project: Project, content: bytes) -> None:
    project.write(TOML, HANDLERS)
    (project.folder / "events.db").write_bytes(content)
    one_line(project.run("sweep", check=74), "events.db", "check [store] url")
    one_line(project.run("list", check=74), "events.db")
    one_line(project.run("emit", "purchased"), "events.db", "is kept in")
    assert (project.folder / "events.db").read_bytes() == content


@sqlite_only
def test_a_store_whose_folder_is_not_there(project: Project) -> None:
    project.write(TOML, HANDLERS, store='state = "state"\n')
    text = project.config.read_text().replace("events.db", "missing/events.db")
    project.config.write_text(text)
    one_line(project.run("sweep", check=74), "missing/events.db", "cannot be opened")
    one_line(project.run("emit", "purchased"), "missing/events.db", "is kept in")
    (project.folder / "missing").mkdir()
    project.run("sweep")
    assert notes(project) == ["[]"]


READ_ONLY = (
    "unshare",
    "-m",
    "sh",
    "-c",
    """
mount --make-rprivate / && mount --bind . . && mount -o remount,bind,ro . && cd "$PWD" && exec "$@"
""",
    "sh",
)

FULL = (
    "unshare",
    "-m",
    "sh",
    "-c",
    """
mount --make-rprivate / && mkdir -p full && mount -t tmpfs -o size=128k tmpfs full &&
cp events.toml handlers.py journal.py full && cd full && cat /dev/zero 2>/dev/null >filler
exec "$@"
""",
    "sh",
)


@sqlite_only
@pytest.mark.parametrize("before", [True, False])
def test_neither_store_nor_spool_can_be_written(project: Project, before: bool) -> None:
    needs.root("a read-only folder")
    project.write(TOML, HANDLERS)
    if before:
        project.run("emit", "-q", "--defer", "purchased", "before")
    (project.folder / "full").mkdir()
    for wrapper in (READ_ONLY, FULL):
        for options in ([], ["--defer"], ["--detach"]):
            done = project.run(
                "emit", *options, "--key", "order 7", "purchased", "Ä", wrapper=wrapper, check=74
            )
            words, event = done.stderr.splitlines()
            assert words.startswith("eventctl: ")
            assert "the event is NOT recorded, and follows here" in words
            assert json.loads(event) == {"name": "purchased", "key": "order 7", "args": ["Ä"]}
            assert done.stdout == ""
    # The line from stderr, given to --batch later, is the event.
    project.run("emit", "-q", "--batch", "-", input=event)
    project.run("sweep")
    assert notes(project)[-1] == json.dumps(["Ä"])


@sqlite_only
def test_a_sweep_that_can_write_nothing(project: Project) -> None:
    needs.root("a read-only folder")
    project.write(TOML, HANDLERS)
    project.run("emit", "-q", "--defer", "purchased", "x")
    one_line(project.run("sweep", wrapper=READ_ONLY, check=74))
    (project.folder / "full").mkdir(exist_ok=True)
    one_line(project.run("sweep", wrapper=FULL, check=74))
    assert notes(project) == []
    project.run("sweep")
    assert notes(project) == ['["x"]']


@pytest.mark.parametrize(
    ("toml", "words", "listed"),
    [
        ("[events\n", ["is not TOML"], 78),
        ("[events]\ngo = []\n", ["events.go: has no handlers"], 78),
        ('[events]\ngo = ["missing"]\n', ["events.go", "missing"], 78),
        ('[evnts]\ngo = ["a:b"]\n', ["evnts", "events"], 78),
        ('[defaults]\ntimeout = "soon"\n', ["defaults.timeout", "is not a duration"], 78),
        ('[handlers]\na = "not an entry point"\n', ["handlers.a"], 78),
        ('[handlers]\na = { command = ["x"], call = "a:b" }\n', ["handlers.a", "both"], 78),
        ('[report]\nsmtp_password = "${NOT_SET}"\n', ["smtp_password", "NOT_SET"], 0),
        ("[sweep]\njobs = 0\n", ["sweep.jobs"], 0),
    ],
)
@sqlite_only
def test_config_mistakes(project: Project, toml: str, words: list[str], listed: int) -> None:
    project.write(toml)
    for command, code in ((["sweep"], 78), (["list"], listed), (["stats"], listed)):
        done = project.run(*command, check=code)
        if code == 0:
            assert all(word in done.stderr for word in words)
            continue
        lines = done.stderr.splitlines()
        assert all(line.startswith(f"eventctl: {project.config}") for line in lines)
        assert any(all(word in line for word in words) for line in lines)
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


@sqlite_only
def test_each_config_mistake_has_its_line(project: Project) -> None:
    project.write('[sweep]\njobs = 0\nbreaker = "x"\n\n[events]\ngo = ["missing"]\n')
    done = project.run("sweep", check=78)
    assert done.stderr.count("\n") == 3


@sqlite_only
def test_no_config_and_a_config_that_is_none(project: Project) -> None:
    one_line(project.run("sweep", check=78), "no events.toml at ./events.toml")
    one_line(project.run("--config", "nowhere.toml", "sweep", check=78), "nowhere.toml")
    one_line(project.run("--config", ".", "sweep", check=78), "is a folder")
    one_line(project.run("sweep", env={"EVENTCTL_CONFIG": "gone"}, check=78), "$EVENTCTL_CONFIG")


@sqlite_only
@pytest.mark.parametrize(
    "arguments",
    [
        ("sweep", "--max-time"),
        ("sweep", "--for"),
        ("prune", "--older-than"),
        ("copy", "--to", "sqlite:///copy.db", "--wait"),
        ("crontab", "--every"),
        ("crontab", "--for"),
        ("ack", "abcd", "--for"),
        ("rehearse", "draw", "1", "--kill"),
    ],
)
def test_a_word_that_is_no_duration(project: Project, arguments: tuple[str, ...]) -> None:
    project.write(TOML, HANDLERS)
    one_line(
        project.run(*arguments, "soon", check=2),
        f'{arguments[-1]}: "soon" is not a duration',
        "30s",
    )


@sqlite_only
def test_unknown_commands(project: Project) -> None:
    project.write(TOML, HANDLERS)
    assert "did you mean 'sweep'?" in project.run("sweeep", check=2).stderr
    assert "no such command" in project.run("xyz", check=2).stderr


def test_a_store_that_refuses_or_is_not_there(project: Project) -> None:
    project.write(TOML, HANDLERS, store='state = "state"\n')
    text = project.config.read_text()
    if not project.server:
        text = text.replace("sqlite:///events.db", "mysql://app:x@127.0.0.1:1/db")
        project.config.write_text(text)
        project.config.chmod(0o600)
        words, code = "cannot be reached", 74
    else:
        project.config.write_text(text.replace(str(project.database), "no_such_database"))
        words, code = "refuses this user", 78
    done = project.run("sweep", check=code)
    one_line(done, words)
    assert "s3cret" not in done.stderr
    done = project.run("emit", "purchased", "meanwhile")
    one_line(done, words, "is kept in")
    assert "s3cret" not in done.stderr
