"""docs/tutorial.md, typed as its readers type it, shows what it says."""

from __future__ import annotations

from pathlib import Path

from tests.support.howto import HowTo


def test_the_four_stages(tmp_path: Path) -> None:
    page = HowTo("../tutorial.md", tmp_path, {"~/tutorial": "~/shop", "/tutorial/": "/shop/"})
    page.follow(codes={"./order.sh": 1, "sleep 2": 1})
    assert (page.shop / "mails.txt").read_text() == "user A\nuser B\n"
    assert (page.shop / "coupons.txt").read_text() == "user A\nuser B\n"
