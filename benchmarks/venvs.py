"""Virtual environments: eventctl's own, as `pip install` makes it, and one for each peer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.race import say

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "benchmarks" / ".venvs"

PEERS = {
    "huey": ("huey>=3,<4", "peewee", "mysqlclient"),
    "persistqueue": ("persist-queue>=1,<2",),
    "celery": ("celery>=5.4,<6",),
    "django": ("django-tasks-db>=0.13,<1", "django-tasks"),
}


def python(name: str) -> Path:
    """Return a peer's Python; makes its environment where there is none."""
    found = FOLDER / name / "bin" / "python"
    stamp = FOLDER / name / "wanted"
    wanted = " ".join(PEERS[name])
    if not stamp.exists() or stamp.read_text() != wanted:
        say(f"making {found.parent.parent.relative_to(ROOT)} ({wanted})")
        _make(name)
        _pip(name, *PEERS[name])
        stamp.write_text(wanted)
    return found


def eventctl() -> Path:
    """Install the project as its users do, as it is now, and return its Python."""
    if not (FOLDER / "eventctl").exists():
        _make("eventctl")
        _pip("eventctl", f"{ROOT}[mysqlclient]")
    else:
        _pip("eventctl", "--force-reinstall", "--no-deps", str(ROOT))
    return FOLDER / "eventctl" / "bin" / "python"


def version(name: str, package: str) -> str:
    """Return the version of a package that is installed there."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run(
        [FOLDER / name / "bin" / "python", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _make(name: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER / name], check=True)


def _pip(name: str, *wanted: str) -> None:
    python = str(FOLDER / name / "bin" / "python")
    command = [python, "-m", "pip", "install", "--quiet", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"pip could not install {' '.join(wanted)}:\n{done.stderr}")
