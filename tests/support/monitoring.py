"""What a monitor reads: a line of Nagios, and metrics of Prometheus."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.project import Project

LINE = re.compile(r"EVENTCTL (OK|WARNING|CRITICAL|UNKNOWN) - ([^|\n]+)(?: \| ([^|\n]+))?\n")

DATUM = re.compile(r"(\w+)=(U|[\d.]+)(s?);([\d.]*);([\d.]*);0")

CODES = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}


def check(project: Project, *args: str) -> tuple[str, str, dict[str, str]]:
    """Return what `check` says: its level, its words, and its perfdata's values by name."""
    done = project.run("check", *args, check=None)
    found = LINE.fullmatch(done.stdout)
    assert found, done
    level, words, perfdata = found.groups()
    assert done.returncode == CODES[level], done
    assert done.stderr == ""
    values = {}
    for datum in (perfdata or "").split():
        parts = DATUM.fullmatch(datum)
        assert parts, datum
        values[parts[1]] = parts[2]
    return level, words, values


def families(path: Path) -> list[Metric]:
    """Return the metrics in a file, read by Prometheus' own parser."""
    return list(text_string_to_metric_families(path.read_text(encoding="utf-8")))


def values_of(path: Path) -> dict[tuple[str, str], float]:
    """Return the values by name, and by the handler (and state) that they are of; each has a store
    beside.
    """
    assert all(sample.labels["store"] for family in families(path) for sample in family.samples)
    return {
        (
            sample.name,
            "/".join(text for label, text in sorted(sample.labels.items()) if label != "store"),
        ): sample.value
        for family in families(path)
        for sample in family.samples
    }
