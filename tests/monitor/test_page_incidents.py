"""What the page says of incidents: each once, who was notified of it, and what ends it."""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path

from tests.support.browser import look
from tests.support.channels import Post, fail, fix, pass_time, replay, write
from tests.support.databases import sqlite_only
from tests.support.project import Project

pytestmark = sqlite_only

BOSS = '\n[[alerts]]\nname = "<boss>"\nmail = ["boss@example.com"]\non = ["exhausted"]\n'


def sections(project: Project) -> dict[str, str]:
    """Return the text of each section of the page by its title, in one line each."""
    project.run("stats", "--html", "page.html")
    page = (project.folder / "page.html").read_text(encoding="utf-8")
    found = {}
    for section in re.findall(r"<section>(.*?)</section>", page, re.DOTALL):
        title = re.search(r"<h2>(.*?)</h2>", section)
        assert title
        text = re.sub(r"<[^>]+>", " ", section)
        found[title[1]] = " ".join(html.unescape(text).split())
    return found


def key_of(project: Project, handler: str) -> str:
    return str(project.value("SELECT `key` FROM eventctl_incident WHERE handler = ?", handler))


def test_each_failure_is_shown_once_in_its_incident_or_in_none(
    project: Project, post: Post
) -> None:
    write(project, post)
    fail(project, "A", "B")
    shown = sections(project)
    assert "No incident is open" in shown["Open incidents"]
    assert "lottery: 2 deliveries of purchased ran out of retries" in shown["In no incident"]
    assert "ack" not in shown["In no incident"]
    assert "replay 1 2 --handler lottery" in shown["In no incident"]
    project.run("sweep", check=1)
    shown = sections(project)
    assert "In no incident" not in shown
    key = key_of(project, "lottery")
    for words in (
        "lottery: 2 deliveries of purchased ran out of retries",
        "RuntimeError: no luck for 'A'",
        f"exhausted {key}; open for ",
        "attempts 1; events 1, 2",
        "report: notified, 2",
        f"{sys.executable} -P -m eventctl --config {project.config} show 1",
        f"eventctl --config {project.config} replay --incident {key}",
        f"eventctl --config {project.config} ack {key}",
    ):
        assert words in shown["Open incidents"], words
    # What a person has given up needs nobody; what failed before there were incidents does.
    fail(project, "C", event="refunded")
    project.run("cancel", "3", check=None)
    project.execute("UPDATE eventctl_delivery SET reason = 'cancelled' WHERE event_id = 3")
    assert "In no incident" not in sections(project)
    project.execute("DELETE FROM eventctl_member")
    shown = sections(project)
    assert "lottery: 2 deliveries" in shown["In no incident"]


def verdict(project: Project) -> str:
    """Return the line at the top of the page."""
    project.run("stats", "--html", "page.html")
    page = (project.folder / "page.html").read_text(encoding="utf-8")
    found = re.search(r'<p class="verdict (\w+)">(.*?)</p>', page)
    assert found
    return f"{found[1]}: {html.unescape(re.sub('<[^>]+>', '', found[2]))}"


def backlog(project: Project) -> str:
    """Return in which colour the page shows the backlog."""
    page = (project.folder / "page.html").read_text(encoding="utf-8")
    found = re.search(r'<li class="tile (\w+)"><span class="soft">Backlog<', page)
    assert found
    return found[1]


def test_the_top_says_whether_all_is_well_and_why_not(project: Project, post: Post) -> None:
    write(project, post)
    assert verdict(project) == "critical: Critical: no sweep has ever ended: is it in a crontab?"
    project.run("sweep")
    assert verdict(project) == "ok: All is well: nothing waits for a person"
    # Nothing is above a limit, but a person was notified of something that is not resolved.
    fail(project)
    project.run("sweep", check=1)
    project.execute("UPDATE eventctl_delivery SET state = 'pending', due_at = ?", 2**52)
    project.execute("UPDATE eventctl_delivery SET reason = NULL")
    project.execute("UPDATE eventctl_incident SET kind = 'failed'")
    assert verdict(project) == "warning: Warning: 1 incident is open"
    assert backlog(project) == "ok"
    project.execute("INSERT INTO eventctl_breaker VALUES ('lottery', 1, 1, 'it is away')")
    project.execute("UPDATE eventctl_incident SET kind = 'outage'")
    assert verdict(project) == "critical: Critical: down: lottery; 1 incident is open"
    # It waits for its time, and for the handler.
    assert backlog(project) == "warning"


