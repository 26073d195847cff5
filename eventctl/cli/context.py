"""The context of every command: the configuration and the store, opened when needed."""

from __future__ import annotations

import os
from functools import cached_property

from eventctl import config as configuration
from eventctl.config import Needs
from eventctl.config.model import Config
from eventctl.errors import ConfigError
from eventctl.format.messages import complain

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from eventctl.store.database import Database


class Context:
    """One command line's context; click hands it on as `ctx.obj`."""

    def __init__(self, config: str | None, needs: Needs = Needs.TO_RECORD) -> None:
        self.option = config
        """The value of --config."""
        self._needs = needs

    @cached_property
    def config(self) -> Config:
        """The configuration, read when first used.

        Raises ConfigError. A mistake in a part that recording does not need is reported, and stops
        nothing.
        """
        config = configuration.load(configuration.find(self.option), self._needs)
        if config.mistakes:
            first, *others = config.mistakes
            more = f" (and {len(others)} more: see eventctl doctor)" if others else ""
            complain(f"{first}{more}")
        if os.isatty(2):  # cron would mail it every minute
            for line in configuration.concerns(config.path):
                complain(line)
        return config

    @cached_property
    def path(self) -> str | None:
        """The path of events.toml; None if there is none."""
        try:
            return configuration.find(self.option)
        except ConfigError:
            return None

    def open(self) -> Database:
        """Return the store, ready for use; close it, or use it as a context manager."""
        from eventctl.store.connect import open_store  # lazy: few runs need it

        return open_store(self.config)

    def command(self, words: str) -> str:
        """Return a command to type next, with the same configuration."""
        return configuration.command(self.path, words)
