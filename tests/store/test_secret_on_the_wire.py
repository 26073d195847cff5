"""The password of a store on MySQL is never sent where somebody who listens can read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.drivers import driver, only
from tests.support.in_memory import Folders
from tests.support.mysql import MySQL
from tests.support.project import Project
from tests.support.proxy import ListeningProxy
from tests.support.server import PASSWORD

__all__ = ["driver"]  # a fixture

TOML = """
[events]
purchased = ["log"]

[handlers]
log = { command = ["/bin/true"] }
"""


@pytest.fixture(scope="module", params=["with TLS", "without TLS"])
def mysql(request: pytest.FixtureRequest, server_folders: Folders) -> Iterator[MySQL]:
    options = [] if request.param == "with TLS" else ["--tls-version="]
    server = MySQL(server_folders("mysql"), options)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("ssl", ["preferred", "required", "verify"])
def test_the_password_is_not_sent_in_the_clear(
    mysql: MySQL, tmp_path: Path, driver: dict[str, str], ssl: str
) -> None:
    has_tls = "--tls-version=" not in mysql.options
    shop = Project(tmp_path / "shop", mysql)
    # Its cache is cold: what it asks for first is the whole password.
    user = f"u{re.sub('[^0-9a-z]', '', tmp_path.name[-24:])}"
    mysql.sql(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
    mysql.sql(f"GRANT ALL ON {shop.database}.* TO {user}@'127.0.0.1'")
    shop.write(TOML, store=f'ssl = "{ssl}"')
    with ListeningProxy(mysql.port) as wire:
        text = shop.config.read_text().replace(f":{mysql.port}/", f":{wire.port}/")
        shop.config.write_text(text.replace("//app:", f"//{user}:"))
        done = shop.run("emit", "--defer", "purchased", env=driver)
    assert PASSWORD.encode() not in wire.heard
    is_pymysql = (Path(driver["PYTHONPATH"]) / "MySQLdb.py").exists()  # the other one is hidden
    recorded = ssl == "preferred" or (ssl == "required" and has_tls and is_pymysql)
    if recorded:
        assert (done.stdout, done.stderr) == ("1\n", "")
    else:
        assert "is kept in" in done.stderr
    if ssl == "required" and not recorded:
        assert re.search(r'set ssl = "verify"|does not support TLS', done.stderr)


def test_a_pymysql_that_uses_no_tls_by_default_is_refused(tmp_path: Path) -> None:
    """As Debian's own package is; nothing is sent, and so no server is needed."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    environment = only("PyMySQL", hidden)
    (hidden / "pymysql.py").write_text("VERSION = (1, 0, 2, None)\n")
    shop = Project(tmp_path / "shop")
    shop.write(TOML)
    text = shop.config.read_text().replace("sqlite:///events.db", "mysql://app@127.0.0.1:1/shop")
    shop.config.write_text(text)
    done = shop.run("emit", "--defer", "purchased", env=environment)
    assert "PyMySQL 1.0.2 is too old, since it uses no TLS by default: " in done.stderr
    assert "-m pip install -U 'PyMySQL[rsa]'" in done.stderr
    assert "is kept in" in done.stderr
