"""The servers of the tests keep what was committed through kill -9, as real ones do."""

from __future__ import annotations

import pymysql
import pytest

from tests.support.server import PASSWORD, USER, Server


def test_what_was_committed_survives_kill_9(server: Server) -> None:
    name = server.new_database()
    server.sql("CREATE TABLE t (a INT)", database=name)
    server.sql("INSERT INTO t VALUES (%s)", (7,), database=name)
    server.kill()
    server.start()
    assert server.sql("SELECT a FROM t", database=name) == [(7,)]


def test_each_database_is_new_and_its_user_is_not_root(server: Server) -> None:
    mine, other = server.new_database(), server.new_database()
    assert mine != other
    assert server.url(mine) == f"mysql://{USER}:{PASSWORD}@127.0.0.1:{server.port}/{mine}"
    with (
        pymysql.connect(
            host="127.0.0.1", port=server.port, user=USER, password=PASSWORD, database=mine
        ) as connection,
        connection.cursor() as cursor,
    ):
        assert cursor.execute("SHOW TABLES") == 0
        cursor.execute("SELECT @@character_set_database")
        assert cursor.fetchone() == ("utf8mb4",)
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("SELECT user FROM mysql.user")
