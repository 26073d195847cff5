"""The page's pieces of HTML: text as data, tables, and plots as inline SVG.

Plots stretch with the page; their text is HTML around them, so that it keeps its size on a phone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape

from eventctl.format.text import printable

Cell = tuple[str, str]
"""A CSS class and HTML."""

_HEIGHT = 100


def data(text: str, *, lines: bool = False) -> str:
    """Return text from outside as HTML; `lines` keeps its line breaks."""
    return escape(printable(text, lines=lines))


def table(
    css: str, heads: Sequence[str], rows: Iterable[tuple[str, Sequence[Cell]]]
) -> Iterator[str]:
    """Yield a table; each row has a header and cells, all in HTML."""
    # Screen readers need the roles, since CSS turns the rows into cards.
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
    """Return stacked bars over time, one CSS class for each layer.

    `name` says what the plot shows; `words(bar)` is a bar's tooltip. A bar has at least `least`
    percent of the height.
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
