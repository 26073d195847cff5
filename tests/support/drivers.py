"""Both drivers for MySQL: a test that uses `driver` runs with each of them, and only with it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.support import needs

BOTH = ("mysqlclient", "PyMySQL")
_MODULES = {"mysqlclient": "MySQLdb", "PyMySQL": "pymysql"}


def only(name: str, folder: Path) -> dict[str, str]:
    """Return the environment in which eventctl finds this driver only."""
    if importlib.util.find_spec(_MODULES[name]) is None:
        needs.missing(f"{name} is not installed (pip install {name})")
    for other in BOTH:
        if other != name:
            hidden = folder / f"{_MODULES[other]}.py"
            hidden.write_text("raise ImportError('hidden by the test')\n")
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(params=BOTH)
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of one driver, in `eventctl`'s variables."""
    folder = tmp_path / "hidden"
    folder.mkdir()
    return only(request.param, folder)
