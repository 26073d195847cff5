"""MySQL over TLS, with both drivers: a server that is not trusted gets nothing from us."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import needs
from tests.support.drivers import driver
from tests.support.events_toml import mistakes, write
from tests.support.in_memory import Folders
from tests.support.look import status
from tests.support.mariadb import MariaDB
from tests.support.mysql import MySQL
from tests.support.project import Project
from tests.support.server import PASSWORD, Server

__all__ = ["driver"]  # a fixture

TOML = """
[events]
purchased = ["log"]

[handlers]
log = { command = ["/bin/true"] }
"""

_SELF_SIGNED = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    " -subj /CN={0} -keyout {0}.key -out {0}.pem"
)
_REQUEST = (
    "openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    " -subj /CN=db -keyout server.key -out server.csr"
)
_SIGN = (
    "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
    " -extfile names -out server.pem"
)


NEEDS_ANOTHER = (
    '[store] ssl = "required" does not protect the password with mysqlclient on MariaDB\'s library:'
    ' set ssl = "verify", or install PyMySQL'
)


class Tls(NamedTuple):
    """A server with TLS, whose certificate is signed by `ca` and for 127.0.0.1."""

    server: Server
    ca: Path
    other_ca: Path


@pytest.fixture(scope="module", params=[MariaDB, MySQL], ids=["mariadb", "mysql"])
def tls(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    server_folders: Folders,
) -> Iterator[Tls]:
    needs.program("openssl", "openssl")
    folder = tmp_path_factory.mktemp("tls")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for line in (_SELF_SIGNED.format("ca"), _SELF_SIGNED.format("other"), _REQUEST, _SIGN):
        subprocess.run(line.split(), cwd=folder, check=True, capture_output=True, timeout=60)
    options = [
        f"--ssl-ca={folder}/ca.pem",
        f"--ssl-cert={folder}/server.pem",
        f"--ssl-key={folder}/server.key",
    ]
    server = request.param(server_folders("tls"), options)
    try:
        server.start()
        # The server itself sees to it that no connection of ours is without TLS.
        server.sql("ALTER USER 'app'@'127.0.0.1' REQUIRE SSL")
        yield Tls(server, folder / "ca.pem", folder / "other.pem")
    finally:
        server.close()


@pytest.fixture
def shop(tls: Tls, tmp_path: Path) -> Iterator[Project]:
    """A project on the server with TLS."""
    project = Project(tmp_path / "shop", tls.server)
    try:
        yield project
    finally:
        project.close()


def ssl_of(tls: Tls, case: str) -> str:
    return {
        "required": 'ssl = "required"',
        "verified": f'ssl = "verify"\nssl_ca = "{tls.ca}"',
        "wrong CA": f'ssl = "verify"\nssl_ca = "{tls.other_ca}"',
        "CA of the system": 'ssl = "verify"',
    }[case]


@pytest.mark.parametrize("case", ["required", "verified"])
def test_all_goes_over_tls(shop: Project, driver: dict[str, str], tls: Tls, case: str) -> None:
    shop.write(TOML, store=ssl_of(tls, case))
    if case == "required" and "pymysql" in hidden(driver):
        refused_and_spooled(shop, driver, NEEDS_ANOTHER)
        driver = {}  # with both drivers, the one is used that can do it
        shop.run("sweep", env=driver)
        assert status(shop, 1) == 2
        return
    assert shop.run("emit", "purchased", env=driver).stdout == "1\n"
    assert shop.run("emit", "--defer", "purchased", env=driver).stdout == "2\n"
    shop.run("sweep", env=driver)
    assert (status(shop, 1), status(shop, 2)) == (2, 2)


@pytest.mark.parametrize("case", ["wrong CA", "CA of the system", "another name"])
def test_a_server_that_is_not_the_one_is_refused(
    shop: Project, driver: dict[str, str], tls: Tls, case: str
) -> None:
    shop.write(TOML, store=ssl_of(tls, "verified" if case == "another name" else case))
    if case == "another name":
        # Resolved to the same address; but the certificate is not for this name.
        shop.config.write_text(shop.config.read_text().replace("@127.0.0.1:", "@127.1:"))
    refused_and_spooled(shop, driver, 'is not the server that [store] ssl = "verify"')
    shop.write(TOML, store=ssl_of(tls, "verified"))
    shop.run("sweep", env=driver)
    assert status(shop) == 2


@pytest.mark.parametrize("ssl", ["required", "verify"])
def test_a_server_without_tls_is_refused(
    tmp_path: Path, servers: Callable[[str], Server], driver: dict[str, str], tls: Tls, ssl: str
) -> None:
    shop = Project(tmp_path / "plain", servers("mariadb"))
    shop.write(TOML, store=f'ssl = "{ssl}"')
    words = f'does not support TLS, and [store] ssl = "{ssl}" requires it: turn it on in the server'
    if ssl == "required" and "pymysql" in hidden(driver):
        words = NEEDS_ANOTHER
    refused_and_spooled(shop, driver, words)
    shop.write(TOML)
    shop.run("sweep", env=driver)
    assert status(shop) == 2


def refused_and_spooled(shop: Project, driver: dict[str, str], words: str) -> None:
    """Emit and sweep: one line each, the event in the spool, and no password anywhere."""
    emitted = shop.run("emit", "purchased", env=driver)
    (line,) = emitted.stderr.splitlines()
    assert words in line
    assert "the event is kept in" in line
    assert emitted.stdout == ""
    swept = shop.run("sweep", env=driver, check=78)
    (line,) = swept.stderr.splitlines()
    assert line.startswith(("eventctl: the store (mysql 127.", "eventctl: [store] ssl"))
    assert words in line
    assert PASSWORD not in emitted.stderr + swept.stderr + swept.stdout


@pytest.mark.parametrize("key", ["read_default_file", "ssl_ca"])
@pytest.mark.parametrize("content", [None, f"password {PASSWORD}\n", "\xff"])
def test_a_file_that_is_not_there_or_is_none_is_named_and_never_quoted(
    shop: Project, tls: Tls, driver: dict[str, str], key: str, content: str | None
) -> None:
    if content is not None:
        (shop.folder / "file").write_text(content, "latin-1")
    ca = "" if key == "ssl_ca" else f'ssl_ca = "{tls.ca}"\n'
    shop.write(TOML, store=f'ssl = "verify"\n{ca}{key} = "file"')
    # mysqlclient takes from an option file what it understands, and passes over the rest.
    lenient = key == "read_default_file" and content and "MySQLdb" not in hidden(driver)
    done = shop.run("emit", "purchased", env=driver)
    assert PASSWORD not in done.stderr
    if lenient:
        assert (done.stdout, done.stderr) == ("1\n", "")
        return
    (line,) = done.stderr.splitlines()
    assert key in line
    assert "the event is kept in" in line
    assert "Traceback" not in line
    if content is None:
        assert f"[store] {key}: {shop.folder / 'file'}: No such file or directory" in line


def hidden(driver: dict[str, str]) -> list[str]:
    return [path.stem for path in Path(driver["PYTHONPATH"]).glob("*.py")]


def test_a_ca_that_would_not_be_looked_at_is_a_mistake(tmp_path: Path) -> None:
    text = '[store]\nurl = "mysql://app@db1/shop"\nssl_ca = "ca.pem"\n'
    sent = 'F: store.ssl_ca: requires ssl = "verify"; set ssl = "verify"'
    assert mistakes(write(tmp_path, text)) == [sent]
    assert mistakes(write(tmp_path, text + 'ssl = "required"\n')) == [sent]
