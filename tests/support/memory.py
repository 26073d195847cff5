"""How much memory a command, or one of its workers, needs at the most."""

from __future__ import annotations

import json
import sys

from tests.support.project import Project

MOST_MEMORY = 60.0
"""MiB that a sweep may need more with 100,000 deliveries due than with none."""

_MEASURED = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
sys.stderr.write(f"{usage.ru_maxrss}\\n")
sys.exit(process.returncode)
"""


def peak_memory(project: Project, *args: str) -> float:
    """Return how many MiB `eventctl ARGS`, or one of its workers, needs at the most."""
    done = project.run(*args, wrapper=(sys.executable, "-c", _MEASURED), timeout=300)
    return int(done.stderr.splitlines()[-1]) / 1024


def memory_with_much_due(project: Project, count: int = 100_000) -> tuple[float, float]:
    """Return the peak memory of a sweep with nothing due, and with `count` deliveries due."""
    project.write(
        '[events]\nquick = ["quick"]\n[handlers]\nquick = "handlers:quick"\n',
        "def quick(*args):\n    return None\n",
    )
    before = peak_memory(project, "sweep")
    line = json.dumps({"name": "quick", "args": ["user A", 5000]}) + "\n"
    project.run("emit", "-q", "--batch", "-", input=line * count, timeout=300)
    after = peak_memory(project, "sweep", "--max-time", "5s")
    assert project.value("SELECT COUNT(*) FROM eventctl_delivery WHERE state = 'done'") > 100
    return before, after
