"""A race: contenders that do the same work, interleaved, and the goals that are set for it."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Contender:
    """One way to do the work. `run` returns seconds, or what the race's unit says.

    `amount` is how much one run does, where the race is about a rate. `promise` says what
    a crash does to the work.
    """

    label: str
    run: Callable[[], float]
    promise: str = ""
    amount: float = 1.0
    rounds: int | None = None
    """Where it is too slow to take part in all rounds."""


@dataclass(frozen=True)
class Goal:
    """A bound on one contender's median over another's, or on the median itself."""

    words: str
    ours: str
    bound: float
    against: str | None = None
    at_most: bool = True


@dataclass(frozen=True)
class Race:
    """Contenders side by side. `unit` is "ms", "/s" (more is better), "M" (millions), "MiB" or
    "bytes".
    """

    name: str
    title: str
    unit: str
    contenders: Sequence[Contender]
    goals: Sequence[Goal] = ()
    rounds: int = 5
    warm_up: bool = True
    remark: str = ""


@dataclass
class Result:
    """What a race has measured: the figures of each contender, in the race's unit."""

    race: Race
    figures: dict[str, list[float]] = field(default_factory=dict)

    def median(self, label: str) -> float:
        """Return a contender's median."""
        return statistics.median(self.figures[label])

    def quartiles(self, label: str) -> tuple[float, float]:
        """Return the range that the middle half of a contender's figures lies in."""
        return quartiles(self.figures[label])

    def ratio(self, goal: Goal) -> float:
        """Return what a goal is about: medians of the same rounds, divided."""
        if goal.against is None:
            return self.median(goal.ours)
        return self.median(goal.ours) / self.median(goal.against)

    def spread(self, goal: Goal) -> tuple[float, float]:
        """Return the same for the middle half of the rounds, each by itself."""
        ours = self.figures[goal.ours]
        if goal.against is None:
            return quartiles(ours)
        return quartiles([a / b for a, b in zip(ours, self.figures[goal.against], strict=False)])

    def is_met(self, goal: Goal) -> bool:
        """Whether the goal is reached."""
        ratio = self.ratio(goal)
        return ratio <= goal.bound if goal.at_most else ratio >= goal.bound


def quartiles(figures: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile."""
    if len(figures) < 2:
        return figures[0], figures[0]
    first, _, third = statistics.quantiles(figures, n=4, method="inclusive")
    return first, third


def run(race: Race) -> Result:
    """Run all rounds: in each, every contender once, in an order that turns."""
    say(f"{race.name}: {race.title}")
    result = Result(race, {contender.label: [] for contender in race.contenders})
    contenders = list(race.contenders)
    if race.warm_up:
        for contender in contenders:
            contender.run()
    for number in range(race.rounds):
        turn = number % len(contenders)
        for contender in contenders[turn:] + contenders[:turn]:
            if contender.rounds is None or number < contender.rounds:
                figure = _in_unit(contender.run(), contender.amount, race.unit)
                result.figures[contender.label].append(figure)
    for contender in contenders:
        low, high = result.quartiles(contender.label)
        say(f"    {contender.label:<44} {result.median(contender.label):>12,.2f} {race.unit:<4}"
            f" ({low:,.2f} to {high:,.2f})")  # fmt: skip
    for goal in race.goals:
        sign = "≤" if goal.at_most else "≥"
        verdict = "met" if result.is_met(goal) else "MISSED"
        say(f"  {verdict}: {goal.words}: {result.ratio(goal):.2f} ({sign} {goal.bound:g})")
    return result


def _in_unit(measured: float, amount: float, unit: str) -> float:
    if unit == "ms":
        return measured * 1000
    if unit == "/s":
        return amount / measured
    return measured


def say(text: str) -> None:
    """Tell the person who waits how far it is."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
