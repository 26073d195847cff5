"""What every command is given: the configuration, and the store, once they are needed."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from eventctl import config as configuration
from eventctl.config.model import Config

if TYPE_CHECKING:
    from eventctl.store.database import Database


class Context:
    """One command line's context; click hands it on as `ctx.obj`."""

    def __init__(self, config: str | None) -> None:
        self._option = config

    @cached_property
    def config(self) -> Config:
        """The configuration, read when it is first asked for. Raises ConfigError."""
        config = configuration.load(configuration.find(self._option))
        if os.isatty(2):  # cron would mail it each minute
            from eventctl.cli import complain

            for line in configuration.concerns(config.path):
                complain(line)
        return config

    def open(self) -> Database:
        """Return the store, ready for use; close it, or use it as a context manager."""
        from eventctl.store.connect import open_store

        return open_store(self.config)

    @property
    def prog(self) -> str:
        """How a person calls eventctl with this configuration again."""
        import shlex

        return f"eventctl --config {shlex.quote(str(self.config.path))}"
