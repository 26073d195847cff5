"""`make demo` tells its story to the end, or says what was unexpected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.checkout import CHECKOUT
from tests.support.look import script
from tests.support.project import Finished


def demo(folder: Path, programs: Path) -> Finished:
    """Run scripts/demo with `programs` first on PATH, and `folder` for all that it makes."""
    return subprocess.run(
        [CHECKOUT / "scripts" / "demo"],
        env={
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            # Neither a reader's own configuration nor his state may come in.
            "EVENTCTL_CONFIG": "/nowhere/events.toml",
            "SHOP_STATE": "/nowhere",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def made_beside_events_toml() -> set[str]:
    places = (CHECKOUT.glob("events.db*"), (CHECKOUT / "examples").glob("shop-state/**/*"))
    return {f"{path} {path.stat().st_mtime_ns}" for place in places for path in place}


def test_the_story_is_reported_to_its_end(tmp_path: Path) -> None:
    before = made_beside_events_toml()
    done = demo(tmp_path, Path(sys.executable).parent)
    assert done.returncode == 0, done.stdout
    lines = iter(done.stdout.splitlines())
    for sent in (
        '$ eventctl emit purchased "user A" 5000',
        "eventctl: lottery failed on purchased 1: ConnectionError: the lottery does not answer",
        "lottery  done, 3/3 attempts",
        '$ eventctl emit refunded "user B" "order 7"',
        "eventctl: 1 delivery ran out of retries (shipLabel)",
        "$ eventctl replay 2",
        "examples/shop-state/audit/2.json",
        "examples/shop-state/coupons/1.json",
        "examples/shop-state/draws/1.json",
        "examples/shop-state/labels/2.json",
        "# Everything as expected. Nothing was lost, and nothing ran twice.",
    ):
        assert any(line.startswith(sent) for line in lines), f"{sent!r} not there\n{done.stdout}"
    assert list(tmp_path.iterdir()) == [], "the demo's folder is still there"
    assert made_beside_events_toml() == before, "the demo left something in the checkout"


def test_a_story_that_is_not_as_reported_fails(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    script(programs / "eventctl", "#!/bin/sh\necho 1\n")
    done = demo(tmp_path, programs)
    assert done.returncode == 1
    assert "demo: unexpected: the event is recorded" in done.stdout
