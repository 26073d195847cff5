"""An SVG of bars: one panel for each race, drawn by hand, so that it needs no library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.race import Result

WIDTH, LABELS, ROW, TITLE, GAP = 900, 350, 22, 26, 18
_BARS = WIDTH - LABELS - 120

OURS, PEER, LIMIT = "#2f6fab", "#b0b0b0", "#d8b365"


def draw(results: Sequence[Result]) -> str:
    """Return the plot: bars to the median, and a line over the middle half of the rounds."""
    parts: list[str] = []
    y = GAP + ROW
    for result in results:
        if len(result.figures) > 1 and result.race.unit in ("ms", "/s"):
            parts += _panel(result, y)
            y += TITLE + ROW * len(result.figures) + GAP
    legend = [("eventctl", OURS), ("peer", PEER), ("limit", LIMIT)]
    key = "".join(
        f'<rect x="{10 + 110 * i}" y="8" width="14" height="12" fill="{colour}"/>'
        f'<text x="{30 + 110 * i}" y="18">{word}</text>'
        for i, (word, colour) in enumerate(legend)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}"'
        f' viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="12" fill="#222">\n'
        f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>\n{key}\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _panel(result: Result, top: int) -> list[str]:
    unit = result.race.unit
    better = "more is better" if unit == "/s" else "less is better"
    parts = [
        f'<text x="10" y="{top + 14}" font-weight="bold">'
        f"{escape(result.race.title)} ({unit}; {better})</text>"
    ]
    longest = max(result.quartiles(label)[1] for label in result.figures)
    for row, label in enumerate(result.figures):
        y = top + TITLE + row * ROW
        median = result.median(label)
        low, high = (LABELS + _BARS * edge / longest for edge in result.quartiles(label))
        width = max(1.0, _BARS * median / longest)
        parts += [
            f'<text x="{LABELS - 8}" y="{y + 12}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{ROW - 6}"'
            f' fill="{_colour(result, label)}"/>',
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 8}" y2="{y + 8}" stroke="#222"/>',
            f'<text x="{max(high, LABELS + width) + 6:.1f}" y="{y + 12}">{median:,.0f}</text>'
            if median >= 100
            else f'<text x="{max(high, LABELS + width) + 6:.1f}" y="{y + 12}">{median:.1f}</text>',
        ]
    return parts


def _colour(result: Result, label: str) -> str:
    if label.startswith("limit"):
        return LIMIT
    ours = "eventctl" in label or any(label in (g.ours, g.against) for g in result.race.goals)
    return OURS if ours and not label.startswith("huey") else PEER
