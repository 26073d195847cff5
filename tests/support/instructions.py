"""The instructions that a program takes: valgrind counts them, whatever else the machine does."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PLAIN = Path(__file__).parents[2] / "benchmarks/contenders/plain_emit.py"
"""A script that records one event without eventctl, click or any check."""


def count(
    valgrind: str, command: Sequence[object], folder: Path, environment: Mapping[str, str]
) -> int:
    """Run a program; return the instructions of its own process, and not of what it forks."""
    with tempfile.NamedTemporaryFile(dir=folder) as log:
        process = subprocess.Popen(
            [
                *(valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null"),
                *(f"--log-file={log.name}", *map(str, command)),
            ],
            cwd=folder,
            # Else the order of sets of texts differs from run to run.
            env={**environment, "PYTHONHASHSEED": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        code = process.wait(timeout=120)
        text = Path(log.name).read_text()
    found = re.search(rf"=={process.pid}== Collected : (\d+)", text)
    if code or not found:
        raise RuntimeError(f"{command} exited with {code}:\n{text}")
    return int(found[1])
