"""Durations as people read them: written one way, as in "1m 14s"."""

from __future__ import annotations

import re

import pytest

from eventctl.format.time import duration
from tests.support.checkout import CHECKOUT

BY_HAND = re.compile(r"\{[^{}]*\} (?:ms|s|sec|seconds|min|minutes|hours|days)\b")
"""A number that a message gives a unit of its own."""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.35, "350ms"),
        (1, "1s"),
        (1.43, "1.4s"),
        (74, "1m 14s"),
        (600, "10m"),
        (7500, "2h 5m"),
        (270_000, "3d 3h"),
    ],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_no_message_writes_one_by_hand() -> None:
    found = [
        f"{module.relative_to(CHECKOUT)}:{number}: {match[0]}"
        for module in sorted((CHECKOUT / "eventctl").rglob("*.py"))
        for number, line in enumerate(module.read_text(encoding="utf-8").splitlines(), 1)
        if (match := BY_HAND.search(line))
    ]
    assert found == []
