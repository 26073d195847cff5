"""`replay --backfill HANDLER`: add past events to a new handler."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rich.text import Text

from eventctl.cli import names, selection
from eventctl.cli.commands.replay_now import run_now
from eventctl.cli.context import Context
from eventctl.cli.output import tables
from eventctl.cli.output.formats import iso, print_json, print_row
from eventctl.cli.output.plan_table import plan_json
from eventctl.cli.output.progress import ProgressBar
from eventctl.errors import EXIT_DONE, EXIT_FAILED, UsageError
from eventctl.format.messages import complain
from eventctl.format.text import counted, printable
from eventctl.format.time import second
from eventctl.run import replay
from eventctl.store.database import Database
from eventctl.store.pauses import Kind
from eventctl.store.queries import operations
from eventctl.store.queries.operations import Head


@dataclass(slots=True)
class _Share:
    """What is added to the events with one name."""

    count: int
    first: Head
    last: Head


@dataclass(slots=True)
class Backfill:
    """The events without a delivery to a handler, and what to do with them."""

    context: Context
    database: Database
    handler: str
    ids: array[int] = field(default_factory=lambda: array("q"))
    """A million of them fit into 8 MB."""
    shares: dict[str, _Share] = field(default_factory=dict)

    def find(self, ids: Sequence[str], limit: int, chosen: dict[str, Any]) -> None:
        """Find the events with these ids, or the chosen ones."""
        if ids and (limit or any(chosen.values())):
            raise UsageError("replay takes ids or filters, not both")
        wanted = selection.selected(self.context.config, self.database, ids, chosen)
        names.require(self.context.config, Kind.HANDLER, [self.handler], None)
        if not (ids or wanted.events):
            wanted = replace(wanted, events=self._mapped())
        for page in operations.lacking(self.database, wanted, self.handler, limit):
            for head in page:
                self.ids.append(head.id)
                share = self.shares.setdefault(head.name, _Share(0, head, head))
                share.count += 1
                share.first = head  # they come newest first
        self.ids.reverse()

    def _mapped(self) -> tuple[str, ...]:
        config = self.context.config
        mapped = tuple(
            name for name, event in config.events.items() if self.handler in event.handlers
        )
        if not mapped:
            raise UsageError(
                f"no event in {config.path} names the handler {self.handler!r}: add it there, or"
                " say --event"
            )
        return mapped

    @property
    def _what(self) -> str:
        return f"{counted(len(self.ids), 'delivery')} to {printable(self.handler)}"

    def show(self, as_json: bool) -> int:
        """Print what would be added: for each event name the count, the first and the last."""
        if as_json:
            self._print_json(dry_run=True)
        elif self.shares and sys.stdout.isatty():
            self._show_table()
        else:
            for row in self._rows():
                name, *rest = row.values()
                print_row("add", name, self.handler, *rest)
        sys.stdout.flush()
        complain(f"would add {self._what}")
        self._list_paused()
        return EXIT_DONE

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "eventName": name,
                "count": share.count,
                "firstId": share.first.id,
                "firstAt": iso(share.first.created_at),
                "lastId": share.last.id,
                "lastAt": iso(share.last.created_at),
            }
            for name, share in self.shares.items()
        ]

    def _print_json(self, **done: Any) -> None:
        print_json(plan_json((), **{"ran": None, "backfill": self._rows(), **done}))

    def _show_table(self) -> None:
        table = tables.plain_table("event", "to add", "first", "when (UTC)", "last", "when (UTC)")
        for name, share in self.shares.items():
            cells = [printable(name), f"{share.count:,}"]
            for end in (share.first, share.last):
                cells += [str(end.id), second(end.created_at)]
            table.add_row(*map(Text, cells))
        for column in (1, 2, 4):
            table.columns[column].justify = "right"
        tables.console().print(table)

    def _list_paused(self) -> bool:
        """List what is paused; return whether anything is."""
        lines = selection.paused(self.database, [(name, self.handler) for name in self.shares])
        for line in lines:
            complain(line)
        return bool(lines)

    def run(self, yes: bool, now: bool, interval: float, verbose: bool, as_json: bool) -> int:
        """Add them after confirmation; with `now`, run them at once. Returns the exit code."""
        if not self.ids:
            complain(f"nothing to add: every matching event has a delivery to {self.handler}")
            if as_json:
                self._print_json()
            return EXIT_DONE
        lines = [f"{share.count:,} of {printable(name)}" for name, share in self.shares.items()]
        waits = self._list_paused()
        if not selection.confirmed(yes or len(self.ids) == 1, "add", self._what, lines):
            complain("nothing was changed")
            return EXIT_FAILED
        with ProgressBar("adding", len(self.ids)) as bar:
            added = replay.backfill_all(
                self.database, self.ids, self.handler, bar.advance, interval
            )
        missed = len(self.ids) - len(added)
        meanwhile = f" ({missed:,} already existed by then)" if missed else ""
        next_ = "" if now or waits else selection.will_run(len(added), interval)
        what = f"{counted(len(added), 'delivery')} to {printable(self.handler)}"
        complain(f"added {what}{meanwhile}{next_}")
        exit_code, ran = EXIT_DONE, None
        if now:
            exit_code, ran = run_now(
                self.context, self.database, added, interval=interval, verbose=verbose
            )
        if as_json:
            self._print_json(changed=len(added), missed=missed, ran=ran)
        return exit_code
