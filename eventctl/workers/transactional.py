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
from eventctl.workers.handlers import End, words


class Exact:
    """The worker's own connection to the store, for transactional handlers."""

    def __init__(
        self,
        config: Config,
        run: Callable[[Handler, Delivery, object], End],
        output_of: Callable[[Delivery], str],
    ) -> None:
        """`run` runs a handler with a connection; `output_of` returns what it has written."""
        self._config = config
        self._run = run
        self._output_of = output_of
        self._database: Database | None = None

    def run(self, handler: Handler, delivery: Delivery) -> tuple[End, bool]:
        """Run a handler in a transaction; return how it ended, and whether that is committed."""
        if self._database is None:
            self._database = database(self._config.store)
        opened = self._database
        self._driver, self._has_run = opened.driver, False
        try:
            return opened.once(lambda tx: self._work(tx, handler, delivery)), True
        except _RolledBack as undone:
            return undone.end, False
        except self._driver.Error as error:
            opened.close()
            if not self._has_run:
                # The store was locked for too long: the handler has not run.
                return End(Outcome.NOT_STARTED), False
            # Whether the commit succeeded shows in the claim: it is finished once.
            return End(Outcome.FAILED, f"its transaction failed: {words(error)}"), False

    def _work(self, tx: Transaction, handler: Handler, delivery: Delivery) -> End:
        tx.execute("SAVEPOINT eventctl")
        begin = time.monotonic()
        end = self._run(handler, delivery, tx.connection)
        self._has_run = True
        if end.outcome != Outcome.SUCCEEDED:
            raise _RolledBack(end)
        try:
            # The savepoint exists as long as the transaction that we began.
            tx.execute("RELEASE SAVEPOINT eventctl")
        except self._driver.Error:
            wrong = (
                "a transactional handler must not commit or roll back by itself:"
                " current().connection is committed when it returns"
            )
            raise _RolledBack(End(Outcome.FAILED, wrong)) from None
        if delivery.id == REHEARSED:
            raise _RolledBack(end)
        took = int((time.monotonic() - begin) * 1000)
        said = self._output_of(delivery) if handler.log else ""
        result = Result(delivery, Outcome.SUCCEEDED, took, output=said)
        if finish_in(tx, [(result, Verdict(State.DONE))], os.uname().nodename):
            raise _RolledBack(End(Outcome.LOST, "its claim was taken over while it ran"))
        return end


class _RolledBack(Exception):
    """The transaction must be rolled back; `end` is how the handler ended."""

    def __init__(self, end: End) -> None:
        self.end = end
