"""Shell completion, with click's machinery, our names and ids, and a time limit.

What is not available quickly is not completed: completion must not print into the line that
somebody is typing, and must create nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, FishComplete, ShellComplete, ZshComplete

from eventctl import config as configuration
from eventctl.config.model import Config
from eventctl.format.text import shorten
from eventctl.models import Status

if TYPE_CHECKING:
    from eventctl.store.database import Database

VARIABLE = "_EVENTCTL_COMPLETE"

_PATIENCE = 2.0
"""Seconds after which Tab completes nothing."""

_SHOWN = 50
"""The most ids that are offered."""

_WIDTH = 60
"""The most letters of an incident's description."""

# Unlike click's own script, this rejoins bash's words, which end at each : and =.
_BASH = """\
%(complete_func)s() {
    local kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

Items = list["CompletionItem[str]"]


def answer(cli: click.Command) -> int:
    """Print the completions for the line in the environment; return the exit code."""
    shell, _, what = os.environ[VARIABLE].partition("_")
    if shell not in SHELLS or what != "complete":
        return 1
    # A hanging store, even in C code, must not hang the shell.
    limit = threading.Timer(_PATIENCE, os._exit, (0,))
    limit.daemon = True
    limit.start()
    try:
        found = SHELLS[shell](cli, {}, "eventctl", VARIABLE).complete()
    except Exception:  # noqa: BLE001 - a word that is not completed is all that may be seen
        return 1
    limit.cancel()
    if found:
        sys.stdout.buffer.write(f"{found}\n".encode("utf-8", "replace"))
    return 0


def source(shell: str) -> str:
    """Return the script for a shell."""
    return SHELLS[shell](click.Command("eventctl"), {}, "eventctl", VARIABLE).source()


def events(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Complete the name of an event."""
    return [
        CompletionItem(name, help=f"expects {' '.join(event.handlers)}")
        for name, event in _config(context).events.items()
        if name.startswith(incomplete)
    ]


def handlers(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Complete the name of a handler."""
    return [
        CompletionItem(name, help=handler.call or " ".join(handler.command or ()))
        for name, handler in _config(context).handlers.items()
        if name.startswith(incomplete)
    ]


def statuses(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Complete the status of an event."""
    words = [status.name.lower() for status in Status]
    return [CompletionItem(word) for word in words if word.startswith(incomplete.lower())]


def ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Complete the id of an event: the newest ones, failed ones first."""
    from eventctl.cli.output.formats import iso, status_name  # lazy: few runs need it
    from eventctl.store.queries.events import newest

    with _store(context) as store:
        found = newest(store, incomplete, _SHOWN) if store else []
    chosen = context.params.get(parameter.name or "")
    return [
        CompletionItem(
            str(id), help=f"{name} {status_name(status)} {(iso(at) or '')[:16].replace('T', ' ')}"
        )
        for id, name, status, at in found
        if not (isinstance(chosen, tuple) and str(id) in chosen)
    ]


def incidents(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Complete the id of an open incident."""
    from eventctl.store.queries.incidents import incidents  # lazy: few runs need it

    with _store(context) as store:
        found = incidents(store) if store else []
    keys = [each for each in found if each.key.startswith(incomplete)]
    return [
        CompletionItem(each.key, help=shorten(f"{each.kind} {each.handler} {each.error}", _WIDTH))
        for each in keys[:_SHOWN]
    ]


def _store(context: click.Context) -> AbstractContextManager[Database | None]:
    """Yield the store, or None if it does not exist yet, since opening it would create it."""
    from eventctl.store.connect import database  # lazy: few runs need it

    store = _config(context).store
    if store.sqlite and not os.path.exists(store.sqlite):
        return nullcontext()
    return database(store._replace(timeout=_PATIENCE / 2))


def _config(context: click.Context) -> Config:
    named = context.find_root().params.get("config")
    return configuration.load(configuration.find(os.path.expanduser(named) if named else None))


class _Completer(ShellComplete):
    """Completes --option=VALUE as a whole, and offers nothing that would break the line."""

    def get_completions(self, args: list[str], incomplete: str) -> Items:
        option, equals, _ = incomplete.partition("=")
        before = f"{option}=" if equals and option.startswith("--") else ""
        return [
            CompletionItem(f"{before}{item.value}", item.type, item.help)
            if item.type == "plain"
            else item
            for item in super().get_completions(args, incomplete)
            if str(item.value).isprintable()
        ]


class _Bash(_Completer):
    """Bash replaces the text after the last : or = of a word."""

    name = "bash"
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        # The mark keeps an empty last word, and an escaped or quoted space.
        lexer = shlex.shlex(f"{os.environ['COMP_LINE']}\x1f", posix=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        words: list[str] = []
        self._quote = ""
        try:
            words += lexer
        except ValueError:  # a quote is open
            words.append(lexer.token)
            self._quote = lexer.state or ""  # type: ignore[attr-defined]  # as click does
        self._typed = words.pop().removesuffix("\x1f")
        return words[1:], self._typed

    def format_completion(self, item: CompletionItem[str]) -> str:
        value = str(item.value)
        if self._quote == "'":
            value = value.replace("'", "'\\''")
        elif self._quote:
            value = re.sub(r'(["$`\\])', r"\\\1", value)
        else:
            cut = max(self._typed.rfind(mark) for mark in ":=") + 1
            value = re.sub(r"([^\w@%+=:,./~-])", r"\\\1", value[cut:])
        return f"{item.type},{value}"


class _Zsh(_Completer, ZshComplete):
    pass


class _Fish(_Completer, FishComplete):
    pass


SHELLS: dict[str, type[_Completer]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}
