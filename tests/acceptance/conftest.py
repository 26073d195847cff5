"""Who follows the documentation: an ordinary user, with eventctl as the README installs it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.acceptance import test_readme, test_setup_page
from tests.support.checkout import CHECKOUT
from tests.support.reader import installs, reader
from tests.support.shell import Typist


@pytest.fixture(scope="session")
def installed() -> Iterator[Typist]:
    """The reader of the README, who has typed what it says below "Get it"; with MySQL's driver."""
    with reader("/usr/local/sbin") as user:
        bundle = user.home / "eventctl.bundle"
        subprocess.run(["git", "bundle", "create", "-q", bundle, "HEAD"], cwd=CHECKOUT, check=True)
        bundle.chmod(0o644)
        ((get, _),) = test_readme.typed("Get it")
        (address,) = re.findall(r"https://\S+", get)
        installs(user, get.replace(address, str(bundle)))
        (driver,) = test_setup_page.blocks("MySQL", "sh")
        installs(user, driver)
        yield user._replace(path=f"{user.home}/eventctl/bin")


@pytest.fixture
def user(installed: Typist) -> Iterator[Typist]:
    """An ordinary user with an empty home, whose PATH has eventctl."""
    with reader(installed.path) as user:
        yield user
