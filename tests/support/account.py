"""An account in the store's own database, and handlers that write to it exactly once."""

from __future__ import annotations

import re

from tests.support import fire
from tests.support.project import Project

HANDLERS = """
import os, signal, time
from pathlib import Path

import eventctl
import journal

HERE = Path(__file__).parent


def execute(sql, *values):
    connection = eventctl.current().connection
    cursor = connection.cursor()
    mark = "?" if "sqlite3" in type(connection).__module__ else "%s"
    cursor.execute(sql.replace("?", mark), values)
    return cursor


def add(value):
    # Wrong by itself if it is run twice: nothing but the transaction helps.
    execute("UPDATE app_account SET balance = balance + ?", value)
    execute("INSERT INTO app_ledger (event, amount) VALUES (?, ?)", eventctl.current().id, value)


def deposit(amount, *rest):
    with journal.run():
        add(amount)


def fails_after(amount):
    add(amount)
    raise RuntimeError("after its writes")


def discards(amount):
    add(amount)
    raise eventctl.Discard("not wanted")


def later(amount):
    add(amount)
    raise eventctl.RetryLater("10m")


def exits(amount):
    add(amount)
    raise SystemExit(3)


def commits(amount):
    add(amount)
    eventctl.current().connection.commit()


def rolls_back(amount):
    add(amount)
    eventctl.current().connection.rollback()


def begins_anew(amount):
    execute("COMMIT")
    execute("BEGIN")
    add(amount)


def bad_statement(amount):
    add(amount)
    execute("INSERT INTO nowhere VALUES (1)")


def forks(amount):
    add(amount)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


async def asynchronous(amount):
    import asyncio
    add(amount)
    await asyncio.sleep(0)
    add(-amount)
    await asyncio.sleep(0)
    add(amount)


def emits(amount):
    add(amount)
    eventctl.emit("noted", amount, connection=eventctl.current().connection)
    if eventctl.current().attempt == 1:
        raise RuntimeError("the first time")


def ordinary(*args):
    assert eventctl.current().connection is None
    with journal.run():
        pass


def holds(amount):
    with journal.run():
        attempt = eventctl.current().attempt
        add(amount)
        (HERE / f"held.{attempt}").touch()
        while attempt < 3 and not (HERE / f"go.{attempt}").exists():
            time.sleep(0.005)


def kills(amount, step, whom):
    # Ends the worker, or who forked it, right before the store's step-th statement,
    # those of `add` included; -2 is before all, -1 is when it returns, 0 is after its
    # commit, before anybody is notified.
    import eventctl.workers.worker
    from eventctl.store.transaction import Transaction

    def die(*args):
        os.kill(os.getpid() if whom == "worker" else os.getppid(), signal.SIGKILL)
        time.sleep(60)

    def counted(self, *args):
        if next(steps) == step:
            die()
        return kills.plain(self, *args)

    steps = iter(range(1, 1000))
    kills.plain = getattr(kills, "plain", Transaction.execute)
    first = eventctl.current().attempt == 1
    Transaction.execute = counted if first else kills.plain
    if first and step == 0:
        eventctl.workers.worker._Worker._answer = die
    if first and step == -2:
        die()
    add(amount)
    if first and step == -1:
        die()
"""

TRANSACTIONAL = re.findall("^(?:async )?def (\\w+)\\(amount", HANDLERS, re.MULTILINE)


def write(project: Project, sweep: str = "") -> None:
    """Write the project, and an account of 0 in the store's own database."""
    exact = {
        name: f'{{ call = "handlers:{name}", transactional = true }}' for name in TRANSACTIONAL
    }
    plain = {"noted": '"handlers:ordinary"', "ordinary": '"handlers:ordinary"'}
    fire.write(project, exact | plain, code=HANDLERS, sweep=sweep)
    project.run("sweep")
    project.execute("CREATE TABLE app_account (balance INTEGER NOT NULL)")
    project.execute("CREATE TABLE app_ledger (event INTEGER NOT NULL, amount INTEGER NOT NULL)")
    project.execute("INSERT INTO app_account VALUES (0)")


def balance(project: Project) -> int:
    """Return the account's balance, which the ledger has to agree with."""
    found = project.value("SELECT balance FROM app_account")
    assert isinstance(found, int)
    assert project.value("SELECT COALESCE(SUM(amount), 0) FROM app_ledger") == found
    return found
