"""`eventctl crontab`: print or install the crontab lines for the sweep."""

from __future__ import annotations

import os
import pwd
import sys
from difflib import unified_diff
from pathlib import Path

import click

from eventctl import config as configuration
from eventctl.cli.context import Context
from eventctl.cli.options import flag, time_option
from eventctl.config.model import Config
from eventctl.errors import ConfigError, UsageError
from eventctl.format import invocation
from eventctl.format.address import parse_address
from eventctl.format.messages import complain
from eventctl.format.text import printable
from eventctl.setup import crontab


def _mailto(value: str) -> str:
    """The type of addresses that cron takes: bare ones only, separated by commas."""
    if not value.strip():
        raise click.BadParameter("with an empty address, cron discards every report")
    for address in map(str.strip, value.split(",")):
        try:
            is_bare = not parse_address(address)[0]
        except ValueError:
            is_bare = False
        if not is_bare:
            raise click.BadParameter(
                f"{address!r} is not a mail address that cron takes; write"
                ' "ops@example.com", several with commas'
            )
    return value


@click.command()
@flag("--install", help="Add the lines to this user's crontab.")
@flag("--remove", help="Remove them from it.")
@flag("--dry-run", help="Show what --install or --remove would change.")
@click.option(
    "--mailto", metavar="ADDRESS", type=_mailto, help="Where cron mails what the sweep prints."
)
@time_option("--every", default="1m", show_default=True, help="How often to sweep.")
@time_option(
    "--for", "repeat_for", help="Let each sweep repeat every second for this long, such as 55s."
)
@click.pass_obj
def command(
    context: Context,
    install: bool,
    remove: bool,
    dry_run: bool,
    mailto: str | None,
    every: float,
    repeat_for: float | None,
) -> None:
    """Print or install the crontab lines for the sweep.

    All paths in the lines are absolute. --install adds them to your crontab as a
    separate block, or replaces the existing block for the same events.toml. No other
    line is changed. Run it as the user that runs the sweep.

    \b
    Examples:
      eventctl crontab
      eventctl crontab --install --mailto ops@example.com
      eventctl crontab --install --for 55s --dry-run
      eventctl crontab --remove
    """
    if install and remove:
        raise UsageError("--install and --remove cannot be used together")
    if dry_run and not (install or remove):
        raise UsageError("--dry-run requires --install or --remove")
    if remove:
        if mailto is not None or every != 60 or repeat_for is not None:
            raise UsageError(
                "--remove removes the whole block: --mailto, --every and --for"
                " cannot be used with it"
            )
        _remove(_path(context), dry_run)
        return
    config = context.config
    path = invocation.tidy(config.path)
    block = crontab.Block(path)
    lines = _lines(config, path, every, repeat_for)
    user = _user()
    try:
        old = crontab.read()
    except crontab.CrontabError:
        if install:
            raise
        old = b""  # the lines may be for another machine
    new = block.installed(old, lines, mailto, user)
    if install:
        _change(old, new, dry_run, f"installed for {path}, in the crontab of {user}")
    else:
        sys.stdout.buffer.write(block.found(new))  # a path may be invalid UTF-8
    _warn_of_variables(config, old)


def _remove(path: Path, dry_run: bool) -> None:
    old = crontab.read()
    block = crontab.Block(path)
    if not block.found(old):
        complain(f"the crontab of {_user()} has no lines of eventctl's own for {path}")
        return
    _change(old, block.removed(old), dry_run, f"removed from the crontab of {_user()}")


def _change(old: bytes, new: bytes, dry_run: bool, done: str) -> None:
    if new == old:
        complain("the crontab is up to date; nothing was changed")
    elif dry_run:
        sys.stdout.write(_difference(old, new))
    else:
        crontab.write(new)
        complain(f"{done} (crontab -l shows it)")


def _difference(old: bytes, new: bytes) -> str:
    before, after = (
        printable(text.decode("utf-8", "backslashreplace"), lines=True).splitlines(keepends=True)
        for text in (old, new)
    )
    return "".join(unified_diff(before, after, "crontab, now", "crontab, then"))


def _path(context: Context) -> Path:
    """Return the events.toml whose block to remove. The file may be missing or invalid."""
    named = context.option or os.environ.get("EVENTCTL_CONFIG")
    try:
        return invocation.tidy(configuration.find(named))
    except ConfigError:
        if not named:
            raise
        return invocation.tidy(Path(named).expanduser())


def _lines(config: Config, path: Path, every: float, repeat_for: float | None) -> list[str]:
    """Return the lines of the block: the sweep, and other useful lines as comments."""
    fields = crontab.schedule(every)
    program = [*_environment(config), *invocation.argv(), "--config", str(path)]
    sweep = [*program, "sweep"]
    if repeat_for is not None:
        if repeat_for >= every:
            raise UsageError(
                "--for must be over before the next sweep starts: write less than --every"
            )
        sweep += ["--for", f"{repeat_for:g}s"]
    metrics = [*program, "check", "--prometheus", str(path.with_name("eventctl.prom"))]
    page = [*program, "stats", "--html", str(path.with_name("stats.html"))]
    return [
        crontab.job(fields, sweep),
        f"# {crontab.job('* * * * *', metrics)}",
        f"# {crontab.job('*/10 * * * *', page)}",
    ]


def _environment(config: Config) -> list[str]:
    """Return a PATH setting for programs that are found here but not in cron's PATH."""
    programs = [each.command[0] for each in config.handlers.values() if each.command]
    found = [path for program in programs if (path := crontab.only_here(program))]
    folders = dict.fromkeys(os.path.dirname(os.path.abspath(path)) for path in found)
    return ["/usr/bin/env", f"PATH={':'.join([*folders, crontab.PATH])}"] if folders else []


def _warn_of_variables(config: Config, there: bytes) -> None:
    """Warn of variables in events.toml that cron jobs do not have."""
    if missing := crontab.unset(config, crontab.settings(there)):
        complain(
            f"events.toml takes {', '.join(missing)} from the environment, and cron jobs do"
            f" not have it: write {missing[0]}=… into {config.env_file.file}, mode 600"
        )


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise UsageError(f"the user {os.geteuid()} has no name, and cron needs one") from None
