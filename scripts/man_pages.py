"""Write docs/man: a manual page for eventctl and for each command, from what `--help` prints.

python -m scripts.command_reference writes them together with docs/commands.md. The wheel installs
them below share/man/man1, where `man eventctl` and `man eventctl-emit` find them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from eventctl import errors
from eventctl.cli.app import COMMANDS, cli

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "man"

_HELP = ["-h", "--help"]

_DATE = "2026-11-29"
"""The date in the footer: that of the last change of the layout, so that pages are reproducible."""

_EXIT = {
    errors.EXIT_DONE: "Success. For emit: the event is recorded, or in the spool.",
    errors.EXIT_FAILED: "The command ran, and something failed; see the command's page.",
    errors.EXIT_USAGE: "The command line is wrong. Nothing was changed.",
    errors.EXIT_NOT_RECORDED: "The store cannot be reached or written, or stdout cannot be.",
    errors.EXIT_CONFIG: "events.toml or the store cannot be used as it is. Nothing was changed.",
}
_FILES = {
    "events.toml": "The events and their handlers: see docs/configuration.md.",
    "eventctl.env": "Values of ${NAME} in events.toml, next to it; of mode 600.",
    "events.db": "The store, if it is a SQLite file.",
    "events.state": "This host's locks, and the spool.",
}


def pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page."""
    context = click.Context(cli, info_name="eventctl", help_option_names=_HELP)
    names = [name for names in COMMANDS.values() for name in names]
    yield "eventctl.1", _page("eventctl", cli, context, _of_all(context))
    for name in names:
        command = cli.get_command(context, name)
        assert command is not None
        yield from _pages(name, command, context)


def _pages(name: str, command: click.Command, parent: click.Context) -> Iterator[tuple[str, str]]:
    context = click.Context(command, parent=parent, info_name=name, help_option_names=_HELP)
    title = context.command_path.replace(" ", "-")
    yield f"{title}.1", _page(title, command, context, [])
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            assert found is not None
            yield from _pages(each, found, context)


def _page(title: str, command: click.Command, context: click.Context, more: list[str]) -> str:
    summary, *paragraphs = _paragraphs(command)
    usage = " ".join(_usage(command, context))
    lines = [
        f'.TH {title.upper()} 1 "{_DATE}" "eventctl" "eventctl manual"',
        ".SH NAME",
        f"{_escaped(title)} \\- {_escaped(summary[0].lower() + summary[1:].rstrip('.'))}",
        ".SH SYNOPSIS",
        f".B {_escaped(context.command_path)}",
        usage,
    ]
    texts = [text for text in paragraphs if not text.startswith("\b")]
    if texts:
        lines += [".SH DESCRIPTION", *_joined(texts)]
    lines += [".SH OPTIONS", *_options(command, context)]
    for text in paragraphs:
        if text.startswith("\b"):
            heading, *examples = text.removeprefix("\b").strip("\n").split("\n")
            lines += [f".SH {heading.rstrip(':').upper()}", ".nf", *_verbatim(examples), ".fi"]
    lines += [*more, ".SH SEE ALSO", _see(title)]
    return "\n".join(lines) + "\n"


def _paragraphs(command: click.Command) -> list[str]:
    """Return the paragraphs of a command's help; \\b marks those whose lines are kept."""
    found = []
    for text in (command.help or "").split("\n\n"):
        kept = text.strip().startswith("\b")
        found.append(text.strip(" \n") if kept else " ".join(text.split()))
    return [text for text in found if text]


def _usage(command: click.Command, context: click.Context) -> Iterator[str]:
    for piece in command.collect_usage_pieces(context):
        yield re.sub(r"[A-Z]{2,}", lambda word: f"\\fI{word[0]}\\fR", _escaped(piece))


def _joined(texts: list[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if number:
            yield ".PP"
        yield _escaped(text)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record is not None and record[1]:
            yield from (".TP", f".B {_escaped(record[0])}", _escaped(" ".join(record[1].split())))


def _verbatim(lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield _escaped(line.strip())


def _of_all(context: click.Context) -> list[str]:
    """Return the sections of eventctl(1) that no command has."""
    lines = []
    for title, commands in COMMANDS.items():
        lines.append(f".SH {title.upper()}")
        for name, summary in commands.items():
            lines += [".TP", f".BR eventctl\\-{_escaped(name)} (1)", _escaped(summary)]
    lines.append(".SH EXIT STATUS")
    for code, text in _EXIT.items():
        lines += [".TP", f".B {code}", _escaped(text)]
    lines.append(".SH FILES")
    for file, text in _FILES.items():
        lines += [".TP", f".I {_escaped(file)}", _escaped(text)]
    lines += [".SH ENVIRONMENT", ".TP", ".B EVENTCTL_CONFIG", "The events.toml to use."]
    return lines


def _see(title: str) -> str:
    if title == "eventctl":
        return ".BR crontab (1),\n.BR crontab (5)"
    return ".BR eventctl (1)"


def _escaped(text: str) -> str:
    """Return text as roff prints it: no line is a request, and a hyphen is one to copy."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def write() -> None:
    """Write all pages, and remove others."""
    FOLDER.mkdir(exist_ok=True)
    written = dict(pages())
    for old in FOLDER.iterdir():
        if old.name not in written:
            old.unlink()
    for name, text in written.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
