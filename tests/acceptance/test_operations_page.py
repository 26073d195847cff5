"""What docs/fixing.md has its readers type does what it says there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.checkout import CHECKOUT
from tests.support.shell import comparable, type_in

PAGE = CHECKOUT / "docs" / "fixing.md"

_PAIR = re.compile(r"^```sh\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)


def same(line: str) -> str:
    """Return a line without what differs from run to run."""
    line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "WHEN", line)
    return comparable(line.replace("/home/you/", "/").replace("fixing/", "shop/"))


def test_it_works_as_typed(tmp_path: Path) -> None:
    codes = []
    blocks = _PAIR.findall(PAGE.read_text(encoding="utf-8"))
    assert sum(bool(promised) for _, promised in blocks) == 9
    for block, promised in blocks:
        code, shown = type_in(block, tmp_path)
        codes.append(code)
        rest = iter([same(line) for line in shown])
        for line in promised.splitlines():
            came = "\n".join(shown)
            assert same(line) in rest, f"the page shows {line!r}, and this came of it:\n{came}"
    # The sweep exits with 1 where deliveries were given up.
    assert codes == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
