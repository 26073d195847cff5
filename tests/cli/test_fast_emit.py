"""emit's plain command lines are read without click, and as click reads them."""

from __future__ import annotations

from typing import Any

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventctl.cli import fast_emit
from eventctl.cli.app import cli
from tests.support.databases import sqlite_only
from tests.support.project import Project

WORDS = st.sampled_from(
    [
        *("emit", "sweep", "purchased", "user A", "", "-", "--", "-5", "a=b", "é", "\udcff"),
        *("--config", "--config=x.toml", "--defer", "--detach", "--strict", "--quiet", "-q"),
        *(
            "--json",
            "--json=[1]",
            "--json=",
            "--key",
            "--key=k",
            "--key=--",
            "--delay",
            "--delay=1m",
        ),
        *("--batch", "--batch=-", "--def", "--no-defer", "-qq", "--help", "-h", "--version"),
    ]
)


def by_click(arguments: list[str]) -> tuple[str | None, dict[str, Any]] | None:
    """Return what click makes of a command line; None if it is not a plain emit."""
    try:
        with cli.make_context("eventctl", list(arguments)) as context:
            name, command, rest = cli.resolve_command(
                context, context._protected_args + context.args
            )
            if name != "emit" or command is None:
                return None
            with command.make_context("emit", rest, parent=context) as inner:
                return context.params["config"], inner.params
    except (click.ClickException, click.exceptions.Exit):
        return None


@given(
    st.lists(WORDS, max_size=8).map(lambda words: ["emit", *words]) | st.lists(WORDS, max_size=8)
)
@example(["emit", "purchased", "--", "--defer"])
@example(["--config", "emit", "emit", "x", "-", "--key", "--defer"])
@example(["emit", "--key", "a", "x", "--key=b"])
def test_what_is_read_here_is_read_by_click_in_the_same_way(arguments: list[str]) -> None:
    asked = fast_emit.parse(arguments)
    if asked is None:
        return
    read = by_click(arguments)
    assert read is not None, f"click refuses {arguments}"
    config, params = read
    assert asked.config == config
    assert asked.options | {"batch": None} == params


@pytest.mark.parametrize(
    "arguments",
    [
        ["emit", "purchased", "user A", "5000"],
        ["--config", "x.toml", "emit", "--defer", "purchased"],
        ["emit", "purchased", "-q", "--json", '["user A", 5000]', "--key=k"],
    ],
)
def test_what_scripts_type_needs_no_click(arguments: list[str]) -> None:
    assert fast_emit.parse(arguments) is not None


@sqlite_only
def test_what_is_not_plain_is_reported_by_click(project: Project) -> None:
    project.write('[events]\nbought = ["handlers:draw"]', "def draw(*args): pass\n")
    assert "Usage: eventctl emit" in project.run("emit", "--help").stdout
    for arguments in (["--defr", "bought"], ["bought", "--key"], ["-5"]):
        done = project.run("emit", *arguments, check=2)
        assert "option" in done.stderr.lower()
