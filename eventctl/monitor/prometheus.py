"""Metrics in Prometheus' text format, for node_exporter's textfile collector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from eventctl.config.model import KINDS
from eventctl.format.text import printable
from eventctl.monitor.health import Health
from eventctl.store.pauses import Kind

Labels = tuple[tuple[str, str], ...]
"""Pairs of name and value."""

Samples = Mapping[Labels, float]
"""Values by their labels."""

_HELP = {
    "eventctl_store_up": "Whether the store could be reached.",
    "eventctl_last_sweep_timestamp_seconds": "When the last sweep ended, by the store's clock.",
    "eventctl_last_sweep_duration_seconds": "How long the last sweep took.",
    "eventctl_backlog_deliveries": "Deliveries that are left to do.",
    "eventctl_backlog_oldest_due_seconds": "For how long the oldest due delivery has waited; 0 if"
    " none is due.",
    "eventctl_failed_deliveries": "Deliveries that failed and need a person.",
    "eventctl_held": "Deliveries, outbox rows and spool files that wait for a person to fix them.",
    "eventctl_spool_files": "Files that wait in this host's spool.",
    "eventctl_spool_oldest_seconds": "For how long the oldest of them has waited.",
    "eventctl_incidents_open": "Incidents of which something is not resolved yet.",
    "eventctl_alerts_unaccepted": "Alerts that a channel has not accepted yet.",
    "eventctl_alerts_unaccepted_oldest_seconds": "For how long the oldest of them has been"
    " waiting.",
    "eventctl_paused": "Handlers and events that are paused.",
    "eventctl_breakers_open": "Circuit breakers that are open.",
    "eventctl_breaker_open_since_timestamp_seconds": "Since when a handler's circuit breaker is"
    " open.",
}
"""What each metric means. All of them are gauges."""

_KINDS = [kind for kind in KINDS if kind != "emit-failed"]
"""Each has a value, even 0, because a missing series cannot be compared."""

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def metrics(health: Health | None, store: str) -> str:
    """Return the metrics; without `health`, only that the store cannot be reached.

    `store` is a label of each series: node_exporter accepts no duplicate series, not even in
    different files.
    """
    found = {"eventctl_store_up": _one(0)} if health is None else _measured(health)
    return "".join(
        f"# HELP {name} {_HELP[name]}\n# TYPE {name} gauge\n"
        + "".join(_lines(name, samples, store))
        for name, samples in found.items()
    )


def _lines(name: str, samples: Samples, store: str) -> Iterator[str]:
    for labels, value in samples.items():
        labelled = (*labels, ("store", store))
        shown = ",".join(f'{key}="{printable(text).translate(_ESCAPES)}"' for key, text in labelled)
        yield f"{name}{{{shown}}} {value:.15g}\n"


def _one(value: float) -> Samples:
    return {(): value}


def _by(label: str, values: Mapping[str, float]) -> Samples:
    return {((label, text),): value for text, value in values.items()}


def _measured(health: Health) -> dict[str, Samples]:
    """Return the samples of each metric."""
    found = {"eventctl_store_up": _one(1)}
    if sweep := health.sweep:
        took = sweep.ended_at - sweep.started_at
        found["eventctl_last_sweep_timestamp_seconds"] = _one(sweep.ended_at / 1000)
        found["eventctl_last_sweep_duration_seconds"] = _one(took / 1000)
    found["eventctl_backlog_deliveries"] = _backlog(health)
    found["eventctl_backlog_oldest_due_seconds"] = _one(health.oldest_due / 1000)
    found["eventctl_failed_deliveries"] = _by("handler", health.failed) or _one(0)
    found["eventctl_held"] = _one(health.held)
    if not health.spool.problem:
        found["eventctl_spool_files"] = _one(health.spool.files)
        found["eventctl_spool_oldest_seconds"] = _one(health.spool.oldest / 1000)
    open_ = {kind: health.incidents.get(kind, 0) for kind in _KINDS}
    found["eventctl_incidents_open"] = _by("kind", open_)
    unaccepted = {each.channel: each.count for each in health.unaccepted}
    found["eventctl_alerts_unaccepted"] = _by("channel", unaccepted) or _one(0)
    oldest = health.longest_unaccepted / 1000
    found["eventctl_alerts_unaccepted_oldest_seconds"] = _one(oldest)
    paused = Counter(each.kind for each in health.paused)
    found["eventctl_paused"] = _by("kind", {kind: paused[kind] for kind in Kind})
    found["eventctl_breakers_open"] = _one(len(health.breakers))
    if health.breakers:
        opened = {each.handler: each.opened_at / 1000 for each in health.breakers}
        found["eventctl_breaker_open_since_timestamp_seconds"] = _by("handler", opened)
    return found


def _backlog(health: Health) -> Samples:
    backlog = health.backlog
    kinds = {"pending": backlog.pending, "running": backlog.running, "held": backlog.held}
    found: dict[Labels, float] = {}
    for state, counts in kinds.items():
        for name, count in counts.items():
            found[("handler", name), ("state", state)] = count
        if not counts:
            found[(("state", state),)] = 0
    return found
