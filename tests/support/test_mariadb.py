"""The MariaDB of the tests keeps what was committed through kill -9, as a real one does."""

from __future__ import annotations

import pymysql
import pytest

from tests.support.mariadb import PASSWORD, USER, MariaDB


def test_what_was_committed_survives_kill_9(mariadb: MariaDB) -> None:
    name = mariadb.new_database()
    mariadb.sql("CREATE TABLE t (a INT)", database=name)
    mariadb.sql("INSERT INTO t VALUES (%s)", (7,), database=name)
    mariadb.kill()
    mariadb.start()
    assert mariadb.sql("SELECT a FROM t", database=name) == [(7,)]


def test_each_database_is_new_and_its_user_is_not_root(mariadb: MariaDB) -> None:
    mine, other = mariadb.new_database(), mariadb.new_database()
    assert mine != other
    assert mariadb.url(mine) == f"mysql://{USER}:{PASSWORD}@127.0.0.1:{mariadb.port}/{mine}"
    with (
        pymysql.connect(
            host="127.0.0.1", port=mariadb.port, user=USER, password=PASSWORD, database=mine
        ) as connection,
        connection.cursor() as cursor,
    ):
        assert cursor.execute("SHOW TABLES") == 0
        cursor.execute("SELECT @@character_set_database")
        assert cursor.fetchone() == ("utf8mb4",)
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("SELECT user FROM mysql.user")
