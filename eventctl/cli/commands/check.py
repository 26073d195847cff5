"""`eventctl check`: report the overall state, for monitors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from eventctl.cli.context import Context
from eventctl.cli.options import Duration, flag
from eventctl.cli.output.nagios import Plugin, answer, answer_json
from eventctl.errors import EXIT_DONE, StoreUnavailable, UsageError
from eventctl.format.files import write_whole
from eventctl.format.time import duration
from eventctl.monitor import health, thresholds
from eventctl.monitor.prometheus import metrics
from eventctl.monitor.thresholds import MEASURES, Limits, Measured, Severity
from eventctl.store import connect

_OFF = "off"


def _number(value: str) -> int | None:
    """The type of a whole number, or `off`."""
    if value == _OFF:
        return None
    if value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    raise click.BadParameter(f"{value!r} is not a whole number; write a number, or off")


def _limit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --NAME-warning and --NAME-critical for each of MEASURES."""
    for name, (unit, warning, critical, meaning) in reversed(MEASURES.items()):
        for level, default in (("critical", critical), ("warning", warning)):
            function = click.option(
                f"--{name}-{level}",
                metavar="TIME" if unit else "N",
                type=Duration(words={_OFF: None}) if unit else _number,
                default=_written(default, unit),
                show_default=True,
                help=f"{level.upper()}: {meaning}.",
            )(function)
    return function


def _written(limit: float | None, unit: str) -> str:
    if limit is None:
        return _OFF
    return duration(limit) if unit else str(limit)


@click.command(cls=Plugin)
@click.option(
    "--prometheus",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write metrics for node_exporter's textfile collector to FILE, whose name must end in"
    " .prom, print nothing, and exit with 0.",
)
@_limit_options
@flag("--json", "as_json", help="Print JSON instead of the line.")
@click.pass_obj
def command(
    context: Context, /, prometheus: Path | None, as_json: bool, **given: float | None
) -> int:
    """Report the overall state in one line, for monitors.

    The line and the exit code follow the Nagios plugin format, which Icinga and others
    also read: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (a mistake in events.toml or in
    the options). A store that cannot be reached is CRITICAL. Set a limit to `off` to
    disable it.

    \b
    Examples:
      eventctl check
      eventctl check --sweep-critical 1h --failed-critical 0
      eventctl check --prometheus /var/lib/node_exporter/eventctl.prom
    """
    if prometheus is not None:
        if as_json:
            raise UsageError("--prometheus writes a file: --json cannot be used with it")
        if ".prom" not in prometheus.name:  # a job may rename eventctl.prom.tmp itself
            raise UsageError(
                f"--prometheus {prometheus}: the name must end in .prom, or node_exporter"
                " ignores it"
            )
        return _write_metrics(context, prometheus)

    limits = {name: _limits(name, given) for name in MEASURES}
    with context.open() as database:
        found = thresholds.judge(health.measure(context.config, database), limits)
    level = max(each.level for each in found)
    words = _words(found, level)
    if as_json:
        return answer_json(level, words, [_measure(each) for each in found])
    return answer(level, words, [_perfdata(each) for each in found])


def _limits(name: str, given: Mapping[str, float | None]) -> Limits:
    """Return the limits of a measure. Raises UsageError if its WARNING would never be reported."""
    warning, critical = given[f"{name}_warning"], given[f"{name}_critical"]
    if warning is None or critical is None or warning <= critical:
        return Limits(warning, critical)
    source = click.get_current_context().get_parameter_source(f"{name}_warning")
    if source == ParameterSource.DEFAULT:
        return Limits(critical, critical)
    high, low = (_written(limit, MEASURES[name].unit) for limit in (warning, critical))
    raise UsageError(
        f"--{name}-warning {high} is above --{name}-critical {low}, so nothing would be a WARNING:"
        " lower it, or raise the critical limit"
    )


def _measure(finding: Measured) -> dict[str, Any]:
    return {
        "name": finding.name,
        "value": finding.value,
        "unit": finding.unit,
        "status": finding.level.name,
        "warning": finding.limits.warning,
        "critical": finding.limits.critical,
        "text": finding.text,
    }


def _words(found: list[Measured], level: Severity) -> str:
    """Return the problems, the worst first, or that all is well."""
    # Not a problem by itself, but it may explain one.
    paused = [each.text for each in found if each.name == "paused" and each.value]
    if level == Severity.OK:
        well = [each.text for each in found if each.name in ("sweep", "backlog", "failed")]
        return ", ".join(well + paused)
    wrong = sorted((each for each in found if each.level), key=lambda each: -each.level)
    return "; ".join(dict.fromkeys([each.text for each in wrong] + paused))


def _perfdata(finding: Measured) -> str:
    """Return a value as 'label'=value[unit];[warning];[critical];minimum."""
    value = "U" if finding.value is None else f"{round(finding.value, 3):.15g}{finding.unit}"
    limits = (finding.limits.warning, finding.limits.critical)
    return f"{finding.name}={value};{';'.join('' if x is None else f'{x:.15g}' for x in limits)};0"


def _write_metrics(context: Context, path: Path) -> int:
    config = context.config
    store = connect.database(config.store).describe()
    seen: health.Health | None
    try:
        with context.open() as database:
            seen = health.measure(config, database)
    except StoreUnavailable:
        # The file must report that it is unavailable: an old one would say that all is well.
        seen = None
    write_whole(path, metrics(seen, store))
    return EXIT_DONE
