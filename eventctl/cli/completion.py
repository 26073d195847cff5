"""What a shell gets when a person presses Tab: click's machinery, and our names and ids.

The shell's script runs eventctl with `_EVENTCTL_COMPLETE` set, and the line so far. What
cannot be had quickly, or not at all, is not completed: nothing may be written into the
line that somebody is typing.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from eventctl.models import Status

VARIABLE = "_EVENTCTL_COMPLETE"

_PATIENCE = 2.0
"""Seconds after which Tab has no answer."""

_SHOWN = 50

_WIDTH = 60
"""Letters of what is said beside an id."""

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
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

# Unlike click's own: a comma in a description stays, and so does the order.
_FISH = """\
function %(complete_func)s
    set -l words (commandline -cp | string collect)
    set -l word (commandline -t | string collect)
    for line in (env %(complete_var)s=fish_complete COMP_WORDS=$words COMP_CWORD=$word \\
            %(prog_name)s 2>/dev/null)
        set -l parts (string split -m 1 , -- $line)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case plain
                echo $parts[2]
        end
    end
end
complete --no-files --keep-order --command %(prog_name)s --arguments "(%(complete_func)s)"
"""

Complete = Callable[[click.Context, click.Parameter, str], list["CompletionItem[str]"]]


def answer(cli: click.Group) -> int:
    """Print what completes the line that the environment describes; return the exit code."""
    shell, _, what = os.environ[VARIABLE].partition("_")
    if shell not in _SHELLS or what != "complete":
        return 1
    # A store that hangs, in C code too, must not hang the shell.
    limit = threading.Timer(_PATIENCE, os._exit, (0,))
    limit.daemon = True
    limit.start()
    try:
        completer = _SHELLS[shell](cli, {}, "eventctl", VARIABLE)
        found = completer.complete()
    except Exception:  # noqa: BLE001 - a word that is not completed is all that may be seen
        return 1
    limit.cancel()
    if found:
        sys.stdout.buffer.write(f"{found}\n".encode("utf-8", "replace"))
    return 0


def source(shell: str) -> str:
    """Return the script for a shell."""
    return _SHELLS[shell]({}, {}, "eventctl", VARIABLE).source()  # type: ignore[arg-type]  # no CLI


class _Ours(ShellComplete):
    """Gives the parameters of the command that is typed what completes them."""

    puts_whole_words = True
    """Whether the shell puts what it is given in the place of --option=VALUE, not of VALUE."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        assert isinstance(self.cli, click.Group)
        with click.Context(self.cli) as context:
            for word in args:
                if command := self.cli.get_command(context, word):
                    _equip(word, command)
        _equip_parameters("", self.cli)
        found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if self.puts_whole_words and equals and option.startswith("--"):
            found = [
                CompletionItem(f"{option}={item.value}", item.type, item.help)
                if item.type == "plain"
                else item
                for item in found
            ]
        return [item for item in found if str(item.value).isprintable()]


def _equip(name: str, command: click.Command) -> None:
    _equip_parameters(name, command)
    if isinstance(command, click.Group):
        for inner_name, inner in command.commands.items():
            _equip(inner_name, inner)


def _equip_parameters(name: str, command: click.Command) -> None:
    for parameter in command.params:
        if complete := _completer_of(name, parameter):
            # The instance's own goes before its class's method.
            vars(parameter)["shell_complete"] = _bound(complete, parameter)


def _completer_of(name: str, parameter: click.Parameter) -> Complete | None:
    """Return what completes a command's parameter, by its name or by its metavar."""
    if parameter.opts[0] in _BY_OPTION:
        return _BY_OPTION[parameter.opts[0]]
    if (name, parameter.name) in _BY_ARGUMENT:
        return _BY_ARGUMENT[name, parameter.name]
    return _BY_METAVAR.get((parameter.metavar or "").strip("[]."))


def _bound(
    complete: Complete, parameter: click.Parameter
) -> Callable[[click.Context, str], list[CompletionItem[str]]]:
    return lambda context, incomplete: complete(context, parameter, incomplete)


