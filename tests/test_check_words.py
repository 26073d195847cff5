"""The check of words finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.check_words import EXCEPTIONS, ROOT, check


def found(root: Path, name: str, text: str) -> list[str]:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(check(root))


@pytest.mark.parametrize(
    ("text", "word", "plain"),
    [
        ("A person is told.", "told", "notified"),
        ("the command that mends it", "mends", "fix"),
        ("Whoever emits", "Whoever", "anybody who"),
        ("It has to be idempotent.", "has to be", "must be"),
    ],
)
def test_a_word_on_a_page_is_named_with_its_line(
    tmp_path: Path, text: str, word: str, plain: str
) -> None:
    (line,) = found(tmp_path, "docs/alerts.md", f"# Alerts\n\n{text}\n")
    assert line == f"docs/alerts.md:3: {word!r}: write {plain!r} or rephrase"


@pytest.mark.parametrize(
    "text",
    ['complain("nobody is told")', 'complain(\n"nobody is "\n"told")', 'f"{name} is told"'],
)
def test_a_message_is_looked_at_wherever_it_is(tmp_path: Path, text: str) -> None:
    (line,) = found(tmp_path, "eventctl/run/sweep.py", text + "\n")
    assert "'told'" in line


@pytest.mark.parametrize("text", ['"""Say who is told."""', "# who is told", "x = 1  # told"])
def test_docstrings_and_comments_are_checked(tmp_path: Path, text: str) -> None:
    (line,) = found(tmp_path, "eventctl/run/sweep.py", f"{text}\n")
    assert line.startswith("eventctl/run/sweep.py:1: 'told'")


def test_a_part_of_another_word_is_no_word(tmp_path: Path) -> None:
    assert found(tmp_path, "README.md", "recommended, amend, tendering, told_at\n") == []


def test_the_checkout_has_none_and_no_exception_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(check(ROOT)) == []
    for exception in list(EXCEPTIONS):
        monkeypatch.delitem(EXCEPTIONS, exception)
        assert list(check(ROOT)), f"nothing needs {exception}"
        monkeypatch.undo()
