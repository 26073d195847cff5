"""The pictures of the README show what a terminal shows today."""

from __future__ import annotations

import re
from collections import defaultdict
from xml.etree import ElementTree

import pytest

from scripts import pictures
from tests.support.terminal import plain

_TEXT = "{http://www.w3.org/2000/svg}text"
_VARIABLE = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "WHEN"),
    (r"\b[0-9a-f]{8}[0-9a-f-]{2,}", "ID"),
    (r"( in)? \d+(\.\d+)? ?(ms|s)\b| due\b", ""),
)


def drawn(theme: str) -> list[str]:
    """Return the lines of a picture."""
    picture = ElementTree.fromstring(pictures.path(theme).read_text(encoding="utf-8"))
    lines: dict[float, str] = defaultdict(str)
    for text in picture.iter(_TEXT):
        if text.get("clip-path"):  # not the title
            lines[float(text.get("y", ""))] += f" {text.text}"
    return [line for _, line in sorted(lines.items())]


def letters(lines: list[str]) -> str:
    """Return the lines without what differs from run to run, without wrapping and spaces.

    A picture has no text where there are only spaces.
    """
    text = " ".join(" ".join(lines).split())
    for pattern, word in _VARIABLE:
        text = re.sub(pattern, word, text)
    return text.replace(" ", "")


@pytest.fixture(scope="module")
def today() -> list[str]:
    return plain(pictures.record()).split("\n")


@pytest.mark.parametrize("theme", pictures.THEMES)
def test_a_picture_shows_what_a_terminal_shows(theme: str, today: list[str]) -> None:
    assert letters(drawn(theme)) == letters(today), "run: make pictures"


@pytest.mark.parametrize("theme", pictures.THEMES)
def test_a_picture_loads_nothing(theme: str) -> None:
    text = pictures.path(theme).read_text(encoding="utf-8")
    assert text.replace("http://www.w3.org/2000/svg", "").count("http") == 0


def test_it_shows_failure_notification_and_replay(today: list[str]) -> None:
    shown = "\n".join(today)
    for line in (
        "timeout 1/2",
        "ran out of retries",
        "replay --incident",
        "lottery  failed, exhausted",
    ):
        assert line in shown