def test_the_first_traceback_and_the_latest_output_are_folded(project: Project, post: Post) -> None:
    write(project, post)
    (project.folder / "handlers.py").write_text(
        "def lottery(user):\n"
        "    print(f'asking <b>{user}</b>')\n"
        "    raise RuntimeError('no luck')\n\n"
        "def audit(): pass\n"
    )
    fail(project, "4111 1111", "4111 2222")
    project.run("sweep", check=1)
    shown = sections(project)["Open incidents"]
    assert "First traceback Traceback (most recent call last):" in shown
    assert "raise RuntimeError('no luck') RuntimeError: no luck Latest output" in shown
    assert "Latest output asking <b>4111 2222</b>" in shown
    page = (project.folder / "page.html").read_text(encoding="utf-8")
    assert page.count("<details><summary>") >= 2
    assert "open" not in re.findall(r"<details([^>]*)>", page)
    project.config.write_text(f'redact = ["purchased.0"]\n{project.config.read_text()}')
    shown = sections(project)["Open incidents"]
    assert "asking <b>••••</b>" in shown
    assert "4111" not in shown


def test_who_was_reported_and_who_was_not(project: Project, post: Post) -> None:
    write(project, post, BOSS)
    fail(project)
    post.refuse("no <room>")
    project.run("sweep", check=1)
    shown = sections(project)["Open incidents"]
    assert "report: not notified yet; last try: " in shown
    assert "<boss>: not notified yet; last try: " in shown
    assert "no <room>" in shown
    post.refuse("")
    project.run("sweep", check=1)
    pass_time(project, 25)
    project.run("sweep", check=1)
    shown = sections(project)["Open incidents"]
    assert re.search(r"<boss>: notified, 2[-0-9]+ [0-9:]+ UTC, 2 times in all", shown)
    assert "last try" not in shown
    key = key_of(project, "lottery")
    project.run("ack", key, "--for", "2h")
    shown = sections(project)["Open incidents"]
    assert re.search(r"acknowledged: muted until 2[-0-9]+ [0-9:]+ UTC", shown)
    assert f"ack {key} --undo" in shown
    project.run("ack", key)
    assert "acknowledged: muted until it ends" in sections(project)["Open incidents"]
    # A channel that events.toml has no more is not waited for.
    project.execute("UPDATE eventctl_telling SET error = 'it is down'")
    write(project, post)
    shown = sections(project)["Open incidents"]
    assert "2 times in all (not in this events.toml)" in shown
    assert shown.count("it is down") == 1
    project.execute("UPDATE eventctl_telling SET told = NULL, told_at = NULL")
    shown = sections(project)["Open incidents"]
    assert "report: not notified: acknowledged; last try: it is down" in shown
    assert "<boss>" not in shown


def test_an_outage_comes_first_however_little_waits(project: Project, post: Post) -> None:
    write(project, post)
    fail(project, "A", "B")
    fail(project, event="refunded")
    project.run("sweep", check=1)
    project.execute("UPDATE eventctl_incident SET kind = 'outage' WHERE handler = 'audit'")
    shown = sections(project)["Open incidents"]
    assert shown.index("audit has been down") < shown.index("lottery: 2 deliveries")


def test_what_is_set_aside_is_shown_with_its_fix(project: Project, post: Post) -> None:
    write(project, post)
    project.run("sweep")  # which makes the tables
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('purchsed', '[]')")
    project.run("sweep", check=1)
    statement = "UPDATE eventctl_outbox SET name = 'purchased' WHERE id = 1;"
    assert statement in sections(project)["Open incidents"]
    (key,) = project.rows("SELECT `key` FROM eventctl_incident")[0]
    assert statement in project.run("show", "--incident", str(key)).stdout


