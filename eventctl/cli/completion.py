"""Shell completion by click, with our names and ids, and a time limit.

What is not available quickly is not completed: completion must not print into the line that
somebody is typing, and must create nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import click
from click import shell_completion
from click.shell_completion import CompletionItem, ShellComplete

from eventctl import config as configuration
from eventctl.config.model import Config
from eventctl.format.text import printable, shorten

VARIABLE = "_EVENTCTL_COMPLETE"

_PATIENCE = 2.0
"""Seconds after which Tab completes nothing."""

_LATE = 124
"""The exit code then, as that of timeout(1)."""

_SHOWN = 50
"""The most words that are offered."""

_AMONG = 2000
"""How many of the newest events are read for them, so that the answer is quick."""

_WIDTH = 60
"""The most letters of a description."""


def answer(cli: click.Command) -> int:
    """Print the completions for the line in the environment; return the exit code.

    It is 1 if there are none because of an error, and the process ends with _LATE in time.
    """
    # A store that hangs, in C code too, must not hang the shell.
    limit = threading.Timer(_PATIENCE, os._exit, (_LATE,))
    limit.daemon = True
    limit.start()
    try:
        made = shell_completion.get_completion_class(os.environ[VARIABLE].removesuffix("_complete"))
        assert made, "no such shell"
        shell = made(cli, {}, "eventctl", VARIABLE)
        args, typed = shell.get_completion_args()
        items = shell.get_completions(args, typed)
        option, equals, _ = typed.partition("=")
        for item in items:
            if equals and option.startswith("--") and item.type == "plain":
                item.value = f"{option}={item.value}"  # shells complete --option=VALUE as a whole
        click.echo("\n".join(map(shell.format_completion, items)))
        return 0
    except Exception:  # noqa: BLE001 - completion must not print errors
        return 1
    finally:
        limit.cancel()


def _complete(
    what: str, context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Return the words of a kind that continue what is typed and are not on the line yet."""
    named = context.find_root().params.get("config")
    config = configuration.load(configuration.find(os.path.expanduser(named) if named else None))
    given = context.params.get(parameter.name or "")
    typed = incomplete.casefold()
    items = [
        CompletionItem(word, help=shorten(printable(about), _WIDTH))
        for word, about in _words(what, config, context.params)
        if word.casefold().startswith(typed) and not (isinstance(given, tuple) and word in given)
        if word.isprintable()  # a name in the store may be damaged, and would break the line
    ]
    return items[:_SHOWN]


def _words(what: str, config: Config, options: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Yield the words of a kind, with their descriptions. `options` is what is on the line."""
    if what == "event" or (what == "pausable" and not options.get("handler")):
        for name, event in config.events.items():
            yield name, f"expects {' '.join(event.handlers)}"
    if what == "handler" or (what == "pausable" and not options.get("event")):
        for name, handler in config.handlers.items():
            yield name, handler.call or " ".join(handler.command or ())
    if what in _IN_STORE:
        yield from _of_store(what, config, options.get("handler"))


def _of_store(what: str, config: Config, handler: object) -> Iterator[tuple[str, str]]:
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
                yield each.key, f"{each.kind} {each.handler} {each.error}"
        else:
            # For rehearse, those that the handler on the line reacts to.
            reacts = {name for name, event in config.events.items() if handler in event.handlers}
            for event_id, name, status, at in events.newest(store, _AMONG):
                if not handler or name in reacts:
                    yield str(event_id), f"{name} {status_name(status)} {minute(at)}"


_IN_STORE = ("id", "incident", "paused")
events, handlers, pausable = (partial(_complete, each) for each in ("event", "handler", "pausable"))
ids, incidents, paused = (partial(_complete, each) for each in _IN_STORE)


@shell_completion.add_completion_class
class _Bash(ShellComplete):
    """Bash replaces the text after the last : or = of a word, and quotes nothing."""

    name = "bash"
    # Unlike click's own script, this sends the whole line: bash's words end at each : and =.
    source_template = Path(__file__).with_suffix(".bash").read_text(encoding="utf-8")

    def get_completion_args(self) -> tuple[list[str], str]:
        # The mark keeps an empty last word, and an escaped or quoted space.
        line = f"{os.environ['COMP_LINE']}\x1f"
        for self._quote in ("", "'", '"'):
            with suppress(ValueError):  # another quote is open
                _, *args, typed = shlex.split(f"{line}{self._quote}")
                break
        self._typed = typed.removesuffix("\x1f")
        return args, self._typed

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
