"""The blocks of the pages for operators, typed where something has failed, or given to the program
that they are for.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_every_block import PAGES, blocks
from tests.support import needs, past
from tests.support.checkout import CHECKOUT
from tests.support.databases import server_only, sqlite_only
from tests.support.look import script
from tests.support.project import Project
from tests.support.receiver import Receiver
from tests.support.server import PASSWORD, USER, Server
from tests.support.shell import type_in

EVENTCTL = Path(sys.executable).parent / "eventctl"

TOML = """
[defaults]
retry = { attempts = 1 }
[events]
purchased = ["giveCoupon", "lottery"]
[handlers]
giveCoupon = "handlers:give_coupon"
lottery = "handlers:lottery"
"""

HANDLERS = """
def give_coupon(user, amount):
    pass


def lottery(user, amount):
    raise ConnectionError("the lottery is down")
"""


def block(page: str, kind: str, words: str) -> str:
    """Return the one block of a page that has these words in it."""
    (text,) = [b.text for b in blocks(CHECKOUT / page) if b.kind == kind and words in b.text]
    return textwrap.dedent(text)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Project]:
    """Three events whose lottery has failed for good, and was reported."""
    project = Project(tmp_path / "shop")
    project.write(TOML, HANDLERS)
    for user in "ABC":
        project.run("emit", "-q", "purchased", f"user {user}", "5000")
    project.run("sweep", check=1)
    yield project
    project.close()


def typed(project: Project, text: str, code: int = 0, **env: str) -> list[str]:
    """Type a block in the project's folder; fail unless it ends with `code`."""
    home = Path(project.environment()["HOME"])
    (home / ".place").write_text(str(project.folder))
    ended, shown = type_in(text, home, env=env)
    assert ended == code, f"{text}\n--- {ended}\n" + "\n".join(shown)
    return shown


def test_the_commands_for_an_incident(shop: Project) -> None:
    (incident,) = json.loads(shop.run("alerts", "--json").stdout)
    text = block("docs/alerts.md", "sh", "eventctl ack")
    for line in text.replace("513925c9e4", incident["id"]).splitlines():
        line = line.replace("5139", incident["id"][:4])
        # It asks first; on a terminal, a person answers.
        typed(shop, line.replace("replay ", "replay --yes "))
    assert (
        shop.rows("SELECT state FROM eventctl_delivery WHERE handler = 'lottery'")
        == [("pending",)] * 3
    )


def test_the_failed_events_by_jq(shop: Project) -> None:
    needs.program("jq", "jq")
    assert typed(shop, block("docs/json.md", "sh", "jq")) == ["3", "2", "1"]


def test_what_a_report_of_a_bug_asks_for(shop: Project) -> None:
    (incident,) = json.loads(shop.run("alerts", "--json").stdout)
    (version, event, sweeps) = (
        block("docs/reporting.md", "sh", words)
        for words in ("--version", "show ID", "sweep --dry-run")
    )
    typed(shop, version, 1)  # doctor finds no cron that sweeps this store
    event = event.replace("--incident ID", f"--incident {incident['id']}").replace(
        "show ID", "show 1"
    )
    assert "ConnectionError: the lottery is down" in "\n".join(typed(shop, event))
    assert "need a person" in "\n".join(typed(shop, sweeps, 1))


@sqlite_only
def test_old_events_are_archived_and_found_again(project: Project, tmp_path: Path) -> None:
    needs.program("jq", "jq")
    past.write(project)
    past.record(project, 1)
    project.run("emit", "--key", "order-17", "bought", "user B")
    project.execute(
        "UPDATE eventctl_event SET created_at = created_at - 100 * ? WHERE id = 2", past.DAY
    )
    project.run("sweep")
    archive = tmp_path / "archive"
    archive.mkdir()
    text = block("docs/keeping.md", "sh", "--dry-run\neventctl prune --older-than 90d --archive")
    preview, prune = text.replace("/var/backups/events", str(archive)).splitlines()
    assert "would delete 2 events" in "\n".join(typed(project, preview))
    typed(project, f"{prune} --yes")
    find = block("docs/keeping.md", "sh", "order-17").replace("/var/backups/events", str(archive))
    (line,) = typed(project, find)
    assert json.loads(line)["args"] == ["user B"]
    anew = block("docs/keeping.md", "sh", "zcat events-").replace("== 42", "== 2")
    assert typed(
        project, f"cd {archive}\n{anew.replace('eventctl', f'eventctl --config {project.config}')}"
    ) == ["3"]
    assert project.value("SELECT `key` FROM eventctl_event") == "order-17"
    (line,) = typed(project, block("docs/keeping.md", "sh", "--format cloudevents"))
    assert json.loads(line)["specversion"] == "1.0"


