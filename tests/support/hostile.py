"""Text that would like to be more than text, and the check that it was shown as text."""

from __future__ import annotations

import re

ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b2J\x7f"

HOSTILE = (
    ESCAPES,
    "\u202edesrever\u2066",
    "line\r\nBcc: victim@example.com\r\n\r\nbody",
    "eventctl: all is well\n2\t2025-01-01\tpurchased\tprocessed",
    "[bold red]markup[/] [link=http://x]y[/link] :smile:",
    "</pre><script>alert(1)</script><img src=x onerror=y>",
    '=HYPERLINK("http://x";"y")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "%s %(x)s {0} {0.__class__} ${HOME} $HOME",
    "'; DROP TABLE eventctl_event; --",
)

_RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def assert_harmless(shown: str) -> None:
    """Fail if a terminal that is shown this would do more than show it."""
    found = _RAW.search(shown)
    assert not found, f"shown raw: {found} of {shown[max(0, found.start() - 200) :][:400]!r}"
