"""`eventctl doctor`: report what is wrong, and how to fix it."""

from __future__ import annotations

import os
import sys
from collections import Counter

import click

from eventctl.cli.context import Context
from eventctl.cli.options import flag
from eventctl.cli.output.formats import print_json
from eventctl.errors import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED
from eventctl.format.text import counted, printable
from eventctl.setup import doctor
from eventctl.setup.doctor import Finding

_FINE, _RISKY, _BAD = doctor.Level
_COLOURS = {_BAD: "red", _RISKY: "yellow", _FINE: "green"}
"""The worst level first."""


@click.command()
@flag("--strict", help="Exit with 1 for a warning as well.")
@flag("-v", "--verbose", help="List what is ok as well.")
@flag("--json", "as_json", help="Print JSON.")
@click.pass_obj
def command(context: Context, strict: bool, verbose: bool, as_json: bool) -> int:
    """Report what is wrong, and how to fix it.

    doctor checks everything that events pass through: events.toml, the import of each
    handler (in a child process), the store with its privileges and settings, clocks,
    folders, disks, the spool, cron, the last sweep, the mail server, and messages that
    channels have not accepted. It changes nothing and sends nothing. Run it as the user
    that runs the sweep. The first line is the verdict. Problems follow, then warnings;
    what is ok is only counted.

    Exits with 0 if there is no problem, 1 if there is one, and 78 if events.toml
    cannot be used. With --strict, a warning counts as a problem.

    \b
    Examples:
      eventctl doctor
      eventctl doctor --json | jq -r '.findings[] | select(.level == "problem") | .fix'
      sudo -u shop eventctl --config /srv/shop/events.toml doctor
    """
    config, first = doctor.read_config(context.option)
    found = [*first, *(doctor.examine(config) if config else doctor.without_config())]
    found.sort(key=lambda each: [*_COLOURS].index(each.level))
    levels = Counter(finding.level for finding in found)
    exit_code = EXIT_FAILED if levels[_BAD] or (strict and levels[_RISKY]) else EXIT_DONE
    if as_json:
        findings = [{**each._asdict(), "fix": each.fix or None} for each in found]
        print_json({"config": config.path if config else None, "findings": findings})
    else:
        bad = [counted(levels[level], str(level)) for level in (_BAD, _RISKY) if levels[level]]
        fine = "" if verbose else f" (to list them: {context.command('doctor -v')})"
        verdict = f"{', '.join(bad) or 'all is well'}; {levels[_FINE]} ok{fine}"
        sys.stdout.write(f"{verdict}\n")
        for finding in found:
            if verbose or finding.level != _FINE:
                _show(finding)
    return exit_code if config else EXIT_CONFIG


def _show(finding: Finding) -> None:
    parts = (finding.level, finding.check, finding.text, finding.fix)
    level, check, text, fix = (printable(str(each)) for each in parts)
    if not sys.stdout.isatty():
        sys.stdout.write("\t".join((level, check, text, fix)).rstrip() + "\n")
        return
    colour = None if os.environ.get("NO_COLOR") else _COLOURS[finding.level]
    shown = click.style(f"{level:7}", colour, bold=finding.level == _BAD)
    sys.stdout.write(f"{shown}  {check:9}  {text}\n")
    if fix:
        sys.stdout.write(click.style(f"{'':20}→ {fix}", bold=True) + "\n")