@server_only
def test_a_move_to_a_server(server: Server, shop: Project) -> None:
    """The three commands of the page; the how-to of the same is tested step by step."""
    needs.program("jq", "jq")
    database = server.new_database()
    place = f"mysql://{USER}:${{DB_PASSWORD}}@127.0.0.1:{server.port}/{database}"
    swap = ("mysql://eventctl:${DB_PASSWORD}@db1.example.com/shop", place)
    preview, copy, rest = (
        block("docs/keeping.md", "sh", words) for words in ("export", "--wait 5m", "old.toml")
    )
    typed(shop, preview.replace(*swap).replace("=…", f"={PASSWORD}"))
    typed(shop, copy.replace(*swap), DB_PASSWORD=PASSWORD)
    rows = server.sql("SELECT COUNT(*) FROM eventctl_event", database=database)
    assert rows == [(3,)]
    shop.config.rename(shop.folder / "old.toml")
    shop.run("--config", "old.toml", "emit", "-q", "--defer", "purchased", "user D", "1")
    shop.config.write_text(f'{TOML}[store]\nurl = "{place}"\nstate = "events.state"\n')
    typed(shop, rest, DB_PASSWORD=PASSWORD)
    rows = server.sql("SELECT args FROM eventctl_event ORDER BY id", database=database)
    assert [json.loads(args)[0][-1] for (args,) in rows] == ["A", "B", "C", "D"]


_JOBS = [
    pytest.param(block.page, line, id=re.sub(r".* ", "", line))
    for page in PAGES
    for block in blocks(page)
    if block.kind in ("text", "cron", "sh")
    for line in block.text.splitlines()
    if re.match(r"^[\d*][\d*/, ]+ \S*eventctl ", line)
]


@pytest.mark.parametrize(("page", "line"), _JOBS)
def test_a_job_of_cron_runs_and_prints_nothing(
    shop: Project, tmp_path: Path, page: str, line: str
) -> None:
    command = re.sub(r"^([\d*/,]+\s+){5}", "", line).replace("\\%", "%")
    command = re.sub(r"\S*/bin/eventctl", str(EVENTCTL), command)
    command = re.sub(r"\S+/events\.toml", str(shop.config), command)
    command = re.sub(r"(?<= )/(var|usr)/[\w/-]+(?=[/ ])", str(tmp_path), command)
    command = command.replace("report.daily", "purchased")
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SHELL": "/bin/sh", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), page


def test_a_job_of_cron_names_the_program_by_its_path() -> None:
    """Also in the help of a command, which is on a page too. Cron would not find it."""
    lines = [
        line.strip()
        for page in [*PAGES, CHECKOUT / "crontab.example"]
        for line in page.read_text(encoding="utf-8").splitlines()
        if re.match(r"^[ #]*[\d*/]+ [\d*/]+ [\d*/]+ [\d*/]+ [\d*/]+ +\S", line)
    ]
    assert len(lines) >= 12
    assert [line for line in lines if "/bin/eventctl " not in line] == []


def keys(value: object) -> object:
    """Return the keys of a document, without its values."""
    if isinstance(value, dict):
        return {key: keys(each) for key, each in value.items()}
    return None


def test_the_numbers_of_stats_have_these_keys(shop: Project) -> None:
    shown = json.loads(block("docs/monitoring.md", "json", "overTime"))
    real = json.loads(shop.run("stats", "--json").stdout)
    real["handlers"].pop("giveCoupon")
    assert keys(shown) == keys(real)


def test_the_line_of_check_has_these_measures(shop: Project) -> None:
    shown = block("docs/monitoring.md", "text", "EVENTCTL OK").splitlines()[1]
    real = shop.run("check", check=None).stdout

    def measures(line: str) -> list[str]:
        return re.sub(r"=[\d.]+", "=", line.partition("| ")[2]).split()

    assert measures(shown) == measures(real)


