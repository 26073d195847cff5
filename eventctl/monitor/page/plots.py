"""Plots as inline SVG. They stretch with the page; what is to be read stands in HTML around
them, so that it has the page's own size on a phone, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from eventctl.format.text import printable

_HEIGHT = 100
_STRETCHED = 'preserveAspectRatio="none" focusable="false"'


def data(text: str) -> str:
    """Return text from outside as HTML."""
    return escape(printable(text))


def stacked(layers: Mapping[str, Sequence[int]], name: str, told: Callable[[int], str]) -> str:
    """Return bars over time, one layer upon the other, each of a CSS class.

    `name` says what it shows; `told(bar)` what a bar says when it is pointed at.
    """
    heights = [sum(values) for values in zip(*layers.values(), strict=True)]
    most = max(heights, default=0) or 1
    parts = []
    for bar, height in enumerate(heights):
        if not height:
            continue
        rects, top = [], float(_HEIGHT)
        for css, values in layers.items():
            if values[bar]:
                tall = values[bar] / most * _HEIGHT
                top -= tall
                rects.append(
                    f'<rect class="{css}" x="{bar + 0.08:.2f}" y="{top:.2f}" width="0.84"'
                    f' height="{tall:.2f}"/>'
                )
        parts.append(f"<g><title>{data(told(bar))}</title>{''.join(rects)}</g>")
    return (
        f'<svg role="img" aria-label="{data(name)}" viewBox="0 0 {len(heights)} {_HEIGHT}"'
        f" {_STRETCHED}>{_floor(len(heights))}{''.join(parts)}</svg>"
    )


def spark(values: Sequence[int], css: str, name: str) -> str:
    """Return a plot in a line's height; `name` says what it shows."""
    most = max(values, default=0) or 1
    # What is there at all is to be seen.
    rects = "".join(
        f'<rect x="{bar + 0.06:.2f}" y="{_HEIGHT - tall:.1f}" width="0.88" height="{tall:.1f}"/>'
        for bar, value in enumerate(values)
        if value
        for tall in (max(12.0, value / most * _HEIGHT),)
    )
    return (
        f'<svg role="img" aria-label="{data(name)}" viewBox="0 0 {len(values)} {_HEIGHT}"'
        f' {_STRETCHED}>{_floor(len(values))}<g class="{css}">{rects}</g></svg>'
    )


def bar(share: float, css: str) -> str:
    """Return one bar that lies; its value stands beside it, so nobody needs it read out."""
    return (
        f'<svg aria-hidden="true" viewBox="0 0 100 10" {_STRETCHED}>'
        '<rect class="empty" width="100" height="10"/>'
        f'<rect class="{css}" width="{max(1.0, share * 100):.1f}" height="10"/></svg>'
    )


def _floor(width: int) -> str:
    return f'<rect class="empty" y="{_HEIGHT - 1}" width="{width}" height="1"/>'
