"""The outbox: a part of other programs' own transactions, on both databases."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time

import pytest

from tests.support import fire, look, needs
from tests.support.applications import DRIVERS, PREAMBLE, applications
from tests.support.databases import server_only, sqlite_only
from tests.support.noting import HANDLERS, TOML
from tests.support.project import Finished, Project
from tests.support.server import PASSWORD, USER

PLAIN = "INSERT INTO eventctl_outbox (name, args) VALUES ('purchased', '[\"user A\", 5000]')"


def write(project: Project, toml: str = TOML, store: str = "") -> None:
    project.write(toml, HANDLERS, store=f'state = "state"\n{store}')


def prepare(project: Project) -> None:
    """The tables are there, and so is one of the application's own."""
    write(project)
    project.run("sweep")
    project.execute("CREATE TABLE app_order (id INTEGER PRIMARY KEY)")


def sql_shell(project: Project, script: str, user: str = USER) -> Finished:
    """Run a script in the database's own shell; it stops at the first error."""
    if project.server:
        shell = needs.program(project.server.client, "mariadb-client")
        place = ("-h127.0.0.1", f"-P{project.server.port}", f"-u{user}")
        argv = [shell, "--no-defaults", *place, str(project.database)]
    else:
        argv = [needs.program("sqlite3", "sqlite3"), "-bail", "events.db"]
    # Of a password among the options, MySQL's shell warns.
    return subprocess.run(
        argv,
        input=script,
        cwd=project.folder,
        env={**os.environ, "MYSQL_PWD": PASSWORD},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(("end", "events"), [("ROLLBACK", 0), ("COMMIT", 1)])
def test_the_databases_own_shell(project: Project, end: str, events: int) -> None:
    prepare(project)
    done = sql_shell(project, f"BEGIN; INSERT INTO app_order VALUES (1); {PLAIN}; {end};")
    assert (done.returncode, done.stderr) == (0, "")
    assert_same_fate(project, events)


def assert_same_fate(project: Project, events: int) -> None:
    """Order and event are both there, or neither; the sweep makes one event of a row."""
    assert project.value("SELECT COUNT(*) FROM app_order") == events
    assert look.count(project, "outbox") == events
    assert project.run("sweep").stdout == ""
    assert look.notes(project) == ['["user A", 5000]'] * events
    assert look.count(project, "outbox") == 0
    if events:
        fire.assert_all_processed(project, events)


def run(project: Project, program: str, name: str = "A", order: int = 1) -> Finished:
    port = str(project.server.port) if project.server else ""
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + program, port, str(project.database), name, str(order)],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_applications_with_a_transaction_of_their_own(project: Project) -> None:
    """Each rolls back its order and its event, then it commits the same order with one."""
    prepare(project)
    ours = "server" if project.server else "sqlite"
    names = []
    for order, (name, database, program) in enumerate(applications(), 1):
        if database == ours:
            both = f"for END in ('rollback', 'commit'):\n{textwrap.indent(program, '    ')}"
            done = run(project, both, name, order)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), name
            names.append(name)
            rows = project.rows("SELECT args FROM eventctl_outbox ORDER BY id")
            assert [json.loads(args) for (args,) in rows] == [[name] for name in names]
            assert project.value("SELECT COUNT(*) FROM app_order") == len(names)
    assert len(names) == (16 if project.server else 9)
    assert project.run("sweep").stdout == ""
    assert [json.loads(note) for note in look.notes(project)] == [[name] for name in names]
    assert look.count(project, "outbox") == 0
    fire.assert_all_processed(project, len(names))


