"""A MySQL or MariaDB store: its version, and the settings that the promises rest on."""

from __future__ import annotations

from collections.abc import Mapping

from eventctl.setup.doctor.findings import Findings, ok, problem, warning
from eventctl.store.database import Database
from eventctl.store.transaction import Transaction

_FLUSH = "innodb_flush_log_at_trx_commit"
_USUAL = {
    _FLUSH: "1",
    "version": "version unknown",
    "log_bin": "OFF",
    "sync_binlog": "1",
    "binlog_format": "ROW",
    "max_allowed_packet": "67108864",
    "read_only": "OFF",
    "wsrep_on": "OFF",
}
"""The settings that are looked at, and what is taken for them where a server has none."""


def check_server(opened: Database) -> Findings:
    """Check the server's settings. That it has SKIP LOCKED was seen to as it was opened."""

    def ask(tx: Transaction) -> tuple[dict[str, str], dict[str, str]]:
        names = ", ".join(f"'{name}'" for name in _USUAL)
        settings = tx.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
        status = tx.rows("SHOW GLOBAL STATUS LIKE 'wsrep_%'")
        return _USUAL | dict(settings), dict(status)

    settings, status = opened.transaction(ask)
    yield ok(f"{opened.describe()}, {settings['version']}")
    yield from judge(settings, opened.store.max_args)
    yield from judge_cluster(settings, status)


def judge(found: Mapping[str, str], max_args: int) -> Findings:
    """Say what is wrong with a server's settings. `max_args` is in bytes."""
    get = {**_USUAL, **found}
    flush, logs, packet = get[_FLUSH], get["log_bin"] == "ON", int(get["max_allowed_packet"])
    everywhere = "and in the server's configuration file"
    if flush not in ("1", "3"):  # 3 is MariaDB's, and flushes as well
        text = f"{_FLUSH} is {flush}: a power cut loses what emit has just confirmed"
        yield warning(text, f"SET GLOBAL {_FLUSH} = 1, {everywhere}")
    if logs and get["sync_binlog"] == "0":
        text = "sync_binlog is 0: after a power cut the server may drop what its binary log has not"
        yield warning(text, f"SET GLOBAL sync_binlog = 1, {everywhere}")
    if logs and get["binlog_format"] == "STATEMENT":
        text = "binlog_format is STATEMENT, with which InnoDB refuses READ COMMITTED"
        yield problem(text, f"SET GLOBAL binlog_format = 'MIXED' (or 'ROW'), {everywhere}")
    if get["read_only"] not in ("OFF", "0"):
        yield problem("the server is read-only", "name the primary server in [store] url")
    if packet < 2 * max_args:
        text = f"max_allowed_packet is {packet:,} bytes, and an event's args may have {max_args:,}"
        fix = f"SET GLOBAL max_allowed_packet = {4 * max_args}, or lower [store] max_args"
        yield warning(text, fix)


def judge_cluster(settings: Mapping[str, str], status: Mapping[str, str]) -> Findings:
    """Say whether a Galera node takes writes; nothing where it is none."""
    if settings.get("wsrep_on") != "ON":
        return
    node = f"{status.get('wsrep_local_state_comment')}, one of {status.get('wsrep_cluster_size')}"
    if status.get("wsrep_ready") == "ON":
        yield ok(f"a Galera node, {node}; ids have gaps there")
    else:
        fix = "name several nodes in [store] url, separated by commas; see SHOW STATUS LIKE"
        yield problem(f"a Galera node that takes no writes: {node}", f"{fix} 'wsrep%'")