def test_ended_incidents_are_in_the_past_tense(project: Project, post: Post) -> None:
    write(project, post)
    fail(project)
    project.run("sweep", check=1)
    for kind, words in (
        ("outage", "lottery: 1 delivery waited"),
        ("late", "lottery: 1 event was late"),
        ("held", "lottery: 1 delivery of purchased was held"),
        ("failed", "lottery: 1 delivery of purchased failed and was retried"),
    ):
        project.execute("UPDATE eventctl_incident SET kind = ?, ended_at = last_at", kind)
        project.execute("UPDATE eventctl_incident SET open_as = NULL")
        if kind == "outage":
            project.execute("UPDATE eventctl_incident SET names = '[]', event_ids = '[]'")
        assert words in sections(project)["Ended incidents"]
        project.execute("UPDATE eventctl_incident SET names = '[\"purchased\"]'")


def test_what_ended_within_the_window_and_how_long_it_took(project: Project, post: Post) -> None:
    write(project, post)
    fail(project)
    fail(project, event="refunded")
    project.run("sweep", check=1)
    pass_time(project, 1.5)
    fix(project)
    replay(project)
    project.run("sweep")
    shown = sections(project)
    assert "No incident is open" in shown["Open incidents"]
    assert "2 incidents ended in this time, after 1h 30m on average." in shown["Ended incidents"]
    assert "lottery: 1 delivery of purchased ran out of retries" in shown["Ended incidents"]
    pass_time(project, 24 * 8)
    assert "Ended incidents" not in sections(project)


def test_what_is_paused_and_how_it_is_run_again(project: Project, post: Post) -> None:
    write(project, post)
    assert "Paused" not in sections(project)
    project.run("pause", "lottery", "--why", "until <Monday>")
    project.run("pause", "--event", "refunded")
    shown = sections(project)["Paused"]
    assert "handler lottery until <Monday> paused for " in shown
    assert f"eventctl --config {project.config} resume --handler lottery" in shown
    assert f"eventctl --config {project.config} resume --event refunded" in shown
    project.run("resume", "--event", "refunded")
    project.run("resume", "--handler", "lottery")
    assert "Paused" not in sections(project)


def test_a_browser_shows_many_of_all_of_it(project: Project, post: Post, tmp_path: Path) -> None:
    names = [f"h{n}" for n in range(70)] + ["long" * 40]
    handlers = "".join(f'"{name}" = "handlers:lottery"\n' for name in names)
    events = "".join(f'"e{n}" = ["{name}"]\n' for n, name in enumerate(names))
    head = "[sweep]\nbreaker = 1000\n[defaults]\nretry = { attempts = 1 }\n"
    more = BOSS + f'\n[[alerts]]\nname = "{"wide" * 15}"\nslack = "https://127.0.0.1:1/x"\n'
    write(project, post, more, toml=f"{head}[events]\n{events}[handlers]\n{handlers}")
    lines = "".join(f'{{"name": "e{n}"}}\n' for n in range(len(names)))
    project.run("emit", "-q", "--batch", "-", input=lines)
    project.run("sweep", check=1)
    project.run("ack", key_of(project, "h3"))
    project.execute(
        "UPDATE eventctl_incident SET open_as = NULL, ended_at = last_at,"
        " opened_at = opened_at - 60000 WHERE id > 56"
    )
    project.run("pause", "long" * 40, "--why", "why" * 300)
    project.run("stats", "--html", "page.html")
    for dark in (False, True):
        seen_by_width = look(project.folder / "page.html", tmp_path / str(dark), dark=dark)
        for width, seen in seen_by_width.items():
            assert seen["scrolls"] <= width, seen["wide"]
            assert seen["wide"] == []
            assert seen["faint"] == []
            for words in (
                "56",
                "And 6 deliveries with 6 other problems.",
                f"eventctl --config {project.config} alerts",
                "15 incidents ended in this time, after 1m on average; the last 10 are shown.",
            ):
                assert words in seen["text"], words


def test_redact_hides_in_incidents_and_in_what_is_in_none(project: Project, post: Post) -> None:
    write(project, post)
    fail(project, "4111 1111")
    project.run("sweep", check=1)
    fail(project, "4222 2222", event="refunded")
    project.execute("UPDATE eventctl_delivery SET last_error = 'no 4222 2222' WHERE event_id = 2")
    assert "4111 1111" in str(sections(project))
    text = project.config.read_text()
    project.config.write_text(f'redact = ["purchased.0", "refunded.0"]\n{text}')
    shown = sections(project)
    assert "no luck for '••••'" in shown["Open incidents"]
    assert "no ••••" in shown["In no incident"]
    assert not re.search("4111|4222", str(shown))
