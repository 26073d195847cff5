"""A how-to of docs/howto, followed to the letter: files are written, shell blocks are typed.

An `sh` block is typed, and a `text` block right after it is what the terminal shows. Another block
below a line that ends with a file's name in backticks and a colon is that file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support import shell
from tests.support.checkout import CHECKOUT

FOLDER = CHECKOUT / "docs" / "howto"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_FILE = re.compile(r"`([\w./-]+)`:\n\n\Z")


def comparable(line: str) -> str:
    """Return a line without what differs from run to run."""
    return shell.comparable(_TIME.sub("WHEN", line))


class Step(NamedTuple):
    """One block: `file` is what it is written to, "" for others; `shown` is what a shell shows."""

    kind: str
    text: str
    file: str
    shown: list[str]


class HowTo:
    """A page, in the folder `shop` of a home: the project that its reader has."""

    def __init__(
        self, name: str, reader: Path | shell.Typist, swap: Mapping[str, str] | None = None
    ) -> None:
        """`reader` is who follows it, or their home. `swap` has what stands for something of the
        reader's own, such as a host's name.
        """
        self.page = (FOLDER / name).read_text(encoding="utf-8")
        for theirs, ours in (swap or {}).items():
            assert theirs in self.page, theirs
            self.page = self.page.replace(theirs, ours)
        self.reader = shell.Typist(reader) if isinstance(reader, Path) else reader
        self.shop = self.reader.home / "shop"
        self.shop.mkdir(parents=True, exist_ok=True)
        place = self.reader.home / ".place"
        place.write_text(str(self.shop))
        self.reader.owns(self.shop, place)
        self.steps = list(self._steps())

    def _steps(self) -> Iterator[Step]:
        found = list(_BLOCK.finditer(self.page))
        for block, following in zip(found, [*found[1:], None], strict=True):
            file = _FILE.search(self.page[: block.start()]) if block[1] != "sh" else None
            shown: list[str] = []
            if following and following[1] == "text":
                between = self.page[block.end() : following.start()]
                shown = following[2].splitlines() if not between.strip() else []
            if block[1] != "text":
                yield Step(block[1], block[2], file[1] if file else "", shown)

    def block(self, kind: str, words: str) -> str:
        """Return the one block of a kind that has these words in it."""
        (found,) = (step.text for step in self.steps if step.kind == kind and words in step.text)
        return found

    def follow(self, skip: Sequence[str] = (), codes: Mapping[str, int] | None = None) -> None:
        """Do all that the page says, but for blocks with one of the words in `skip`.

        A shell block ends with 0, or as `codes` says of one with certain words in it.
        """
        for step in self.steps:
            if any(words in step.text for words in skip):
                continue
            if step.file:
                self.write(step.file, step.text)
            elif step.kind == "sh":
                wanted = [code for words, code in (codes or {}).items() if words in step.text]
                self.type(step.text, step.shown, wanted[0] if wanted else 0)

    def write(self, file: str, text: str) -> None:
        """Write a file of the reader's."""
        path = self.shop / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            path.chmod(0o755)
        self.reader.owns(path.parent, path)

    def type(self, text: str, shown: Sequence[str] = (), code: int = 0) -> list[str]:
        """Type something; fail unless it ends so, and shows these lines, one after another."""
        ended, lines = self.reader.types(text)
        said = f"{text}\n--- {ended}\n" + "\n".join(lines)
        rest = iter([comparable(line) for line in lines])
        for line in shown:
            assert comparable(line) in rest, f"the page shows {line!r}\n{said}"
        assert ended == code, said
        return lines
