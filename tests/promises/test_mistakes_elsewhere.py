"""P1: a mistake in events.toml stops no emit, or leaves its event where it is not lost."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tests.support import look
from tests.support.away import read, spooled
from tests.support.payments import (
    WAYS,
    assert_few_words,
    assert_kept,
    emit_by_api,
    keys,
    sweep_until_processed,
    write,
)
from tests.support.project import Project

SQLITE = pytest.mark.parametrize("project", ["sqlite"], indirect=True)


def each_once(mistakes: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return each mistake with the plain emit, and the first one with each way to emit."""
    first, *_ = mistakes
    return [*((first, way) for way in WAYS), *((which, "run") for which in mistakes)][1:]


ELSEWHERE = {
    "slack": ("[[alerts]]\nslack = 5\n", "slack"),
    "report type": ("[report]\nmail_to = 5\n", "mail_to"),
    "report password": (
        '[report]\nmail_to = ["ops@example.com"]\nsmtp = "smtp://ops@127.0.0.1"\n'
        "smtp_password = 5\n",
        "smtp_password",
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
    # A top-level key must come before all tables.
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


NEEDED = {
    "store timeout": ('timeout = "2s"', 'timeout = "soon"', "timeout"),
    "store key": ('timeout = "2s"', "timeouts = 2", "timeouts"),
    "url variable": ("events.db", "${DB_FILE}", "DB_FILE"),
    "events type": ('pay = ["ok"]', "pay = 5", "pay"),
    "unknown handler": ('pay = ["ok"]', 'pay = ["okay"]', "okay"),
    "handlers type": ('ok = "handlers:ok"', "ok = 5", "ok"),
    "defaults": ("attempts = 5", 'attempts = "many"', "attempts"),
    "events misspelt": ("[events]", "[event]", "event: "),
}
"""Mistakes in what recording needs, where the state folder is still known."""


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
    "store misspelt": lambda text: text.replace("[store]", "[stores]"),
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
