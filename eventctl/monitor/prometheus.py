"""Metrics in Prometheus' text format, for node_exporter's textfile collector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from eventctl.config.model import KINDS
from eventctl.format.text import printable
from eventctl.monitor.health import Health
from eventctl.store.pauses import Kind

Samples = Mapping[tuple[tuple[str, str], ...], float]
"""Values by their labels, each a pair of name and value."""

_KINDS = [kind for kind in KINDS if kind != "emit-failed"]
"""Each has a value, even 0, because a missing series cannot be compared."""

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def metrics(health: Health | None, store: str) -> str:
    """Return the metrics; without `health`, only that the store cannot be reached.

    `store` is a label of each series: node_exporter accepts no duplicate series, not even in
    different files.
    """
    return "".join(
        f"# HELP {name} {help_}\n# TYPE {name} gauge\n" + "".join(_lines(name, samples, store))
        for name, help_, samples in _metrics(health)
    )


def _lines(name: str, samples: Samples, store: str) -> Iterator[str]:
    for labels, value in samples.items():
        labelled = (*labels, ("store", store))
        shown = ",".join(f'{key}="{printable(text).translate(_ESCAPES)}"' for key, text in labelled)
        yield f"{name}{{{shown}}} {value:.15g}\n"


def _metrics(health: Health | None) -> Iterator[tuple[str, str, Samples]]:
    up: Samples = {(): 0.0 if health is None else 1.0}
    yield "eventctl_store_up", "Whether the store could be reached.", up
    if health is None:
        return
    if health.sweep is not None:
        yield (
            "eventctl_last_sweep_timestamp_seconds",
            "When the last sweep ended, by the store's clock.",
            {(): health.sweep.ended_at / 1000},
        )
        yield (
            "eventctl_last_sweep_duration_seconds",
            "How long the last sweep took.",
            {(): (health.sweep.ended_at - health.sweep.started_at) / 1000},
        )
    yield "eventctl_backlog_deliveries", "Deliveries that are left to do.", _backlog(health)
    yield (
        "eventctl_backlog_oldest_due_seconds",
        "For how long the oldest due delivery has waited; 0 if none is due.",
        {(): health.oldest_due / 1000},
    )
    yield (
        "eventctl_failed_deliveries",
        "Deliveries that failed and need a person.",
        _by_handler(health.failed) or {(): 0.0},
    )
    yield (
        "eventctl_held",
        "Deliveries, outbox rows and spool files that wait for a person to fix them.",
        {(): float(health.held)},
    )
    if not health.spool.problem:
        yield (
            "eventctl_spool_files",
            "Files that wait in this host's spool.",
            {(): float(health.spool.files)},
        )
        yield (
            "eventctl_spool_oldest_seconds",
            "For how long the oldest of them has waited.",
            {(): health.spool.oldest / 1000},
        )
    yield (
        "eventctl_incidents_open",
        "Incidents of which something is not resolved yet.",
        {(("kind", kind),): float(health.incidents.get(kind, 0)) for kind in _KINDS},
    )
    yield (
        "eventctl_alerts_unaccepted",
        "Alerts that a channel has not accepted yet.",
        _unaccepted(health),
    )
    yield (
        "eventctl_alerts_unaccepted_oldest_seconds",
        "For how long the oldest of them has been waiting.",
        {(): health.longest_unaccepted / 1000},
    )
    yield (
        "eventctl_paused",
        "Handlers and events that are paused.",
        {(("kind", str(kind)),): float(_count(health, kind)) for kind in Kind},
    )
    yield (
        "eventctl_breakers_open",
        "Circuit breakers that are open.",
        {(): float(len(health.breakers))},
    )
    if health.breakers:
        yield (
            "eventctl_breaker_open_since_timestamp_seconds",
            "Since when a handler's circuit breaker is open.",
            {(("handler", each.handler),): each.opened_at / 1000 for each in health.breakers},
        )


def _backlog(health: Health) -> Samples:
    backlog = health.backlog
    kinds = {"pending": backlog.pending, "running": backlog.running, "held": backlog.held}
    found: dict[tuple[tuple[str, str], ...], float] = {}
    for state, by_handler in kinds.items():
        if not by_handler:
            found[(("state", state),)] = 0.0
        for handler, count in by_handler.items():
            found[(("handler", handler), ("state", state))] = float(count)
    return found


def _unaccepted(health: Health) -> Samples:
    return {(("channel", each.channel),): float(each.count) for each in health.unaccepted} or {
        (): 0.0
    }


def _count(health: Health, kind: Kind) -> int:
    return sum(each.kind == kind for each in health.paused)


def _by_handler(counts: Mapping[str, int]) -> Samples:
    return {(("handler", handler),): float(count) for handler, count in counts.items()}
