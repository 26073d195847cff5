"""benchmarks/RESULTS.md: the goals, what was measured, and what each contender promises."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import plot, venvs
from benchmarks.race import Goal, Result

FOLDER = Path(__file__).resolve().parent

_HEAD = """# How fast it is

`make bench` has written this page and [results.svg](results.svg). It runs eventctl, its peers and
the machine's limit side by side: in each round every contender once, in an order that turns.
What counts are ratios of medians within one run; in brackets stands the middle half of the
rounds. Absolute figures say as much about the machine as about the programs.

{machine}

![bars](results.svg)

## Goals

| goal | measured | middle half | bound | |
| --- | ---: | ---: | ---: | --- |
"""


def write(results: Sequence[Result], page: Path, machine: str) -> None:
    """Write the page, and the plot beside it."""
    text = _HEAD.format(machine=machine)
    for result in results:
        for goal in result.race.goals:
            text += _goal(result, goal)
    why = FOLDER / "MISSED.md"
    if why.exists():
        text += "\n" + why.read_text()
    text += "\n## Figures\n"
    for result in results:
        text += _table(result)
    page.write_text(text)
    page.with_name("results.svg").write_text(plot.draw(results))


def machine(seconds: float, server: str) -> str:
    """Return a line that tells what was measured, and on what."""
    peers = ", ".join(
        f"{name} {venvs.version(venv, name)}"
        for venv, name in (
            ("huey", "huey"),
            ("persistqueue", "persist-queue"),
            ("celery", "celery"),
            ("django", "django-tasks-db"),
            ("huey", "peewee"),
            ("eventctl", "mysqlclient"),
        )
    )
    load = os.getloadavg()[0]
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} in {seconds / 60:.0f} minutes on"
        f" {os.cpu_count()} cores ({platform.machine()}, {platform.system()}), load {load:.1f};"
        f" Python {platform.python_version()}, SQLite {sqlite3.sqlite_version},"
        f" {server}; {peers}."
    )


def _goal(result: Result, goal: Goal) -> str:
    low, high = result.spread(goal)
    sign = "≤" if goal.at_most else "≥"
    verdict = "met" if result.is_met(goal) else f"**missed** by {_missed_by(result, goal):.0%}"
    return (
        f"| {goal.words} | {_short(result.ratio(goal))} | {_short(low)}–{_short(high)}"
        f" | {sign} {goal.bound:g} | {verdict} |\n"
    )


def _missed_by(result: Result, goal: Goal) -> float:
    return abs(result.ratio(goal) / goal.bound - 1)


def _table(result: Result) -> str:
    race = result.race
    text = f"\n### {race.title[0].upper()}{race.title[1:]}\n\n"
    if race.remark:
        text += f"{race.remark}\n\n"
    text += (
        f"| | {race.unit} | middle half | rounds | a crash |\n| --- | ---: | ---: | ---: | --- |\n"
    )
    for contender in race.contenders:
        low, high = result.quartiles(contender.label)
        text += (
            f"| {contender.label} | {_short(result.median(contender.label))}"
            f" | {_short(low)}–{_short(high)} | {len(result.figures[contender.label])}"
            f" | {contender.promise} |\n"
        )
    return text


def _short(figure: float) -> str:
    return (
        f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}" if figure < 10 else f"{figure:.1f}"
    )
