"""Write docs/commands.md and the manual pages in docs/man: what `--help` prints.

    python -m scripts.command_reference

A test fails when a page is stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from eventctl.cli.app import COMMANDS, cli
from scripts import man_pages

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"

_WIDTH = 90

_HEAD = """# Commands

What `eventctl COMMAND --help` prints. This page is written by
`python -m scripts.command_reference`; a test says when it is stale.
"""


def page() -> str:
    """Return the whole page."""
    return _HEAD + "".join(_sections())


def _sections() -> Iterator[str]:
    yield _block("eventctl", cli, None)
    parent = click.Context(cli, info_name="eventctl", max_content_width=_WIDTH)
    for title, names in COMMANDS.items():
        yield f"\n## {title}\n"
        for name in names:
            command = cli.get_command(parent, name)
            assert command is not None
            yield from _command(name, command, parent)


def _command(name: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    path = f"{parent.command_path} {name}"
    yield f"\n### {path.removeprefix('eventctl ')}\n"
    yield _block(name, command, parent)
    if isinstance(command, click.Group):
        inner = click.Context(command, parent=parent, info_name=name)
        for each in command.list_commands(inner):
            found = command.get_command(inner, each)
            assert found is not None
            yield from _command(each, found, inner)


def _block(name: str, command: click.Command, parent: click.Context | None) -> str:
    context = click.Context(
        command,
        parent=parent,
        info_name=name,
        terminal_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )
    return f"\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    man_pages.write()
