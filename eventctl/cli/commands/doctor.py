"""`eventctl doctor`: what is wrong, and how to mend it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from eventctl.cli.context import Context
from eventctl.errors import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from eventctl.config.model import Config
    from eventctl.setup.doctor import Finding, Mapped

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}

Show = Callable[["Finding"], None]


@click.command()
@click.option("--strict", is_flag=True, help="Exit with 1 for a warning, too.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def command(context: Context, /, strict: bool, as_json: bool) -> int:
    """Say what is wrong, and how to mend it.

    It looks at all that events have to pass through: events.toml, the import of each
    handler (in a child process), the store with its rights and settings, clocks,
    folders, disks, the spool, cron, the last sweep, the mail server, and what channels
    have not accepted. Nothing is changed, and nothing is sent. Run it as the user that
    sweeps. Below stands which event runs what.

    It exits with 0 if there is no problem, 1 if there is one, and 78 if events.toml
    cannot be used. A warning alone is no problem, unless --strict makes it one.

    \b
    Examples:
      eventctl doctor
      eventctl doctor --json | jq -r '.findings[] | select(.level == "problem") | .mend'
      sudo -u shop eventctl --config /srv/shop/events.toml doctor
    """
    from eventctl.setup import doctor

    named = click.get_current_context().find_root().params.get("config")
    config, first = doctor.read(named)
    rest = doctor.examine(config) if config else doctor.without_config()
    if as_json:
        found = [*first, *rest]
        _print_json(found, config)
    else:
        found = list(_shown([*first], rest, _show()))
        if config:
            _print_mapping(config)
    levels = Counter(finding.level for finding in found)
    if not as_json:
        _print_sum(levels)
    if config is None:
        return EXIT_CONFIG
    bad = levels["problem"] + (levels["warning"] if strict else 0)  # type: ignore[index]  # words
    return EXIT_FAILED if bad else EXIT_DONE


def _shown(first: list[Finding], rest: Iterable[Finding], show: Show) -> Iterator[Finding]:
    """Show each finding as soon as it is there: a store that hangs takes seconds."""
    for findings in (first, rest):
        for finding in findings:
            show(finding)
            if sys.stdout.isatty():
                sys.stdout.flush()
            yield finding


def _show() -> Show:
    """Return what shows a finding: in columns on a terminal, else in a line."""
    from eventctl.format.text import printable

    if not sys.stdout.isatty():
        return lambda finding: _write("\t".join(printable(str(each)) for each in finding).rstrip())
    from rich.table import Table
    from rich.text import Text

    from eventctl.cli.output.tables import console

    out = console()

    def show(finding: Finding) -> None:
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(width=7)
        row.add_column(width=8)
        row.add_column(overflow="fold")
        level = Text(finding.level, _STYLES[finding.level])
        row.add_row(level, Text(finding.check, "dim"), Text(printable(finding.text)))
        out.print(row)
        if finding.mend:
            # It is often a command: a line that the terminal breaks can still be copied whole.
            out.print(Text(f"{'':19}→ {printable(finding.mend)}", "bold"), soft_wrap=True)

    return show


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _print_mapping(config: Config) -> None:
    from eventctl.format.text import printable
    from eventctl.setup import doctor

    rows = doctor.mapped(config)
    idle = doctor.unused(config)
    if sys.stdout.isatty():
        _print_tree(config, rows)
    else:
        event = None
        for row in rows:
            if row.event != event:
                event = row.event
                _write(printable(event))
            words = _words(row)
            _write(f"  {printable(row.handler)}: {', '.join(map(printable, words))}")
    if idle:
        _write(f"no event expects: {', '.join(map(printable, idle))}")


def _words(row: Mapped) -> tuple[str, ...]:
    from eventctl.format.time import span

    runs = () if row.runs == row.handler else (row.runs,)
    return (*runs, f"timeout {span(row.timeout * 1000)}", row.retries)


def _print_tree(config: Config, rows: list[Mapped]) -> None:
    from rich.text import Text
    from rich.tree import Tree

    from eventctl.cli.output.tables import console
    from eventctl.format.text import printable

    out = console()
    out.print()
    for event in config.events.values():
        tree = Tree(Text(printable(event.name), "bold"), guide_style="dim")
        for row in rows:
            if row.event == event.name:
                line = Text(printable(row.handler), "cyan")
                line.append(f"  {'  '.join(map(printable, _words(row)))}", "default")
                tree.add(line)
        out.print(tree)


def _print_sum(levels: Counter[Any]) -> None:
    from eventctl.setup.doctor.findings import count

    parts = [count(levels[word], word) for word in ("problem", "warning") if levels[word]]
    _write(", ".join(parts) or "all is well")


def _print_json(found: list[Finding], config: Config | None) -> None:
    from eventctl.cli.output.formats import json_text
    from eventctl.setup import doctor

    events: dict[str, list[dict[str, object]]] = {}
    for row in doctor.mapped(config) if config else ():
        events.setdefault(row.event, []).append(
            {
                "handler": row.handler,
                "runs": row.runs,
                "timeout": row.timeout,
                "attempts": row.retry.attempts,
                "delay": row.retry.delay,
                "factor": row.retry.factor,
                "maxDelay": row.retry.max_delay,
            }
        )
    page = {
        "config": str(config.path) if config else None,
        "findings": [
            {"level": each.level, "check": each.check, "text": each.text, "mend": each.mend or None}
            for each in found
        ],
        "events": events,
        "unused": doctor.unused(config) if config else [],
    }
    _write(json_text(page, indent=2))
