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
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
from click.shell_completion import CompletionItem, FishComplete, ShellComplete, ZshComplete

from eventctl import config as configuration
from eventctl.config.model import Config
from eventctl.format.text import shorten

VARIABLE = "_EVENTCTL_COMPLETE"

_PATIENCE = 2.0
"""Seconds after which Tab completes nothing."""

_SHOWN = 50
"""The most ids that are offered."""

_AMONG = 2000
"""How many of the newest events are read for them, so that the answer is quick."""

_WIDTH = 60
"""The most letters of an incident's description."""

Items = list["CompletionItem[str]"]
_Words = Iterator[tuple[str, str]]
"""Words with their descriptions."""


def answer(cli: click.Command) -> int:
    """Print the completions for the line in the environment; return the exit code."""
    shell, _, what = os.environ[VARIABLE].partition("_")
    if shell not in SHELLS or what != "complete":
        return 1
    # A store that hangs, in C code too, must not hang the shell.
    limit = threading.Timer(_PATIENCE, os._exit, (0,))
    limit.daemon = True
    limit.start()
    try:
        found = SHELLS[shell](cli, {}, "eventctl", VARIABLE).complete()
    except Exception:  # noqa: BLE001 - completion must not print errors
        return 1
    limit.cancel()
    if found:
        sys.stdout.buffer.write(f"{found}\n".encode("utf-8", "replace"))
    return 0


def source(shell: str) -> str:
    """Return the script for a shell."""
    return SHELLS[shell](click.Command("eventctl"), {}, "eventctl", VARIABLE).source()


def _complete(
    what: str, context: click.Context, parameter: click.Parameter, incomplete: str
) -> Items:
    """Return the words of a kind that continue what is typed and are not on the line yet."""
    named = context.find_root().params.get("config")
    config = configuration.load(configuration.find(os.path.expanduser(named) if named else None))
    given = context.params.get(parameter.name or "")
    typed = incomplete.casefold()
    items = [
        CompletionItem(word, help=about)
        for word, about in (_of_store if what in _IN_STORE else _of_config)(what, config, context)
        if word.casefold().startswith(typed) and not (isinstance(given, tuple) and word in given)
    ]
    return items[:_SHOWN]


def _of_config(what: str, config: Config, context: click.Context) -> _Words:
    options = context.params
    if what == "event" or (what == "pausable" and not options.get("handler")):
        for name, event in config.events.items():
            yield name, f"expects {' '.join(event.handlers)}"
    if what == "handler" or (what == "pausable" and not options.get("event")):
        for name, handler in config.handlers.items():
            yield name, handler.call or " ".join(handler.command or ())


def _of_store(what: str, config: Config, context: click.Context) -> _Words:
    from eventctl.cli.output.formats import status_name  # lazy: few runs need it
    from eventctl.format.time import minute
    from eventctl.store.connect import database
    from eventctl.store.queries import events, incidents, waiting

    if config.store.sqlite and not os.path.exists(config.store.sqlite):
        return  # opening it would create it
    with database(config.store._replace(timeout=_PATIENCE / 2)) as store:
        if what == "paused":
            yield from ((each.name, f"{each.kind} {each.why}") for each in waiting.pauses(store))
        elif what == "incident":
            for each in incidents.incidents(store):
                yield each.key, shorten(f"{each.kind} {each.handler} {each.error}", _WIDTH)
        else:
            # For rehearse, those that the handler on the line reacts to.
            handler = context.params.get("handler")
            for event_id, name, status, at in events.newest(store, _AMONG):
                if not handler or (
                    name in config.events and handler in config.events[name].handlers
                ):
                    yield str(event_id), f"{name} {status_name(status)} {minute(at)}"


_IN_STORE = ("id", "incident", "paused")
events, handlers, pausable = (partial(_complete, each) for each in ("event", "handler", "pausable"))
ids, incidents, paused = (partial(_complete, each) for each in _IN_STORE)


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
    # Unlike click's own script, this rejoins bash's words, which end at each : and =.
    source_template = Path(__file__).with_suffix(".bash").read_text(encoding="utf-8")

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
