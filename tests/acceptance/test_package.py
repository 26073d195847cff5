"""The package: built, checked as an index checks it, and installed in an empty home."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import eventctl
from tests.support import needs
from tests.support.checkout import CHECKOUT

BIN = Path(sys.executable).parent


def tool(name: str) -> str:
    found = BIN / name
    if not found.exists():
        needs.missing(f"{name} is not installed (scripts/setup tests)")
    return str(found)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The sdist, and the wheel that is built from it."""
    tool("pyproject-build")
    folder = tmp_path_factory.mktemp("dist")
    argv = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*argv, str(CHECKOUT)], check=True, timeout=300, capture_output=True)
    return sorted(folder.iterdir())


def test_it_is_what_an_index_takes(built: list[Path]) -> None:
    argv = [tool("twine"), "check", "--strict", *map(str, built)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_what_is_in_it(built: list[Path]) -> None:
    sdist, wheel = sorted(built, key=lambda path: path.suffix, reverse=False)
    with tarfile.open(sdist) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    for wanted in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "CHANGELOG.md"):
        assert wanted in names
    assert {"docs/json.md", "tests/conftest.py", "scripts/setup", "eventctl/py.typed"} <= names
    with zipfile.ZipFile(wheel) as packed_wheel:
        files = packed_wheel.namelist()
        (metadata,) = (name for name in files if name.endswith(".dist-info/METADATA"))
        text = packed_wheel.read(metadata).decode()
    assert "eventctl/py.typed" in files
    assert all(name.startswith("eventctl") for name in files)
    assert "Description-Content-Type: text/markdown" in text
    assert "# eventctl" in text.partition("\n\n")[2]


def test_there_is_one_version() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert project["version"] == eventctl.__version__


@pytest.mark.parametrize("kind", [".whl", ".tar.gz"])
def test_pipx_installs_it_in_an_empty_home(built: list[Path], tmp_path: Path, kind: str) -> None:
    (package,) = (path for path in built if path.name.endswith(kind))
    kept = {k: v for k, v in os.environ.items() if k.startswith(("PIP_", "SSL_", "http", "HTTP"))}
    env = {**kept, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    argv = [tool("pipx"), "install", "--python", sys.executable, str(package)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode and re.search(r"No matching distribution|ConnectionError", done.stderr):
        needs.missing("eventctl's dependencies cannot be downloaded")
    assert done.returncode == 0, done.stderr

    def run(*words: str) -> str:
        argv = [str(tmp_path / ".local" / "bin" / "eventctl"), *words]
        return subprocess.run(
            argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    assert run("--version").splitlines()[0] == f"eventctl {eventctl.__version__}"
    run("init", "--yes")
    assert run("emit", "purchased", "user A", "5000") == "1\n"
    assert "\tpurchased\tprocessed\t1/1\t" in run("list")
    # A driver is named as it can be had: eventctl itself may be on no index.
    (tmp_path / "events.toml").write_text('[store]\nurl = "mysql://u@127.0.0.1/x"\n')
    with pytest.raises(subprocess.CalledProcessError) as refused:
        run("list")
    assert "-m pip install -U 'PyMySQL" in refused.value.stderr
    assert "eventctl[" not in refused.value.stderr
