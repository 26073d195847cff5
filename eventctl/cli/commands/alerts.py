"""`eventctl alerts`: list incidents, and who was notified of them."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from eventctl.alerts import channels
from eventctl.alerts.incident import sample
from eventctl.cli import names as known
from eventctl.cli.context import Context
from eventctl.cli.options import Whole, flag, handler_option
from eventctl.cli.output.formats import iso, print_json, print_row
from eventctl.config.model import KINDS, Alert
from eventctl.errors import EXIT_DONE, EXIT_FAILED, ChannelError, UsageError
from eventctl.format.messages import complain
from eventctl.format.text import printable
from eventctl.format.time import duration
from eventctl.store import claims
from eventctl.store.incidents import FOR_EVER, Incident
from eventctl.store.pauses import Kind
from eventctl.store.queries import incidents

_LATEST = 50
"""How many ended incidents are shown by default."""


@click.group(invoke_without_command=True)
@flag("--all", "with_ended", help="Also list ended incidents, last.")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    metavar="KIND",
    multiple=True,
    help="Only this kind: outage, exhausted, discarded, failed, held, 'set aside', late or"
    " emit-failed. May be repeated, like --handler.",
)
@handler_option("--handler", "handlers", multiple=True, help="Only incidents of this handler.")
@click.option(
    "--limit",
    type=Whole(min=0),
    metavar="N",
    default=_LATEST,
    help=f"At most this many ended incidents; 0: all.  [default: {_LATEST}]",
)
@flag("--json", "as_json", help="Print JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    with_ended: bool,
    kinds: tuple[str, ...],
    handlers: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> int:
    """List incidents, and who was notified of them.

    Failures of one handler with one cause form one incident, from the first failure until
    all of them are resolved. Without options, the open incidents are listed, newest first.
    In a pipe, each line is one incident: id, state, kind, handler, since, until, count,
    error, and who was notified, separated by tabs.

    `eventctl alerts test` sends a test message through each channel.

    \b
    Examples:
      eventctl alerts
      eventctl alerts --all --json | jq -r '.[] | select(.count > 10) | .id'
      eventctl alerts test slack
    """
    if ctx.invoked_subcommand is not None:
        return EXIT_DONE

    context: Context = ctx.obj
    with context.open() as database:
        known.require(context.config, Kind.HANDLER, handlers, database)
        now = claims.now(database)
        chosen: dict[str, Any] = {"kinds": kinds, "handlers": handlers}
        found = incidents.incidents(database, **chosen)
        if with_ended:
            found += incidents.incidents(database, **chosen, ended=True, limit=limit)
    if as_json:
        print_json([incident_json(each) for each in found])
    elif not found:
        complain("no incident matches" if with_ended or kinds or handlers else "nothing is wrong")
    elif sys.stdout.isatty():
        from eventctl.cli.output.incident_lines import print_incidents  # lazy: for terminals

        print_incidents(found, now, {channel.name for channel in context.config.channels})
    else:
        for each in found:
            sent = (f"{n.channel} {iso(n.sent_at)}" for n in each.notifications if n.state)
            print_row(
                each.key,
                _state(each),
                each.kind,
                each.handler,
                iso(each.opened_at),
                iso(each.ended_at),
                each.count,
                each.error,
                ", ".join(sent),
            )
    return EXIT_DONE


def incident_json(incident: Incident) -> dict[str, Any]:
    """Return an incident for `--json`."""
    is_for_ever = incident.silent_until is not None and incident.silent_until >= FOR_EVER
    return {
        "id": incident.key,
        "state": _state(incident),
        "kind": incident.kind,
        "handler": incident.handler,
        "error": incident.error,
        "fingerprint": incident.fingerprint,
        "count": incident.count,
        "attempts": incident.attempts,
        "eventNames": incident.names,
        "events": incident.event_ids,
        "since": iso(incident.opened_at),
        "last": iso(incident.last_at),
        "ended": iso(incident.ended_at),
        "silentUntil": "end" if is_for_ever else iso(incident.silent_until),
        "notified": [
            {
                "channel": sent.channel,
                "as": sent.state,
                "at": iso(sent.sent_at),
                "times": sent.times,
                "error": sent.error,
            }
            for sent in incident.notifications
        ],
    }


def _state(incident: Incident) -> str:
    return "open" if incident.is_open else "ended"


@command.command("test")
@click.argument("wanted", metavar="[NAME]...", nargs=-1)
@click.pass_obj
def test(context: Context, wanted: tuple[str, ...]) -> int:
    """Send a test message through each channel.

    With NAMEs, only through those channels. Prints the result for each channel, and exits
    with 1 if one did not accept the message. A channel's name is the `name` in its
    [[alerts]], or else its type, such as slack; [report] is "report".

    \b
    Examples:
      eventctl alerts test
      eventctl alerts test report slack
    """
    by_name = {channel.name: channel for channel in context.config.channels}
    for name in wanted:
        if name not in by_name:
            there = ", ".join(by_name) or "none"
            raise UsageError(f"no channel {name!r} in events.toml; there are: {there}")
    if not by_name:
        raise UsageError("no channel: events.toml has no [[alerts]], and [report] print is false")
    accepted = [_try(context, by_name[name]) for name in dict.fromkeys(wanted or by_name)]
    return EXIT_DONE if all(accepted) else EXIT_FAILED


def _try(context: Context, channel: Alert) -> bool:
    """Send a test message through one channel, print the result, return whether it was accepted."""
    name, begin = printable(channel.name), time.monotonic()
    try:
        warnings = channels.send(channel, sample(context.config))
    except ChannelError as error:
        sys.stdout.write(f"{name}: not accepted: {printable(str(error))}\n")
        return False
    for warning in warnings:
        complain(warning)
    sys.stdout.write(f"{name}: accepted, in {duration(time.monotonic() - begin)}\n")
    return True
