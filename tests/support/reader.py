"""Who follows the documentation: an ordinary user with an empty home."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.shell import Typist

NAME, _GROUP = "nobody", "nogroup"

TOML = """
[events]
purchased = ["note"]
[handlers]
note = { command = ["true"] }
[store]
url = "sqlite:///events.db"
"""


@contextmanager
def reader(path: Path | str = "") -> Iterator[Typist]:
    """Give an ordinary user with an empty home, and remove it in the end."""
    wrapper: tuple[str, ...] = ()
    home = Path(tempfile.mkdtemp(prefix="eventctl-home."))
    if os.geteuid() == 0:
        shutil.chown(home, NAME, _GROUP)
        wrapper = ("setpriv", f"--reuid={NAME}", f"--regid={_GROUP}", "--clear-groups")
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    try:
        yield Typist(home, wrapper, str(path), pip)
    finally:
        shutil.rmtree(home)


def shop(user: Typist, url: str = "sqlite:///events.db") -> Path:
    """Make the folder that each how-to begins in, with an event `purchased`."""
    folder = user.home / "shop"
    folder.mkdir()
    file = folder / "events.toml"
    file.touch(0o600)  # the URL may have a password
    file.write_text(TOML.replace("sqlite:///events.db", url))
    user.owns(folder, file)
    return folder


def installs(user: Typist, block: str) -> None:
    """Type an installation; skip the test where there are no packages to be had."""
    code, shown = user.types(block, timeout=300)
    text = "\n".join(shown)
    if code and re.search("No matching distribution|ENOTFOUND|EAI_AGAIN|ECONNREFUSED", text):
        pytest.skip("no packages can be had here")
    assert code == 0, text


def npm_install(user: Typist, block: str) -> None:
    """Type it. What npm would then compile for a minute, the set-up of the tests has compiled."""
    installs(user._replace(env={"npm_config_ignore_scripts": "true"}), block)
    for driver in (user.home / "shop" / "node_modules").glob("better-sqlite3"):
        if not (driver / "build").exists():
            shutil.rmtree(driver)
            shutil.copytree(needs.node_modules() / driver.name, driver)
