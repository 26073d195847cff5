"""Every command line, every piece of events.toml and every block of the documentation is checked.

The commands and options that a page names exist, its TOML is accepted, and each block of another
kind is run or read by a test that is named here.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from eventctl.cli.app import COMMANDS, cli
from eventctl.config import load
from tests.acceptance.test_docs import functions
from tests.support.checkout import CHECKOUT

PAGES = [
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((CHECKOUT / "docs").glob("**/*.md")),
]
_SHELL = ("sh", "bash", "console", "cron", "text")
_NAMES = "|".join(name for names in COMMANDS.values() for name in names)

_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(rf"(?<!`)`((?:[\w/]*/)?eventctl [^`]+|(?:{_NAMES}) --[^`]+)`")


class Block(NamedTuple):
    page: str
    kind: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    name = str(page.relative_to(CHECKOUT))
    for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        yield Block(name, kind, text)


def command_lines(words: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of eventctl in a shell line."""
    lexer = shlex.shlex(words, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        tokens = list(lexer)
    except ValueError:
        return  # a line of a longer text, such as of a here-document
    for index, token in enumerate(tokens):
        if re.fullmatch(r"(/\S+/)?eventctl", token):
            ends = (i for i in range(index, len(tokens)) if re.fullmatch(r"[|;&<>()]+", tokens[i]))
            args = tokens[index + 1 : next(ends, len(tokens))]
            # A block may also have Python, or the configuration of other programs.
            if args and re.match(r"[\w-]", args[0]):
                yield args


def parse(args: list[str]) -> None:
    """Have click parse a command line as eventctl does; nothing is run."""
    command: click.Command = cli
    context = cli.make_context("eventctl", list(args))
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest:
            return  # a group alone, which is a command too
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)


def refused(args: list[str], *, whole: bool) -> str:
    """Return why eventctl refuses a command line. One that is not `whole` may lack arguments."""
    try:
        parse(args)
    except click.exceptions.Exit:
        pass  # --help, --version
    except click.ClickException as error:
        lacks = isinstance(error, click.MissingParameter) or "requires an arg" in error.message
        if whole or not lacks:
            return f"eventctl {shlex.join(args)}: {error.format_message()}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_can_be_parsed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    errors = [
        refused(args, whole=True)
        for block in blocks(page)
        if block.kind in _SHELL
        for line in block.text.replace("\\\n", " ").splitlines()
        # Help has examples among other things.
        if page.name != "commands.md" or re.match(r" {4}([*\d/ ]+/\S+)?(\S+ \| )?eventctl ", line)
        for args in command_lines(line)
    ]
    for span in _SPAN.findall(_BLOCK.sub("", text)):
        line = span if "eventctl " in span else f"eventctl {span}"
        if not line.startswith("eventctl COMMAND"):
            errors += [refused(args, whole=False) for args in command_lines(line)]
    assert not any(errors), "\n".join(filter(None, errors))


def test_a_wrong_option_would_be_noticed() -> None:
    (args,) = command_lines("0 6 * * * /opt/eventctl/bin/eventctl list --staus failed | wc -l")
    assert args == ["list", "--staus", "failed"]
    assert "No such option '--staus'" in refused(args, whole=False)


_TOML = [block for page in PAGES for block in blocks(page) if block.kind == "toml"]


@pytest.mark.parametrize("block", _TOML, ids=lambda block: block.page)
def test_every_piece_of_events_toml_is_accepted(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in re.findall(r"\$\{(\w+)\}", block.text):
        monkeypatch.setenv(name, "whsec_aGlkZGVu" if "SECRET" in name else "https://ex.org/s3cret")
    table = tomllib.loads(block.text)
    toml = block.text
    if not {"events", "handlers"} & set(table):
        toml += '\n[events]\npurchased = ["shop:draw"]\n'
    for name in ("ca.pem", "http_ca.crt", "events.toml"):
        (tmp_path / name).write_text(toml if name == "events.toml" else "")
    assert load(tmp_path / "events.toml").mistakes == ()


_RUN_BY = """
README.md sh 7 test_ordinary_user.test_the_readme
README.md sql 1 test_readme.test_the_set_up_of_mysql
README.md python 1 test_readme.test_exactly_once
CONTRIBUTING.md sh 2 test_operator_blocks.test_make_knows_what_contributing_says
CONTRIBUTING.md sh 1 test_package.test_it_is_what_an_index_takes
docs/alerts.md sh 1 test_operator_blocks.test_the_commands_for_an_incident
docs/channels.md js 1 test_channels_page.test_the_receivers_in_other_languages
docs/channels.md json 2 test_channels_page.test_the_example_of_a_document_is_one
docs/channels.md php 1 test_channels_page.test_the_receivers_in_other_languages
docs/channels.md python 2 test_channels_page.test_the_code_that_verifies_a_signature_does
docs/channels.md sh 1 test_operator_blocks.test_a_program_that_sends_the_title
docs/channels.md sh 1 test_operator_blocks.test_what_is_loaded_into_elasticsearch_and_kibana
docs/channels.md yaml 1 test_operator_blocks.test_the_route_of_the_alertmanager
docs/fixing.md sh 10 test_operations_page.test_it_works_as_typed
docs/json.md sh 1 test_operator_blocks.test_the_failed_events_by_jq
docs/keeping.md sh 4 test_operator_blocks.test_old_events_are_archived_and_found_again
docs/keeping.md sh 2 test_keeping_page.test_a_backup_of_sqlite
docs/keeping.md sh 2 test_keeping_page.test_a_backup_of_mysql
docs/keeping.md sh 3 test_operator_blocks.test_a_move_to_a_server
docs/monitoring.md json 1 test_operator_blocks.test_the_numbers_of_stats_have_these_keys
docs/monitoring.md yaml 1 test_operator_blocks.test_the_rules_of_prometheus
docs/reporting.md sh 3 test_operator_blocks.test_what_a_report_of_a_bug_asks_for
docs/security.md sql 1 test_operator_blocks.test_an_application_may_only_emit
docs/setup.md sh 1 conftest.installed
docs/setup.md sh 5 test_setup_page.test_ten_minutes
docs/setup.md sh 2 test_setup_page.test_several_users_of_one_group
docs/setup.md sql 1 test_readme.test_the_set_up_of_mysql
docs/tutorial.md bash 1 test_ordinary_user.test_the_tutorial
docs/tutorial.md python 1 test_ordinary_user.test_the_tutorial
docs/tutorial.md sh 10 test_ordinary_user.test_the_tutorial
"""
"""How many blocks of a kind which test runs or reads. Not here are `text`, which is what a terminal
shows, `toml`, which is tested above, and the how-tos: a test does the whole of each.
"""


def test_every_block_is_run_by_a_test() -> None:
    there: Counter[str] = Counter(
        f"{block.page} {block.kind}"
        for page in PAGES
        if page.parent != CHECKOUT / "docs" / "howto"
        for block in blocks(page)
        if block.kind not in ("text", "toml")
    )
    run: Counter[str] = Counter()
    for page, kind, number, test in map(str.split, _RUN_BY.strip().splitlines()):
        module, function = test.split(".")
        assert function in functions(CHECKOUT / "tests" / "acceptance" / f"{module}.py"), test
        run[f"{page} {kind}"] += int(number)
    assert there == run, "a new block needs a test, and a line here"
