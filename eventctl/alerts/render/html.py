"""The report as HTML for mail readers: inline styles only, and readable without them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import excerpts, summary, wording
from eventctl.store.incidents import Incident

_COLOURS = {
    "critical": "#b3261e",
    "warning": "#8a5a00",
    "info": "#1f5fa8",
    "resolved": "#1e6b34",
    "ended": "#5a5a5a",
}
_SANS = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_MONO = "font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace"
_WRAP = "overflow-wrap:anywhere;word-break:break-word"
_BODY = (
    f"margin:0;padding:16px;background:#ffffff;color:#1c1c1c;{_SANS};"
    "font-size:16px;line-height:1.45"
)
_COLUMN = f"max-width:760px;margin:0 auto;{_WRAP}"
_TITLE = "font-size:20px;line-height:1.3;margin:0 0 8px"
_NAME = "font-size:17px;line-height:1.35;margin:0 0 4px"
_LINE = "margin:0 0 8px"
_LABEL = "margin:14px 0 4px;font-weight:bold"
_COMMAND = (
    f"margin:0;padding:10px 12px;background:#1c2530;color:#ffffff;border-radius:4px;{_MONO};"
    "font-size:14px;line-height:1.4;white-space:pre-wrap;overflow-wrap:anywhere"
)
_QUOTE = (
    f"margin:0;padding:8px 12px;background:#f2f2f0;color:#1c1c1c;border-radius:4px;{_MONO};"
    "font-size:12px;line-height:1.45;white-space:pre-wrap;overflow-wrap:anywhere"
)
_FLAG = re.compile(r"(?<= )--[a-z-]+")


def page(digest: Digest) -> str:
    """Return the whole report as one HTML document."""
    full = digest.incidents[: wording.FULL]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_escaped(wording.subject(digest))}</title></head>",
            f'<body style="{_BODY}"><div style="{_COLUMN}">',
            *_top(digest),
            *(line for incident in full for line in _incident(digest, incident)),
            *_rest(digest),
            "</div></body></html>",
            "",
        ]
    )


def _top(digest: Digest) -> Iterator[str]:
    yield f'<h1 style="{_TITLE}">{_data(wording.subject(digest))}</h1>'
    if len(digest.incidents) > 1:
        yield f'<p style="{_LINE}">{_data(wording.overview(digest))}</p>'


def _incident(digest: Digest, incident: Incident) -> Iterator[str]:
    colour = _COLOURS[_severity(incident)]
    edge = f"margin:20px 0 0;padding:2px 0 2px 14px;border-left:4px solid {colour}"
    yield f'<div style="{edge}">'
    yield f'<h2 style="{_NAME}">{_data(wording.headline(incident))}</h2>'
    yield f'<p style="{_LINE};color:{colour}">{_data(wording.error(incident))}</p>'
    facts = "<br>".join(f"{label}: {_data(value)}" for label, value in wording.facts(incident))
    yield f'<p style="{_LINE}">{facts}</p>'
    for what, command in summary.steps(digest, incident):
        yield from _command(what, command)
    for title, lines in excerpts.quoted(incident):
        yield f'<p style="{_LABEL}">{title}</p>'
        text = _escaped("\n".join(lines))
        yield f'<pre style="{_QUOTE}">{text}</pre>'
    yield "</div>"


def _severity(incident: Incident) -> str:
    if not incident.is_open:
        return wording.over(incident)
    return "info" if incident.kind in wording.WITH_FIX else summary.severity(incident)


def _command(title: str, command: str) -> Iterator[str]:
    yield f'<p style="{_LABEL}">{_data(title)}</p>'
    if command:
        yield f'<pre style="{_COMMAND}">{breakable(command)}</pre>'


def breakable(command: str) -> str:
    """Return a command as HTML that wraps on a phone, but never within a flag."""
    return _FLAG.sub(r'<span style="white-space:nowrap">\g<0></span>', _escaped(command))


def _rest(digest: Digest) -> Iterator[str]:
    brief, uncounted = wording.rest(digest)
    if brief:
        yield f'<h2 style="{_NAME};margin-top:24px">Also</h2><ul>'
        yield from (f"<li>{_data(line)}</li>" for line in brief)
        yield "</ul>"
    if uncounted:
        yield f'<p style="{_LINE}">{_data(uncounted)}</p>'
    if brief:
        yield from _command("List all open incidents:", wording.command_line(digest, "alerts"))


def _data(text: str) -> str:
    """Return text as data: escaped, and isolated in its direction."""
    return f"<bdi>{_escaped(text)}</bdi>"


def _escaped(text: str) -> str:
    return escape(text, quote=False)