def events(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete an event's name."""
    return [
        CompletionItem(name, help=f"expects {', '.join(event.handlers)}")
        for name, event in _config(context).events.items()
        if name.startswith(incomplete)
    ]


def handlers(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete a handler's name."""
    return [
        CompletionItem(name, help=handler.call or " ".join(handler.command or ()))
        for name, handler in _config(context).handlers.items()
        if name.startswith(incomplete)
    ]


def statuses(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete an event's status."""
    return [
        CompletionItem(status.name.lower())
        for status in Status
        if status.name.lower().startswith(incomplete.lower())
    ]


def ids(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete an event's id: the newest, those that failed first."""
    from eventctl.cli.output.formats import iso, status_name
    from eventctl.store.queries import events

    with _store(context) as opened:
        found = events.newest(opened, incomplete, _SHOWN) if opened else []
    chosen = context.params.get(parameter.name or "")
    already = chosen if isinstance(chosen, tuple) else ()
    return [
        CompletionItem(
            str(id), help=f"{name} {status_name(status)} {(iso(at) or '')[:16].replace('T', ' ')}"
        )
        for id, name, status, at in found
        if str(id) not in already
    ]


def open_incidents(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete the id of an open incident."""
    from eventctl.store.queries import incidents

    with _store(context) as opened:
        found = incidents.incidents(opened, limit=_SHOWN) if opened else []
    return [
        CompletionItem(each.key, help=f"{each.handler} {each.kind} {each.error}"[:_WIDTH])
        for each in found
        if each.key.startswith(incomplete)
    ]


def _store(context: click.Context) -> Any:
    """Return the store, or None in its place where there is none yet."""
    from eventctl.store.connect import database

    store = _config(context).store
    if store.sqlite and not store.sqlite.exists():
        return nullcontext()  # to look would make it
    return database(store._replace(timeout=_PATIENCE / 2))


def _files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    return [CompletionItem(incomplete, type="file")]


def _folders(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    return [CompletionItem(incomplete, type="dir")]


def _config(context: click.Context) -> Any:
    from eventctl import config as configuration

    named = context.find_root().params.get("config")
    path = configuration.find(os.path.expanduser(named) if named else None)
    return configuration.load(Path(path))


def _words(line: str) -> tuple[list[str], str, str]:
    """Return the words before the last one of a bash line, the last one, and its open quote."""
    words, word, quote, begun, escaped = [], "", "", False, False
    for letter in line:
        if escaped:
            word, escaped = word + letter, False
        elif letter == "\\" and quote != "'":
            begun = escaped = True
        elif quote:
            word, quote = (word, "") if letter == quote else (word + letter, quote)
        elif letter in "'\"":
            begun, quote = True, letter
        elif letter.isspace():
            words += [word] if begun else []
            word, begun = "", False
        else:
            word, begun = word + letter, True
    return words, word, quote


class _Bash(_Ours):
    """Bash cuts a word at each : and =, and puts in what it is given to the letter."""

    name = "bash"
    source_template = _BASH
    puts_whole_words = False

    def get_completion_args(self) -> tuple[list[str], str]:
        words, self._word, self._quote = _words(os.environ["COMP_LINE"])
        return words[1:], self._word

    def format_completion(self, item: CompletionItem[str]) -> str:
        return f"{item.type},{self._put(str(item.value))}"

    def _put(self, value: str) -> str:
        """Return what bash is to put in the place of what it takes for the word."""
        breaks = os.environ.get("COMP_BREAKS", "") if not self._quote else ""
        typed = self._word
        if typed.startswith("-") and "=" in typed:
            typed = typed.partition("=")[2]
        kept = max((typed.rfind(mark) + 1 for mark in ":=" if mark in breaks), default=0)
        rest = value[kept:] if value.startswith(typed) else value
        if self._quote == "'":
            return rest.replace("'", "'\\''")
        if self._quote:
            return re.sub(r'(["$`\\])', r"\\\1", rest)
        return re.sub(r"([^\w@%+=:,./~-])", r"\\\1", rest)


class _Zsh(_Ours, get_completion_class("zsh")):  # type: ignore[misc]  # a class of its own
    pass


class _Fish(_Ours, get_completion_class("fish")):  # type: ignore[misc]
    source_template = _FISH


_SHELLS: Mapping[str, type[_Ours]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}

_BY_METAVAR: Mapping[str, Complete] = {
    "ID": ids,
    "FILE": _files,
    "FOLDER": _folders,
    "STATUS": statuses,
    "HANDLER": handlers,
    "EVENT": events,
}

_BY_OPTION: Mapping[str, Complete] = {
    "--event": events,
    "--handler": handlers,
    "--incident": open_incidents,
}
_BY_ARGUMENT: Mapping[tuple[str, str | None], Complete] = {
    ("emit", "name"): events,
    ("ack", "ids"): open_incidents,
}