def test_the_rules_of_prometheus(shop: Project, tmp_path: Path) -> None:
    """Prometheus takes them, each fires when it should, and each metric is one of ours."""
    promtool = needs.program("promtool", "prometheus")
    rules = block("docs/monitoring.md", "yaml", "EventctlNoSweep")
    (tmp_path / "rules.yml").write_text(rules)
    shop.run("check", "--prometheus", str(tmp_path / "eventctl.prom"))
    ours = (tmp_path / "eventctl.prom").read_text()
    for name in re.findall(r"\beventctl_\w+", rules):
        assert f"# TYPE {name} gauge" in ours
    (tmp_path / "tests.yml").write_text(
        """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'eventctl_last_sweep_timestamp_seconds{store="s"}', values: "0x30"}
      - {series: 'eventctl_failed_deliveries{store="s",handler="lottery"}', values: "3x30"}
      - {series: 'eventctl_alerts_unaccepted_oldest_seconds{store="s"}', values: "901x30"}
      - {series: 'node_textfile_mtime_seconds{file="/var/lib/x/eventctl.prom"}', values: "0x30"}
    alert_rule_test:
"""
        + "".join(
            f"      - {{eval_time: 25m, alertname: {name},"
            f" exp_alerts: [{{exp_labels: {{{labels}}}}}]}}\n"
            for name, labels in (
                ("EventctlNoSweep", "store: s"),
                ("EventctlFailed", "store: s"),
                ("EventctlChannelIsDown", "store: s"),
                ("EventctlMetricsAreOld", "file: /var/lib/x/eventctl.prom"),
            )
        )
    )
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "tests.yml"]):
        done = subprocess.run(
            [promtool, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_route_of_the_alertmanager(tmp_path: Path) -> None:
    amtool = needs.program("amtool", "prometheus-alertmanager")
    route = block("docs/channels.md", "yaml", "EventctlIncident")
    whole = route.replace("route:\n", "route:\n  receiver: nobody\n")
    (tmp_path / "am.yml").write_text(f"{whole}\nreceivers: [{{name: nobody}}, {{name: on-call}}]\n")
    for severity, receiver in (("critical", "on-call"), ("warning", "nobody")):
        done = subprocess.run(
            [
                *(amtool, "config", "routes", "test", "--config.file=am.yml"),
                *("alertname=EventctlIncident", f"severity={severity}"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout.strip() == receiver, done.stderr


def test_a_program_that_sends_the_title(shop: Project, tmp_path: Path) -> None:
    needs.program("jq", "jq")
    send = script(
        tmp_path / "send-sms", f'#!/bin/sh\necho "$@" >{tmp_path}/sent\ncat >>{tmp_path}/sent\n'
    )
    text = block("docs/channels.md", "sh", "page-me").replace("/usr/local/bin/send-sms", str(send))
    page = script(tmp_path / "page-me", text)
    more = f'\n[[alerts]]\ncommand = ["{page}", "--room", "ops"]\n'
    shop.config.write_text(shop.config.read_text() + more)
    shop.run("alerts", "test", "command")
    number, title = (tmp_path / "sent").read_text().splitlines()
    assert number == "+491700000000"
    assert title == "Test message from eventctl"


def test_what_is_loaded_into_elasticsearch_and_kibana(shop: Project) -> None:
    """To a receiver on HTTP: it is not the real ones."""
    needs.program("curl", "curl")
    receiver = Receiver((200, b"{}"), (200, b"{}"))
    text = block("docs/channels.md", "sh", "_index_template")
    text = text.replace("cd examples", f"cd {CHECKOUT}/examples")
    for host in ("https://es.example.com:9200", "https://kibana.example.com"):
        assert host in text
        text = text.replace(host, receiver.url("").rstrip("/"))
    try:
        text = text.replace("-X PUT", "-X POST")  # what the receiver understands
        typed(shop, text.replace("--cacert http_ca.crt ", ""), ADMIN_KEY="k3y")
        template, saved = receiver.requests
    finally:
        receiver.close()
    assert template.path == "/_index_template/eventctl"
    assert template.headers["authorization"] == saved.headers["authorization"] == "ApiKey k3y"
    assert json.loads(template.body)["index_patterns"]
    assert saved.path == "/api/saved_objects/_import?overwrite=true"
    assert saved.headers["kbn-xsrf"] == "true"
    assert b'filename="kibana.ndjson"' in saved.body


def test_a_held_row_is_reported_so(shop: Project) -> None:
    shop.execute(
        "INSERT INTO eventctl_outbox (id, name, args) VALUES (7, 'purchsed', ?)", '["user A", 5000]'
    )
    page = block("docs/held.md", "text", "purchsed").replace(
        "/etc/eventctl/events.toml", str(shop.config)
    )
    real = "".join(shop.run("sweep", check=1).stdout.split())
    for line in page.replace("did\n   you", "did you").splitlines():
        assert "".join(line.split()).removeprefix("|") in real.replace("|", ""), line


@server_only
def test_an_application_may_only_emit(server: Server, tmp_path: Path) -> None:
    project = Project(tmp_path / "app", server)
    project.write(TOML, HANDLERS)
    project.run("list")
    user = f"app{project.database}"
    server.sql(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'secret'")
    grant = block("docs/security.md", "sql", "GRANT").replace("'app'", f"'{user}'")
    server.sql(grant.replace("shop.", f"{project.database}.").strip().rstrip(";"))
    import pymysql

    with pymysql.connect(
        host="127.0.0.1", port=server.port, user=user, password="secret",
        database=project.database, autocommit=True,
    ) as app:  # fmt: skip
        cursor = app.cursor()
        cursor.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('purchased', '[1]')")
        with pytest.raises(pymysql.MySQLError, match="denied"):
            cursor.execute("SELECT * FROM eventctl_outbox")
    project.close()


def test_make_knows_what_contributing_says() -> None:
    text = "".join(b.text for b in blocks(CHECKOUT / "CONTRIBUTING.md"))
    targets = set(re.findall(r"^make (\w+)", text, re.M))
    assert targets >= {"help", "test", "mysql", "soak"}
    for target in targets:
        done = subprocess.run(
            ["make", "--dry-run", "--silent", target], cwd=CHECKOUT, capture_output=True, text=True,
            env={"PATH": os.environ["PATH"]}, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
