"""The check of imports finds what it is there to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.check_imports import violations


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"__init__.py": "", "errors.py": "", **files}.items():
        path = root / "eventctl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    "text",
    [
        "from eventctl.run.sweep import f\n",
        "import eventctl.run.sweep as s\n",
        "from eventctl.run import sweep\n",
        "from eventctl import run\n",
        "def f():\n    import eventctl.run.sweep  # lazy: x\n",
    ],
)
def test_an_import_of_a_folder_above_is_named_with_its_line(tmp_path: Path, text: str) -> None:
    (line,) = violations(tree(tmp_path, {"state/folder.py": text}))
    number = text.count("\n")
    assert line == f"eventctl/state/folder.py:{number}: state imports run, which is above it"


def test_a_folder_may_import_itself_and_what_is_below(tmp_path: Path) -> None:
    files = {
        "cli/app.py": "from eventctl.cli.context import f\nfrom eventctl.errors import X\n",
        "store/claims.py": "from eventctl.store import database\nfrom eventctl import config\n",
    }
    assert list(violations(tree(tmp_path, files))) == []


def test_a_relative_import_is_named(tmp_path: Path) -> None:
    (line,) = violations(tree(tmp_path, {"state/folder.py": "from ..run import sweep\n"}))
    assert line.startswith("eventctl/state/folder.py:1: a relative import")


def test_a_folder_that_is_not_in_the_house_is_named(tmp_path: Path) -> None:
    (line,) = violations(tree(tmp_path, {"helpers.py": ""}))
    assert line.startswith("eventctl/helpers.py:1: helpers is not in the house")


def test_nothing_inside_imports_the_public_face(tmp_path: Path) -> None:
    (line,) = violations(tree(tmp_path, {"state/folder.py": "from eventctl import emit\n"}))
    assert line == "eventctl/state/folder.py:1: state imports __init__, which is above it"


def test_an_import_inside_a_function_says_why(tmp_path: Path) -> None:
    text = "def f():\n    import json\n\n\ndef g():\n    import json  # lazy: few need it\n"
    (line,) = violations(tree(tmp_path, {"state/folder.py": text}))
    assert line.startswith("eventctl/state/folder.py:2: an import inside a function")
