"""The page's pieces of HTML: text as data, tables, and plots as inline SVG.

Plots stretch with the page; what is to be read is in HTML around them, so that it has the
page's own size on a phone, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape

from eventctl.format.text import printable

Cell = tuple[str, str]
"""A CSS class and HTML."""

_HEIGHT = 100


def data(text: str, *, lines: bool = False) -> str:
    """Return text from outside as HTML; with `lines` it keeps its lines."""
    return escape(printable(text, lines=lines))


def table(
    css: str, heads: Sequence[str], rows: Iterable[tuple[str, Sequence[Cell]]]
) -> Iterator[str]:
    """Yield a table; each row has a head and cells, all of them HTML."""
    # The roles are there for readers that lose them where CSS makes cards of the rows.
    cells = "".join(f'<th role="columnheader" scope="col">{head}</th>' for head in heads)
    yield f'<table class="{css}" role="table"><thead role="rowgroup"><tr role="row">{cells}</tr>'
    yield '</thead><tbody role="rowgroup">'
    for title, cells_of_row in rows:
        yield f'<tr role="row"><th role="rowheader" scope="row">{title}</th>'
        for head, (style, text) in zip(heads[1:], cells_of_row, strict=True):
            yield f'<td role="cell" class="{style}" data-label="{head}">{text}</td>'
        yield "</tr>"
    yield "</tbody></table>"


def bars(
    layers: Mapping[str, Sequence[int]],
    name: str,
    words: Callable[[int], str] | None = None,
    least: float = 0.0,
) -> str:
    """Return bars over time, one layer upon the other, each of a CSS class.

    `name` says what the plot shows; `words(bar)` what a bar says when it is pointed at. A bar
    has at `least` so many percent of the height.
    """
    heights = [sum(values) for values in zip(*layers.values(), strict=True)]
    most = max(heights, default=0) or 1
    parts = []
    for bar, height in enumerate(heights):
        rects, top = [], float(_HEIGHT)
        for css, values in layers.items():
            if values[bar]:
                tall = max(least, values[bar] / most * _HEIGHT)
                top -= tall
                rects.append(
                    f'<rect class="{css}" x="{bar + 0.08:.2f}" y="{top:.1f}" width="0.84"'
                    f' height="{tall:.1f}"/>'
                )
        title = f"<title>{data(words(bar))}</title>" if words else ""
        parts += [f"<g>{title}{''.join(rects)}</g>"] * (height > 0)
    return (
        f'<svg role="img" aria-label="{data(name)}" viewBox="0 0 {len(heights)} {_HEIGHT}"'
        ' preserveAspectRatio="none" focusable="false">'
        f'<rect class="empty" y="{_HEIGHT - 1}" width="{len(heights)}" height="1"/>'
        f"{''.join(parts)}</svg>"
    )
