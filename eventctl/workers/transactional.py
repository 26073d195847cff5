"""Exactly once: a handler's own writes and its `done` in one transaction of the store.

Run in the worker. The handler is given the connection, with a transaction open on it;
when it returns, the delivery is finished on the same connection, only if it still
carries its claim, and both are committed together, or neither.
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
        """Run a handler in a transaction; return how it ended, and whether the store
        has it already.
        """
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
                # The store was locked for too long: the handler has not been run.
                return End(Outcome.NOT_STARTED), False
            # Whether a commit came through is for the claim to say: it is finished once.
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
            # It is there as long as the transaction is that we have begun.
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
    """Nothing of it may be committed."""
