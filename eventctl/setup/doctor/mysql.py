"""A MySQL or MariaDB store: its version, and the settings that the promises require."""

from __future__ import annotations

from collections.abc import Mapping

from eventctl.setup.doctor.findings import Findings, ok, problem, warning
from eventctl.store.database import Database
from eventctl.store.transaction import Transaction

_FLUSH = "innodb_flush_log_at_trx_commit"
_NAMES = (
    *("version", _FLUSH, "log_bin", "sync_binlog", "binlog_format", "max_allowed_packet"),
    *("read_only", "wsrep_on"),
)


def check_server(opened: Database) -> Findings:
    """Check the server's settings. SKIP LOCKED was checked when it was opened."""

    def ask(tx: Transaction) -> tuple[dict[str, str], dict[str, str]]:
        names = ", ".join(f"'{name}'" for name in _NAMES)
        settings = tx.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
        status = tx.rows("SHOW GLOBAL STATUS LIKE 'wsrep_%'")
        return dict(settings), dict(status)

    settings, status = opened.transaction(ask)
    yield ok("store", f"{opened.describe()}, {settings.get('version', 'version unknown')}")
    yield from judge(settings, opened.store.max_args)
    yield from judge_cluster(settings, status)


def judge(settings: Mapping[str, str], max_args: int) -> Findings:
    """Yield the problems with a server's settings. `max_args` is in bytes."""
    everywhere = "and in the server's configuration file"
    flush = settings.get(_FLUSH, "1")
    if flush not in ("1", "3"):  # 3 exists in MariaDB only, and flushes too
        text = f"{_FLUSH} is {flush}: a power cut loses what emit has just confirmed"
        yield warning("store", text, f"SET GLOBAL {_FLUSH} = 1, {everywhere}")
    logs = settings.get("log_bin") == "ON"
    if logs and settings.get("sync_binlog", "1") == "0":
        text = "sync_binlog is 0: after a power cut the server may drop what its binary log has not"
        yield warning("store", text, f"SET GLOBAL sync_binlog = 1, {everywhere}")
    if logs and settings.get("binlog_format") == "STATEMENT":
        text = "binlog_format is STATEMENT, with which InnoDB refuses READ COMMITTED"
        fix = f"SET GLOBAL binlog_format = 'MIXED' (or 'ROW'), {everywhere}"
        yield problem("store", text, fix)
    if settings.get("read_only", "OFF") not in ("OFF", "0"):
        yield problem("store", "the server is read-only", "name the primary server in [store] url")
    packet = int(settings.get("max_allowed_packet", 2**30))
    if packet < 2 * max_args:
        text = f"max_allowed_packet is {packet:,} bytes, and an event's args may have {max_args:,}"
        fix = f"SET GLOBAL max_allowed_packet = {4 * max_args}, or lower [store] max_args"
        yield warning("store", text, fix)


def judge_cluster(settings: Mapping[str, str], status: Mapping[str, str]) -> Findings:
    """Yield whether a Galera node accepts writes; nothing for other servers."""
    if settings.get("wsrep_on") != "ON":
        return
    size, state = status.get("wsrep_cluster_size", "?"), status.get("wsrep_local_state_comment")
    if status.get("wsrep_ready") == "ON":
        yield ok("store", f"a Galera node, {state}, one of {size}; ids have gaps there")
    else:
        text = f"a Galera node that takes no writes: {state}, one of {size}"
        fix = (
            "name several nodes in [store] url, separated by commas; see SHOW STATUS LIKE 'wsrep%'"
        )
        yield problem("store", text, fix)
