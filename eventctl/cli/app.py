"""The commands as click knows them: which there are, and what its exceptions mean."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module

import click

from eventctl.cli.context import Context
from eventctl.config import Needs
from eventctl.errors import EXIT_DONE
from eventctl.format.messages import complain
from eventctl.format.text import did_you_mean, printable

_NEED_ALL = ("sweep", "check", "alerts", "rehearse")
"""What refuses an events.toml with any mistake in it: they run handlers, or judge the whole."""


COMMANDS: dict[str, dict[str, str]] = {
    "Emit and sweep": {
        "emit": "Record the event NAME with its ARGs, then run its handlers.",
        "sweep": "Run what is due: what was deferred, failed, or left behind.",
    },
    "Inspect": {
        "list": "List events, the newest first, with what is left to do for each.",
        "show": "Show one event: its deliveries, each attempt, and why it failed.",
        "alerts": "List what is wrong, and who was notified of it.",
        "stats": "Show counts, failures, latency and MTTR, by event and by handler.",
        "check": "Tell a monitor whether all is well, in one line.",
    },
    "Fix": {
        "replay": "Re-open failed deliveries, so that the next sweep runs them again.",
        "cancel": "Give deliveries up, so that no sweep runs them again.",
        "pause": "Stop running a handler or an event; list what is paused.",
        "resume": "Run a handler or an event again that was paused.",
        "ack": "Acknowledge incidents: be silent about them until they end.",
        "rehearse": "Run a handler again, to see that this does no harm.",
    },
    "Maintain": {
        "prune": "Delete old events that are over, with their deliveries and attempts.",
        "copy": "Copy the whole store into an empty one, such as from SQLite to MySQL.",
    },
    "Set up": {
        "init": "Write a first events.toml, and a handler that works.",
        "crontab": "Print the crontab lines that sweep, or install them.",
        "doctor": "Say what is wrong, and how to fix it.",
        "completion": "Print what has SHELL complete commands, options, names and ids.",
    },
}
"""The commands, by what a person is doing, each with its help in one line: to list them loads
none of them. Each is `command` in the file of its name."""


class Commands(click.Group):
    """The commands, each imported when it is used: start-up is most of what emit costs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in COMMANDS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = import_module(f"eventctl.cli.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
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
            hint = did_you_mean(name, self.list_commands(ctx)) or "see eventctl --help"
            ctx.fail(f"No such command {name!r}: {hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    help="The events.toml to use. Without it: $EVENTCTL_CONFIG, ./events.toml,"
    " ~/.config/eventctl/events.toml, /etc/eventctl/events.toml.",
)
@click.version_option(package_name="eventctl", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: str | None) -> None:
    """Record events, run their handlers, and retry what did not finish.

    An emitter names the event; events.toml names its handlers. Each event is recorded in
    the database before anything runs, and a sweep from cron retries what failed.
    """
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
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        sys.stderr.write(printable(shown.getvalue(), lines=True))  # it quotes what was typed
        if isinstance(error, click.NoSuchOption) and error.ctx and error.ctx.info_name == "emit":
            complain("to pass it as an ARG, put -- before the ARGs")
        return error.exit_code
    except SystemExit:
        return EXIT_DONE  # click's own answer to a reader that has gone
    except click.Abort:
        raise KeyboardInterrupt from None
