"""Send incidents as Slack messages by an incoming webhook, laid out with Block Kit.

Text from outside is in rich text elements, in which Slack interprets no markup and no mentions. In
the few markup elements it is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from eventctl.alerts.incident import Digest
from eventctl.alerts.render import excerpts, summary, wording
from eventctl.alerts.transport import http
from eventctl.config.model import Alert
from eventctl.format.text import shorten
from eventctl.store.incidents import Incident

SEPARATE = True

Block = dict[str, Any]

# Slack refuses a message that exceeds one of its limits: 150 characters in a header,
# 3,000 in a text, 2,000 in a field, 50 blocks, and about 13,000 in all of them.
_HEADER, _FIELD, _COMMAND = 150, 2000, 2000
_NOTIFICATION = 600
_TRACEBACK_LINES, _TRACEBACK = 12, 1500
_SUMMARY_LINES, _LINE = 20, 140
_SIGNS = {"critical": "🔴", "warning": "🟠", "info": "🔵", "ended": "⚪", "resolved": "✅"}


def send(alert: Alert, digest: Digest, *, seconds: float = http.SECONDS) -> None:
    """Post the message; status 200 and "ok" mean accepted.

    Raises ChannelError for any other answer, or none.
    """
    server = http.Server(alert)
    answer = server.post(json.dumps(message(digest)).encode("ascii"), seconds=seconds)
    if answer.status != 200 or answer.body.strip() != b"ok":
        raise server.refused(answer)


def message(digest: Digest) -> dict[str, Any]:
    """Return the message as sent."""
    incidents = digest.incidents
    blocks = _one(digest, incidents[0]) if len(incidents) == 1 else _summary(digest)
    said = summary.subject(digest)
    if len(incidents) == 1:
        said += f": {wording.error(incidents[0])}"
    return {
        "text": _escaped(shorten(said, _NOTIFICATION)),
        "blocks": [_header(digest), *blocks, _footer(digest)],
    }


def _header(digest: Digest) -> Block:
    (first, *more) = digest.incidents
    said = summary.subject(digest) if more else wording.headline(first)
    return {
        "type": "header",
        "text": _plain(shorten(f"{_SIGNS[summary.gravest(digest)]} {said}", _HEADER)),
    }


def _one(digest: Digest, incident: Incident) -> Iterator[Block]:
    yield _rich(_text("rich_text_quote", wording.error(incident)))
    yield {"type": "section", "fields": [_field(*each) for each in wording.facts(incident)]}
    yield _commands(digest)
    if lines := excerpts.traceback(incident):
        end = summary.end_of("\n".join(lines[-_TRACEBACK_LINES:]), _TRACEBACK)
        yield _rich(_bold("Traceback, its end:"), _code(end))


def _summary(digest: Digest) -> Iterator[Block]:
    lines = summary.lines(digest, _SUMMARY_LINES, _LINE)
    items = [_text("rich_text_section", line) for line in lines]
    yield _rich({"type": "rich_text_list", "style": "bullet", "elements": items})
    yield _commands(digest)


def _commands(digest: Digest) -> Block:
    elements = []
    for what, command in summary.commands(digest):
        elements.append(_bold(what))
        if command:
            elements.append(_code(shorten(command, _COMMAND)))
    return _rich(*elements)


def _footer(digest: Digest) -> Block:
    said = f"eventctl on {wording.name(digest.host)}"
    if len(digest.incidents) == 1:
        said += f" · incident {digest.incidents[0].key}"
    return {"type": "context", "elements": [_plain(shorten(said, _FIELD))]}


def _field(label: str, value: str) -> Block:
    text = shorten(f"*{label}*\n{_escaped(value)}", _FIELD)
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}


def _rich(*elements: Block) -> Block:
    return {"type": "rich_text", "elements": list(elements)}


def _bold(text: str) -> Block:
    return _text("rich_text_section", text, style={"bold": True})


def _code(text: str) -> Block:
    return _text("rich_text_preformatted", text)


def _text(kind: str, text: str, **more: Any) -> Block:
    return {"type": kind, "elements": [{"type": "text", "text": text, **more}]}


def _escaped(text: str) -> str:
    """Return text as data in Slack's markup: escaped brackets cannot form a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
