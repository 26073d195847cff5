"""Exactly once: a handler's own writes and its `done` in one transaction of the store.

Runs in the worker. The handler gets the connection with an open transaction. When it returns, the
delivery is finished on the same connection, if it still carries its claim, and both are committed
together, or neither.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from eventctl.config.model import Config, Handler
from eventctl.models import REHEARSED, Delivery, Outcome, Result, State, Verdict
from eventctl.store.connect import database
from eventctl.store.database import Database
from eventctl.store.results import finish_in
from eventctl.store.transaction import Transaction
from eventctl.workers import handlers
from eventctl.workers.handlers import End


class Exact:
    """The worker's own connection to the store, for transactional handlers."""

    def __init__(
        self,
        config: Config,
        on_import: Callable[[], None],
        output_of: Callable[[Delivery], str],
    ) -> None:
        self._config = config
        self._on_import = on_import
        self._output_of = output_of
        self._database: Database | None = None

    def run(self, handler: Handler, delivery: Delivery) -> tuple[End, bool]:
        """Run a handler in a transaction; return how it ended, and whether that is committed."""
        if self._database is None:
            self._database = database(self._config.store)
        opened = self._database
        self._driver = opened.driver
        ended: list[End] = []
        try:
            opened.once(lambda tx: self._work(tx, handler, delivery, ended))
        except _RolledBack:
            return ended[0], False
        except opened.driver.Error as error:
            opened.close()
            if not ended:
                # The store was locked for too long: the handler has not run.
                return End(Outcome.NOT_STARTED), False
            # Whether the commit succeeded shows in the claim: it is finished once.
            return End(Outcome.FAILED, f"its transaction failed: {handlers.words(error)}"), False
        return ended[0], True

    def _work(
        self, tx: Transaction, handler: Handler, delivery: Delivery, ended: list[End]
    ) -> None:
        tx.execute("SAVEPOINT eventctl")
        begin = time.monotonic()
        end = handlers.run(handler, delivery, connection=tx.connection, on_import=self._on_import)
        ended.append(end)
        if end.outcome != Outcome.SUCCEEDED:
            raise _RolledBack
        try:
            # The savepoint exists as long as the transaction that we began.
            tx.execute("RELEASE SAVEPOINT eventctl")
        except self._driver.Error:
            ended[0] = End(
                Outcome.FAILED,
                "a transactional handler must not commit or roll back by itself:"
                " current().connection is committed when it returns",
            )
            raise _RolledBack from None
        if delivery.id == REHEARSED:
            raise _RolledBack
        took = int((time.monotonic() - begin) * 1000)
        said = self._output_of(delivery) if handler.log else ""
        result = Result(delivery, Outcome.SUCCEEDED, took, output=said)
        if finish_in(tx, [(result, Verdict(State.DONE))], os.uname().nodename):
            ended[0] = End(Outcome.LOST, "its claim was taken over while it ran")
            raise _RolledBack


class _RolledBack(Exception):
    """The transaction must be rolled back."""
