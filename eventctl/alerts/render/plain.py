"""The report as text, for 80 columns: printed, and the plain part of a mail."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import excerpts, summary, wording
from eventctl.store.incidents import Incident

_WIDTH = 78


def text(digest: Digest) -> str:
    """Return the whole report, ending in a line feed."""
    full = digest.incidents[: wording.FULL]
    parts = [_top(digest)]
    parts += [_incident(digest, number, each) for number, each in enumerate(full, start=1)]
    parts += _rest(digest)
    return "\n\n".join(parts) + "\n"


def _top(digest: Digest) -> str:
    lines = _wrap(wording.subject(digest))
    if len(digest.incidents) > 1:
        lines += _wrap(wording.overview(digest))
    return "\n".join(lines)


def _incident(digest: Digest, number: int, incident: Incident) -> str:
    lines = [
        "-" * _WIDTH,
        *_wrap(f"{number}. {wording.headline(incident)}", hanging="   "),
        *_wrap(wording.error(incident), indent="   "),
        "",
        *(
            line
            for label, value in wording.facts(incident)
            for line in _wrap(f"{label:<9} {value}", indent="   ", hanging=" " * 13)
        ),
        "",
    ]
    for what, command in summary.steps(digest, incident):
        lines += [*_wrap(what, indent="   "), *([f"     {command}"] if command else [])]
    for title, quoted in excerpts.quoted(incident):
        # Each line from outside is marked, so that none looks like one of ours.
        lines += ["", f"   {title}", *(f"   | {line}".rstrip() for line in quoted)]
    return "\n".join(lines)


def _rest(digest: Digest) -> Iterator[str]:
    brief, uncounted = wording.rest(digest)
    if brief:
        yield "\n".join(["-" * _WIDTH, "Also:", *(f"  - {line}" for line in brief)])
    if uncounted:
        yield "\n".join(_wrap(uncounted))
    if brief:
        yield f"List all open incidents:\n     {wording.command_line(digest, 'alerts')}"


def _wrap(line: str, *, indent: str = "", hanging: str | None = None) -> list[str]:
    return textwrap.wrap(
        line,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
