"""`eventctl doctor`: what is wrong, and how to fix it."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

import click

from eventctl.cli.context import Context
from eventctl.cli.output.formats import json_text
from eventctl.errors import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED
from eventctl.format.text import printable
from eventctl.setup import doctor
from eventctl.setup.doctor.findings import count

if TYPE_CHECKING:
    from eventctl.setup.doctor import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command()
@click.option("--strict", is_flag=True, help="Exit with 1 for a warning as well.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(context: Context, /, strict: bool, as_json: bool) -> int:
    """Report what is wrong, and how to fix it.

    doctor checks everything that events pass through: events.toml, the import of each
    handler (in a child process), the store with its privileges and settings, clocks,
    folders, disks, the spool, cron, the last sweep, the mail server, and messages that
    channels have not accepted. It changes nothing and sends nothing. Run it as the user
    that runs the sweep.

    Exits with 0 if there is no problem, 1 if there is one, and 78 if events.toml
    cannot be used. With --strict, a warning counts as a problem.

    \b
    Examples:
      eventctl doctor
      eventctl doctor --json | jq -r '.findings[] | select(.level == "problem") | .fix'
      sudo -u shop eventctl --config /srv/shop/events.toml doctor
    """
    named = click.get_current_context().find_root().params.get("config")
    config, first = doctor.read_config(named)
    found = []
    for finding in chain(first, doctor.examine(config) if config else doctor.without_config()):
        found.append(finding)
        if not as_json:
            _show(finding)  # at once: a store that hangs takes seconds
    if as_json:
        findings = [{**each._asdict(), "fix": each.fix or None} for each in found]
        page = {"config": config.path if config else None, "findings": findings}
        sys.stdout.write(f"{json_text(page, indent=2)}\n")
    levels = Counter(str(finding.level) for finding in found)
    if not as_json:
        bad = [count(levels[word], word) for word in ("problem", "warning") if levels[word]]
        sys.stdout.write(f"{', '.join(bad) or 'all is well'}\n")
    if config is None:
        return EXIT_CONFIG
    return EXIT_FAILED if levels["problem"] or (strict and levels["warning"]) else EXIT_DONE


def _show(finding: Finding) -> None:
    level, check, text, fix = (printable(str(each)) for each in finding)
    if not sys.stdout.isatty():
        sys.stdout.write("\t".join((level, check, text, fix)).rstrip() + "\n")
        return
    colour = click.style(f"{level:7}", _COLOURS[level], bold=level == "problem")
    sys.stdout.write(f"{colour}  {check:8}  {text}\n")
    if fix:
        sys.stdout.write(click.style(f"{'':19}→ {fix}", bold=True) + "\n")
    sys.stdout.flush()
