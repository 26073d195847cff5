"""The lines of a traceback or an output in a message: printable, and limited."""

from __future__ import annotations

from eventctl.alerts.render.wording import WITH_FIX
from eventctl.format.text import printable, shorten
from eventctl.store.incidents import Incident

_LINE_WIDTH = 120
_TRACEBACK = (6, 22)
_OUTPUT = (0, 12)


def quoted(incident: Incident) -> list[tuple[str, list[str]]]:
    """Return what a report quotes, each with a title: the traceback, and the output."""
    title = "One of them:" if incident.kind in WITH_FIX else "Latest output:"
    found = [("First traceback:", traceback(incident)), (title, output(incident))]
    return [(title, lines) for title, lines in found if lines]


def traceback(incident: Incident) -> list[str]:
    """Return the first and the last lines of the traceback."""
    if not incident.is_open:
        return []
    return _excerpt(incident.traceback, *_TRACEBACK)


def output(incident: Incident) -> list[str]:
    """Return the last lines of the handler's output, or of the last set-aside item."""
    if not incident.is_open or incident.output == incident.error:
        return []
    if incident.kind in WITH_FIX:  # a command that is cut cannot be pasted
        said = incident.output.removeprefix(f"{incident.error}\n")
        return _excerpt(said, *_OUTPUT, width=len(said))
    return _excerpt(incident.output, *_OUTPUT)


def _excerpt(text: str, head: int, tail: int, width: int = _LINE_WIDTH) -> list[str]:
    lines = printable(text, lines=True).expandtabs(4).strip("\n").split("\n")
    lines = [shorten(line.rstrip(), width) for line in lines]
    if len(lines) > head + tail:
        left_out = len(lines) - head - tail
        lines[head : head + left_out] = [f"… {left_out:,} lines left out …"]
    return lines if any(lines) else []
