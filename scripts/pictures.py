"""Draw the pictures of the README: a real run on a terminal, as SVG for light and dark pages.

    make pictures

A service is down, and a person is notified. Paths and the host's name are those of an example;
everything else is what eventctl printed.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.support.shell import COLUMNS, on_terminal

DOCS = Path(__file__).resolve().parents[1] / "docs"

_TOML = """\
[events]
purchased = ["giveCoupon", "lottery"]

[defaults]
retry = { attempts = 2, delay = "2s", jitter = 0 }

[handlers]
giveCoupon = "shop:give_coupon"
lottery = "shop:lottery"
"""

_SHOP = """\
def give_coupon(user, amount):
    print("a coupon for", user)


def lottery(user, amount):
    raise ConnectionError("the lottery does not answer")
"""

_STEPS = (
    'eventctl emit purchased "user A" 5000',
    "eventctl list",
    "eventctl sweep",
    "eventctl show 1",
)
"""What is typed. The retry becomes due before the sweep."""

_SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<title>eventctl: emit, list, sweep and show in a terminal</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-ligatures: none;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""

_LIGHT = TerminalTheme(
    (255, 255, 255),
    (31, 35, 40),
    [
        (36, 41, 47), (180, 30, 40), (17, 99, 41), (125, 78, 0),
        (9, 105, 218), (130, 80, 223), (27, 124, 131), (87, 96, 106),
    ],
)  # fmt: skip
_DARK = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        (110, 118, 129), (255, 123, 114), (63, 185, 80), (210, 153, 34),
        (121, 192, 255), (210, 168, 255), (86, 212, 221), (230, 237, 243),
    ],
)  # fmt: skip
THEMES = {"light": _LIGHT, "dark": _DARK}


def main() -> None:
    """Write both pictures."""
    shown = record()
    for name, theme in THEMES.items():
        path(name).write_text(draw(shown, theme), encoding="utf-8")
        print(path(name))


def path(theme: str) -> Path:
    """Return the file of the picture in this theme."""
    return DOCS / f"terminal-{theme}.svg"


def record() -> str:
    """Type the steps in a new folder; return what the terminal showed, with its colours."""
    with tempfile.TemporaryDirectory(prefix="eventctl-pictures.") as name:
        home = Path(name).resolve()
        shop = home / "shop"
        shop.mkdir()
        (shop / "events.toml").write_text(_TOML)
        (shop / "shop.py").write_text(_SHOP)
        shown = ""
        for step in _STEPS:
            if step == "eventctl sweep":
                time.sleep(2)
            shown += f"\x1b[1m$ {step}\x1b[0m\n{_typed(step, shop)}\n"
    program = Path(sys.executable).parent / "eventctl"
    for ours, theirs in (
        (str(program), "/opt/eventctl/bin/eventctl"),
        (str(home), "/home/you"),
        (os.uname().nodename, "web1"),
    ):
        shown = shown.replace(ours, theirs)
    return shown.rstrip()


def _typed(command: str, folder: Path) -> str:
    """Run a command on a terminal; return what it showed."""
    _, shown = on_terminal(
        ["bash", "-c", command],
        folder,
        {
            "HOME": str(folder.parent),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        },
    )
    return shown


def draw(shown: str, theme: TerminalTheme) -> str:
    """Return the SVG of a terminal's content."""
    console = Console(
        record=True,
        width=COLUMNS,
        file=open(os.devnull, "w"),
        force_terminal=True,
        legacy_windows=False,
    )
    with console.file:
        for line in shown.split("\n"):
            console.print(Text.from_ansi(line), overflow="fold", highlight=False)
        svg = console.export_svg(
            title="eventctl", theme=theme, code_format=_SVG, unique_id="terminal"
        )
    return re.sub(r"[ \t]+$", "", svg, flags=re.M)


if __name__ == "__main__":
    main()