def test_what_an_emit_in_a_transaction_refuses(project: Project) -> None:
    """Before anything is written, so that the transaction can go on."""
    prepare(project)
    connect = DRIVERS["mysqlclient" if project.server else "sqlite3"][1]
    done = run(
        project,
        connect
        + textwrap.dedent(
            """
            cursor = app.cursor()
            cursor.execute("INSERT INTO app_order VALUES (1)")
            wrong = {"name": "purchsed"}, {"run": True}, {"delay": 5}, {"key": ""}
            for options in (*wrong, {"paramstyle": "question"}):
                try:
                    eventctl.emit(options.pop("name", "purchased"), connection=app, **options)
                except eventctl.UsageError as error:
                    print(error)
            emit(app)
            app.commit()
            """
        ),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 5
    assert "did you mean 'purchased'?" in done.stdout
    assert project.value("SELECT COUNT(*) FROM app_order") == 1
    project.run("sweep")
    assert look.notes(project) == ['["A"]']


def test_a_database_without_the_table_is_explained(project: Project) -> None:
    """The error stays the driver's own, which the application may catch."""
    prepare(project)
    project.execute("DROP TABLE eventctl_outbox")
    connect = DRIVERS["mysqlclient" if project.server else "sqlite3"][1]
    done = run(project, f"{connect}\nemit(app)\n")
    assert done.returncode == 1
    last, note = done.stderr.splitlines()[-2:]
    assert "eventctl_outbox" in last
    assert "Error: " in last
    assert "the first eventctl command creates this table" in note


IN_TRANSACTION = {
    "sqlite3": """
import sqlite3
closed = sqlite3.connect("events.db")
closed.close()
app = sqlite3.connect("events.db")
app.execute("INSERT INTO app_order VALUES (1)")
""",
    "sqlalchemy": """
from sqlalchemy import create_engine, text
app = create_engine("sqlite:///events.db").connect()
app.execute(text("INSERT INTO app_order VALUES (1)"))
""",
    "django": """
import django
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "events.db"}}
)
django.setup()
from django.db import connection as app, transaction
block = transaction.atomic()
block.__enter__()
app.cursor().execute("INSERT INTO app_order VALUES (1)")
""",
}

OTHER_THREAD = """
import threading
over = threading.Event()
threading.Thread(target=over.wait, daemon=True).start()
"""


@pytest.mark.parametrize(
    ("kind", "threads"),
    [("sqlite3", ""), ("sqlalchemy", ""), ("django", ""), ("sqlite3", "s"), ("django", "s")],
)
@sqlite_only
def test_an_emit_beside_its_own_transaction_is_named_at_once(
    project: Project, kind: str, threads: str
) -> None:
    """It would wait for a lock that its own thread can't give back in the meantime."""
    prepare(project)
    done = run(
        project,
        (OTHER_THREAD if threads else "")
        + IN_TRANSACTION[kind]
        + textwrap.dedent(
            """
            import time
            begun = time.monotonic()
            try:
                eventctl.emit("purchased", "beside")
            except eventctl.UsageError as error:
                print(error)
            print(time.monotonic() - begun)
            emit(app)
            block.__exit__(None, None, None) if "block" in globals() else app.commit()
            print(eventctl.emit("purchased", "after"))
            """
        ),
    )
    assert (done.returncode, done.stderr) == (0, "")
    words, took, after = done.stdout.splitlines()
    assert "a transaction of this thread holds the lock of the store" in words
    assert "connection=" in words
    assert float(took) < 10  # [store] timeout has 30 s
    assert after == "1"
    assert project.value("SELECT COUNT(*) FROM app_order") == 1
    project.run("sweep")
    assert sorted(look.notes(project)) == ['["A"]', '["after"]']


@sqlite_only
def test_an_emit_waits_for_the_transaction_of_another_thread(project: Project) -> None:
    prepare(project)
    done = run(
        project,
        textwrap.dedent(
            """
            import sqlite3, threading, time
            eventctl.emit("purchased", "before")
            held, waits = threading.Event(), threading.Event()
            def order():
                app = sqlite3.connect("events.db")
                app.execute("INSERT INTO app_order VALUES (1)")
                held.set()
                waits.wait()
                app.commit()
                app.close()
            from eventctl.store import own_lock
            ask = own_lock.is_held_by_this_thread
            def asked(file):            # it has met the lock now
                answer = ask(file)
                waits.set()
                return answer
            own_lock.is_held_by_this_thread = asked
            thread = threading.Thread(target=order)
            thread.start()
            held.wait()
            print(eventctl.emit("purchased", "waited"))
            assert waits.is_set()
            thread.join()
            """
        ),
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "2\n")
    project.run("sweep")
    assert look.notes(project) == ['["before"]', '["waited"]']


@server_only
def test_a_user_with_no_right_but_insert_on_this_table(project: Project) -> None:
    prepare(project)
    assert project.server
    narrow = f"'narrow{project.database}'@'127.0.0.1'"
    project.server.sql(f"CREATE USER {narrow} IDENTIFIED BY '{PASSWORD}'")
    project.server.sql(f"GRANT INSERT ON {project.database}.eventctl_outbox TO {narrow}")
    user = f"narrow{project.database}"
    assert (
        "SELECT command denied" in sql_shell(project, "SELECT * FROM eventctl_outbox", user).stderr
    )
    done = sql_shell(project, f"{PLAIN};", user)
    assert (done.returncode, done.stderr) == (0, "")
    connect = DRIVERS["mysqlclient"][1].replace("**MYSQL", f"**{{**MYSQL, 'user': {user!r}}}")
    done = run(project, connect + "\nemit(app)\napp.commit()")
    assert (done.returncode, done.stderr) == (0, "")
    project.run("sweep")
    assert look.notes(project) == ['["user A", 5000]', '["A"]']
    # The command needs more than that; what it can't record, it keeps for the sweep.
    own = project.config.read_text()
    project.config.write_text(own.replace(f"//{USER}:", f"//{user}:"))
    done = project.run("emit", "purchased", "B")
    assert done.stdout == ""
    assert "refuses this user: check [store] url, the password and its privileges" in done.stderr
    assert "the event is kept in" in done.stderr
    assert done.stderr.count("\n") == 1
    project.config.write_text(own)
    project.run("sweep")
    assert look.notes(project)[2:] == ['["B"]']


def add(project: Project, **columns: object) -> None:
    """Add a row as another program does."""
    row = {"name": "purchased", "args": "[]"} | columns
    names = ", ".join(f"`{name}`" for name in row)
    marks = ", ".join("?" * len(row))
    project.execute(f"INSERT INTO eventctl_outbox ({names}) VALUES ({marks})", *row.values())


BAD: dict[str, tuple[dict[str, object], str]] = {
    "unknown": ({"name": "refunded"}, "no event 'refunded' in"),
    "near": ({"name": "purchsed"}, "did you mean 'purchased'?"),
    "not JSON": ({"args": "[1,"}, "the args are not JSON"),
    "no list": ({"args": '"A"'}, "the args must be a JSON list or object"),
    "empty": ({"args": ""}, "the args are not JSON"),
    "deep": ({"args": "[" * 100_000}, "the args are not JSON"),
    "large": ({"args": json.dumps(["x" * 1_000_000])}, "max_args"),
    "key": ({"key": " 7"}, "no space at either end"),
    "control": ({"key": "a\nb"}, "printable characters only"),
    "long key": ({"key": "k" * 192}, "a key has 1 to 191 characters, not 192"),
    "long name": ({"name": "n" * 200}, "no event 'nnn"),
}

BAD_ON_SQLITE: dict[str, tuple[dict[str, object], str]] = {
    "bytes": ({"args": b"\xff"}, "it is not UTF-8 text"),
    "time": ({"created_at": "yesterday"}, "its created_at is not a number of milliseconds"),
}


def test_what_cannot_be_an_event_is_held_and_named_once(project: Project) -> None:
    prepare(project)
    bad = BAD if project.server else BAD | BAD_ON_SQLITE
    for columns, _ in bad.values():
        add(project, **columns)
    add(project, args='["good"]')
    sent = project.run("sweep", check=1)
    assert sent.stderr == ""
    assert f"{len(bad)} entries were set aside" in sent.stdout
    assert look.notes(project) == ['["good"]']
    held = dict(project.rows("SELECT id, held FROM eventctl_outbox ORDER BY id"))
    assert list(held) == list(range(1, len(bad) + 1))
    for (_, words), said in zip(bad.values(), held.values(), strict=True):
        assert words in said
    again = project.run("sweep")
    assert (again.stdout, again.stderr) == ("", "")
    # Ones that came later are named, too.
    add(project, name="refunded")
    assert project.run("sweep").stdout == ""
    look.make_notifications_due(project)
    sent = project.run("sweep", check=1)
    assert f"{len(bad) + 1} entries were set aside" in sent.stdout
    assert f"eventctl_outbox row {len(bad) + 2}: no event 'refunded'" in sent.stdout
    assert project.run("sweep").stdout == ""


def test_held_rows_are_imported_once_events_toml_is_fixed(project: Project) -> None:
    prepare(project)
    add(project, name="refunded", args='["A"]', created_at=1_700_000_000_000)
    add(project, args=json.dumps(["x" * 1_000_000]))
    project.run("sweep", check=1)
    assert look.count(project, "outbox") == 2
    fixed = TOML.replace("[handlers]", 'refunded = ["note"]\n[handlers]')
    write(project, fixed, "max_args = 2000000\n")
    assert "outbox resolved after" in project.run("sweep").stdout
    assert look.count(project, "outbox") == 0
    rows = project.rows("SELECT name, created_at FROM eventctl_event ORDER BY id")
    assert rows[0] == ("refunded", 1_700_000_000_000)
    assert rows[1][0] == "purchased"
    fire.assert_all_processed(project, 2)


def test_a_held_row_can_be_fixed_or_deleted_by_hand(project: Project) -> None:
    prepare(project)
    add(project, args="[1,")
    add(project, args="[2,")
    project.run("sweep", check=1)
    project.execute("UPDATE eventctl_outbox SET args = '[1]' WHERE id = 1")
    project.execute("DELETE FROM eventctl_outbox WHERE id = 2")
    assert "outbox resolved after" in project.run("sweep").stdout
    assert look.notes(project) == ["[1]"]


def test_defaults_for_all_but_name_and_args(project: Project) -> None:
    prepare(project)
    before = time.time() * 1000
    assert sql_shell(project, f"{PLAIN};").returncode == 0
    ((key, created_at, held),) = project.rows("SELECT `key`, created_at, held FROM eventctl_outbox")
    assert (key, held) == (None, None)
    assert before - 1000 <= created_at <= time.time() * 1000 + 1000
    project.run("sweep")
    ((key, kept),) = project.rows("SELECT `key`, created_at FROM eventctl_event")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", key)
    assert kept == created_at


def test_a_created_at_of_the_past_is_kept_and_of_the_future_is_not(project: Project) -> None:
    prepare(project)
    add(project, created_at=1_700_000_000_123)
    add(project, created_at=4_000_000_000_000)
    project.run("sweep")
    past, future = project.rows("SELECT created_at FROM eventctl_event ORDER BY id")
    assert past == (1_700_000_000_123,)
    assert abs(future[0] - time.time() * 1000) < 60_000
    fire.assert_all_processed(project, 2)


def test_a_given_key_makes_it_idempotent(project: Project) -> None:
    prepare(project)
    project.run("emit", "--key", "order 1", "purchased", "first")
    for key in ("order 1", "order 2", "order 2", "", "", None, None):
        add(project, key=key, args='["again"]')
    project.run("sweep")
    assert look.count(project, "outbox") == 0
    events = project.rows("SELECT id, `key`, args FROM eventctl_event ORDER BY id")
    keys = [(key, args) for _, key, args in events]
    assert keys[:2] == [("order 1", '["first"]'), ("order 2", '["again"]')]
    assert len({key for key, _ in keys}) == 2 + 4
    assert project.run("emit", "--key", "order 2", "purchased").stdout == f"{events[1][0]}\n"
    fire.assert_all_processed(project, 6)


def test_keys_that_differ_late_are_never_one_event(project: Project) -> None:
    """Also where a program has turned the server's strictness off, as much of old PHP does."""
    prepare(project)
    lenient = "SET SESSION sql_mode = '';" if project.server else ""
    keys = ["k" * 191 + end for end in ("", "a", "b", " ")] + ["ü" * 70_000]
    rows = ", ".join(f"('{key}', 'purchased', '[]')" for key in keys)
    for _ in range(2):
        insert = f"INSERT INTO eventctl_outbox (`key`, name, args) VALUES {rows};"
        done = sql_shell(project, lenient + insert)
        assert (done.returncode, done.stderr) == (0, "")
    project.run("sweep", check=1)
    assert [key for (key,) in project.rows("SELECT `key` FROM eventctl_event")] == ["k" * 191]
    held = project.rows("SELECT `key`, held FROM eventctl_outbox ORDER BY id")
    assert [key for key, _ in held] == keys[1:] * 2
    large = "its name, key and time have"  # one that is not even read
    assert all("a key has 1 to 191 characters" in words or large in words for _, words in held)


@sqlite_only
def test_text_in_a_blob_is_text(project: Project) -> None:
    """As Node's Buffer and Ruby's strings of bytes are bound."""
    prepare(project)
    args = json.dumps(["Ä 😀"], ensure_ascii=False)
    add(project, name=b"purchased", args=args.encode(), key="schlüssel".encode())
    add(project, args=args, key="schlüssel")
    assert project.run("sweep").stdout == ""
    assert project.rows("SELECT `key`, name, args FROM eventctl_event") == [
        ("schlüssel", "purchased", args)
    ]
    assert look.count(project, "outbox") == 0


@server_only
def test_an_open_transaction_holds_no_sweep_up(project: Project) -> None:
    prepare(project)
    assert project.server
    application = project.server.connect(project.database)
    with application.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('purchased', '[1]')")
        add(project, args="[2]")
        project.run("sweep", timeout=20)
        assert look.notes(project) == ["[2]"]
        cursor.execute("COMMIT")
    application.close()
    project.run("sweep")
    assert look.notes(project) == ["[2]", "[1]"]


QUIET = (
    TOML.replace('purchased = ["note"]', 'purchased = ["nothing"]')
    + 'nothing = "handlers:nothing"\n'
)
NOTHING = "\ndef nothing(number):\n    pass\n"


def many(project: Project, count: int) -> None:
    """Add many rows in one transaction."""
    project.write(QUIET, HANDLERS + NOTHING, store='state = "state"\n')
    project.run("sweep")
    rows = ", ".join(f"('purchased', '[{number}]')" for number in range(count))
    project.execute(f"INSERT INTO eventctl_outbox (name, args) VALUES {rows}")


def assert_all_imported(project: Project, count: int) -> None:
    assert look.count(project, "outbox") == 0
    args = project.rows("SELECT args FROM eventctl_event")
    assert sorted(json.loads(text)[0] for (text,) in args) == list(range(count))
    assert project.value("SELECT SUM(attempts) FROM eventctl_delivery") == count
    fire.assert_all_processed(project, count)


def test_five_thousand_rows_in_one_go(project: Project) -> None:
    many(project, 5000)
    done = project.run("sweep")
    assert (done.stdout, done.stderr) == ("", "")
    assert_all_imported(project, 5000)


def test_two_hosts_import_at_the_same_time(project: Project) -> None:
    many(project, 3000)
    other = project.folder / "other.toml"
    other.write_text(project.config.read_text().replace('state = "state"', 'state = "other"'))
    other.chmod(0o600)
    sweeps = [project.start("--config", str(config), "sweep") for config in (project.config, other)]
    for sweep in sweeps:
        assert sweep.communicate(timeout=60) == ("", "")
        assert sweep.returncode == 0
    assert_all_imported(project, 3000)
    assert look.count(project, "sweep") == 3
