"""The list of commands for click, and the handling of its exceptions."""

from __future__ import annotations

import gc
import os
import re
import sys
from importlib import import_module

import click

from eventctl.cli.context import Context
from eventctl.config import Needs
from eventctl.errors import EXIT_DONE
from eventctl.format.messages import complain
from eventctl.format.text import did_you_mean, joined, nearest, printable

_NEED_ALL = ("sweep", "check", "alerts", "rehearse")
"""The commands that refuse an events.toml with any mistake: they run handlers, or check
everything."""


COMMANDS: dict[str, dict[str, str]] = {
    "Emit and sweep": {
        "emit": "Record an event, then run its handlers.",
        "sweep": "Run all deliveries that are due; for cron.",
    },
    "Inspect": {
        "list": "List events and their open deliveries, newest first.",
        "show": "Show one event with its deliveries, attempts and errors.",
        "alerts": "List incidents, and who was notified of them.",
        "stats": "Show counts, failures, latency and time to recovery.",
        "check": "Report the overall state in one line, for monitors.",
    },
    "Fix": {
        "replay": "Run failed deliveries again with the next sweep.",
        "cancel": "Stop retrying deliveries.",
        "pause": "Pause a handler or an event; list the paused ones.",
        "resume": "Resume a paused handler or event.",
        "ack": "Acknowledge incidents, and mute them until they end.",
        "rehearse": "Test that a handler can safely run twice.",
    },
    "Maintain": {
        "prune": "Delete old events, and archive them first if asked.",
        "copy": "Copy the whole store to another database.",
    },
    "Set up": {
        "init": "Write a starter events.toml and a working handler.",
        "crontab": "Print or install the crontab lines for the sweep.",
        "doctor": "Report what is wrong, and how to fix it.",
        "completion": "Print the completion script for a shell.",
    },
}
"""The commands by task, each with its one-line help, so that listing them imports none. Each is
`command` in the file with its name."""


_ELSEWHERE = {
    "--help": ("help",),
    "--version": ("version",),
    "ack": ("mute", "silence"),
    "alerts": ("errors", "incidents"),
    "cancel": ("abort", "drop", "kill"),
    "check": ("health", "ping"),
    "crontab --install": ("install", "schedule"),
    "doctor": ("config", "diagnose", "validate", "verify"),
    "emit": ("add", "enqueue", "publish", "send"),
    "init": ("create", "new"),
    "list": ("events", "ls", "ps"),
    "list --status failed": ("dead", "failed", "failures"),
    "list --watch": ("follow", "watch"),
    "list, or eventctl stats": ("status",),
    "pause": ("disable", "stop"),
    "prune": ("clean", "delete", "purge"),
    "replay": ("redo", "requeue", "rerun", "resend", "retry"),
    "resume": ("enable", "unpause"),
    "show": ("describe", "get", "inspect", "logs", "log"),
    "sweep": ("process", "run", "work", "worker"),
}
"""What other tools call these commands, by our word."""


def _config_too(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.find_root().params["config"] = value
        if isinstance(context.obj, Context):  # there is none during shell completion
            context.obj.option = value


_CONFIG_TOO = click.Option(
    ["--config"],
    metavar="FILE",
    type=click.Path(),
    callback=_config_too,
    expose_value=False,
    is_eager=True,
    hidden=True,
)
"""--config after the command, where a person adds it to the line that has just failed."""


class Commands(click.Group):
    """The commands, each imported when it is used: start-up is most of what emit costs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in COMMANDS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = import_module(f"eventctl.cli.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        for each in (command, *getattr(command, "commands", {}).values()):
            if _CONFIG_TOO not in each.params:
                each.params.append(_CONFIG_TOO)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in self.list_commands(ctx):
            hint = did_you_mean(name, self.list_commands(ctx))
            for meant, words in _ELSEWHERE.items():
                if name.lower() in words:
                    hint = f"use eventctl {meant}"
            ctx.fail(f"no such command {name!r}: {hint or 'see eventctl --help'}")
        return super().resolve_command(ctx, args)


def _version(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from eventctl.cli import version  # lazy: a sweep does not need it

        version.show()
        context.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    help="The events.toml to use; may also follow the command. Default: $EVENTCTL_CONFIG,"
    " ./events.toml, ~/.config/eventctl/events.toml, /etc/eventctl/events.toml.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the versions of eventctl and of what it runs on, and exit.",
)
@click.pass_context
def cli(ctx: click.Context, config: str | None) -> None:
    """Record events, run their handlers, and retry failed ones.

    An emitter names an event; events.toml names its handlers. Each event is recorded in the
    database before any handler runs, and a sweep from cron retries failed deliveries.
    """
    # What is loaded stays for good, and need not be searched (see `__main__`).
    gc.freeze()
    gc.enable()
    needs = Needs.ALL if ctx.invoked_subcommand in _NEED_ALL else Needs.TO_SHOW
    if ctx.invoked_subcommand == "emit":
        needs = Needs.TO_RECORD
    ctx.obj = Context(config, needs)


def main(arguments: list[str]) -> int:
    """Run one command line; return its exit code. Raises what a command raises."""
    if "_EVENTCTL_COMPLETE" in os.environ:
        from eventctl.cli.completion import answer  # lazy: few runs need it

        return answer(cli)
    try:
        code = cli.main(arguments, prog_name="eventctl", standalone_mode=False)
        return code if isinstance(code, int) else EXIT_DONE
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(f"{error.format_message()}\n")
        return error.exit_code
    except click.ClickException as error:
        complain(_one_line(error))
        return error.exit_code
    except SystemExit:
        return EXIT_DONE  # click's reaction to a closed reader
    except click.Abort as error:
        if isinstance(error.__cause__, EOFError):
            raise error.__cause__ from None  # not from the keyboard
        raise KeyboardInterrupt from None


def _one_line(error: click.ClickException) -> str:
    """Return the mistake in a command line, and where to find help."""
    if isinstance(error, click.NoSuchOption):
        close = [each for each in error.possibilities or () if nearest(error.option_name, [each])]
        if not close:  # click also offers what is hardly similar
            error = click.UsageError(error.message, error.ctx)
    words = printable(" ".join(error.format_message().split())).rstrip(".")
    words = words[:1].lower() + words[1:].replace(". Did you mean", ": did you mean", 1)
    context = error.ctx if isinstance(error, click.UsageError) else None
    if not context:
        return words
    if words.startswith("no such option") and context.info_name == "emit":
        words = joined(words, "to pass it as an ARG, put -- before the ARGs")
    if context.info_name == "list" and (extra := re.search(r"extra argument \((.*)\)$", words)):
        one = f"one event, use eventctl show {extra[1]}"
        named = f"the events of one name, use --event {extra[1]}"
        return f"{words}; for {one if extra[1].isdecimal() else named}"
    return words if "--help" in words else f"{words} (see {context.command_path} --help)"
