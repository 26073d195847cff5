"""The check of import ranks finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.check_imports import entry_of, violations


def rank(module: str) -> int:
    entry = entry_of(module)
    assert entry is not None
    return entry[0]


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"__init__.py": "", "errors.py": "", **files}.items():
        path = root / "eventctl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("locks.py", "from eventctl.sweep import f\n"),
        ("locks.py", "import eventctl.sweep as s\n"),
        ("locks.py", "from eventctl import sweep\n"),
        ("locks.py", "from . import sweep\n"),
        ("store/claims.py", "from ..sweep import f\n"),
        ("locks.py", "def f():\n    import eventctl.sweep\n"),
    ],
)
def test_an_import_of_a_higher_rank_is_named_with_its_line(
    tmp_path: Path, name: str, text: str
) -> None:
    (line,) = violations(tree(tmp_path, {"sweep.py": "", "store/__init__.py": "", name: text}))
    number = text.count("\n")
    assert line.startswith(f"eventctl/{name}:{number}: rank ")
    assert line.endswith(f"imports eventctl.sweep, of rank {rank('eventctl.sweep')}")


def test_its_own_rank_is_open_within_a_package_only(tmp_path: Path) -> None:
    files = {
        "cli/__init__.py": "from . import show\nfrom eventctl.errors import X\n",
        "cli/show.py": "from eventctl.cli.output import table\n",
        "cli/output.py": "",
        "spool.py": "from eventctl import outbox\n",
        "outbox.py": "",
    }
    assert list(violations(tree(tmp_path, files))) == [
        f"eventctl/spool.py:1: imports eventctl.outbox, of its own rank {rank('eventctl.spool')}"
    ]


def test_a_module_without_a_rank_is_named(tmp_path: Path) -> None:
    (line,) = violations(tree(tmp_path, {"helpers.py": ""}))
    assert line.startswith("eventctl/helpers.py:1: eventctl.helpers has no rank")


def test_nothing_inside_imports_the_public_face(tmp_path: Path) -> None:
    (line,) = violations(tree(tmp_path, {"locks.py": "from eventctl import emit\n"}))
    mine, face = rank("eventctl.locks"), rank("eventctl")
    assert line == f"eventctl/locks.py:1: rank {mine} imports eventctl, of rank {face}"
