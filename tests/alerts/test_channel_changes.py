"""Channels that come, go, or accept nothing: who is notified of what is open, and who that
somebody was not.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.support.channels import Post, fail, pass_time, write
from tests.support.databases import sqlite_only
from tests.support.diagnosis import doctor, only
from tests.support.monitoring import check, values_of
from tests.support.project import Project
from tests.support.terminal import on_terminal, plain

MINUTE = 60_000


def alert(name: str, *kinds: str) -> str:
    on = f"on = {json.dumps(kinds)}\n" if kinds else ""
    return f'\n[[alerts]]\nname = "{name}"\nmail = ["{name}@example.com"]\n{on}'


def sent_to(post: Post) -> list[str]:
    return sorted(str(mail["To"]).removesuffix("@example.com") for mail in post.mails())


def test_a_new_channel_hears_of_what_is_open(project: Project, post: Post) -> None:
    write(project, post)
    fail(project)
    fail(project, event="refunded")
    project.run("sweep", check=1)
    acknowledged = project.value("SELECT `key` FROM eventctl_incident WHERE handler = 'audit'")
    project.run("ack", acknowledged)
    write(project, post, alert("new") + alert("late", "late", "resolved"))
    project.run("sweep", check=1)
    assert sent_to(post) == ["new", "ops", "ops"]
    assert "lottery" in str(post.mails()[-1]["Subject"])
    project.run("sweep")
    assert len(post.mails()) == 3
    # It is notified of what was acknowledged once that is unmuted, and of what ends.
    project.run("ack", acknowledged, "--undo")
    project.run("sweep", check=1)
    assert sent_to(post) == ["new", "new", "ops", "ops"]
    # Under another name it is another channel.
    write(project, post, alert("other"))
    project.run("sweep", check=1)
    assert sent_to(post) == ["new", "new", "ops", "ops", "other", "other"]
    assert project.value("SELECT COUNT(*) FROM eventctl_telling WHERE channel = 'late'") == 0


def test_a_channel_that_asks_for_a_kind_again_is_reported_nothing_old(
    project: Project, post: Post
) -> None:
    write(project, post, alert("boss"))
    fail(project)
    project.run("sweep", check=1)
    pass_time(project, 25)
    write(project, post, alert("boss", "late"))
    project.run("sweep", check=1)
    write(project, post, alert("boss"))
    project.run("sweep")
    assert sent_to(post) == ["boss", "ops", "ops"]


def test_a_channel_that_is_gone_is_neither_tried_nor_complained_of(
    project: Project, post: Post
) -> None:
    write(project, post, alert("gone"))
    fail(project)
    post.refuse("it is down")
    project.run("sweep", check=1)
    post.refuse("")
    project.execute("UPDATE eventctl_telling SET due_at = due_at - ?", 20 * MINUTE)
    assert "gone" in check(project, "--failed-warning", "off")[1]
    write(project, post)
    project.run("sweep", check=1)
    assert sent_to(post) == ["ops"]
    done = project.run("sweep")
    assert (done.stdout, done.stderr) == ("", "")
    assert check(project, "--failed-warning", "off")[0] == "OK"
    assert [line.level for line in doctor(project) if line.check == "alerts"] == ["ok"]
    (shown,) = json.loads(project.run("alerts", "--json").stdout)
    assert {each["channel"] for each in shown["notified"]} == {"report", "gone"}
    screen = plain(on_terminal(project, "alerts")[1])
    assert re.search(r"gone: not notified yet \(not in this events.toml\)", screen)
    assert "it is down" not in screen


def test_a_channel_that_accepts_nothing_is_an_alarm(
    project: Project, post: Post, tmp_path: Path
) -> None:
    write(project, post, alert("bo|ss"))
    post.refuse("no room")
    fail(project)
    project.run("sweep", check=1)
    quiet = ("--failed-warning", "off")
    level, _, values = check(project, *quiet)
    assert level == "OK"
    assert 0 < float(values["unaccepted"]) < 60
    project.execute("UPDATE eventctl_telling SET due_at = due_at - ?", 20 * MINUTE)
    level, words, _ = check(project, *quiet)
    assert level == "WARNING"
    assert re.match(
        r"bo¦ss has not accepted an alert for 20m(?: \ds)? \(the report could not", words
    )
    assert words.endswith("), nor has another")
    assert check(project, *quiet, "--unaccepted-warning", "1h")[0] == "OK"
    assert check(project, *quiet, "--unaccepted-critical", "10m")[0] == "CRITICAL"
    metrics = tmp_path / "x.prom"
    project.run("check", "--prometheus", str(metrics))
    seen = values_of(metrics)
    assert (
        seen["eventctl_alerts_unaccepted", "bo|ss"]
        == seen["eventctl_alerts_unaccepted", "report"]
        == 1
    )
    assert 1200 <= seen["eventctl_alerts_unaccepted_oldest_seconds", ""] < 1300
    assert seen["eventctl_incidents_open", "exhausted"] == 1
    assert seen["eventctl_incidents_open", "late"] == 0
    assert json.loads(project.run("stats", "--json").stdout)["incidents"] == 1
    found = [line for line in doctor(project) if line.check == "alerts"]
    assert [line.level for line in found] == ["problem", "problem"]
    assert re.match(r"bo\|ss has not accepted 1 alert for 20m(?: \ds)?: .*no room", found[0].text)
    assert "eventctl alerts test 'bo|ss'" in (found[0].fix or "")
    # Nobody is notified of what nobody wants to hear of.
    project.run("ack", project.value("SELECT `key` FROM eventctl_incident"))
    assert check(project, *quiet)[0] == "OK"
    project.run("ack", project.value("SELECT `key` FROM eventctl_incident"), "--undo")
    post.refuse("")
    project.run("sweep", check=1)
    level, _, values = check(project, *quiet)
    assert (level, values["unaccepted"]) == ("OK", "0")
    assert [line.level for line in doctor(project) if line.check == "alerts"] == ["ok"]


@sqlite_only
def test_a_channel_that_is_down_is_a_problem_for_doctor(project: Project, post: Post) -> None:
    write(project, post)
    post.refuse("no room")
    fail(project)
    project.run("sweep", check=1)
    assert "no room" in only(doctor(project, check=1), "alerts", "report").text


def test_what_is_paused_is_named_and_no_alarm_by_itself(project: Project, post: Post) -> None:
    write(project, post)
    project.run("sweep")
    project.run("pause", "--handler", "lottery")
    project.run("emit", "-q", "--defer", "purchased")
    project.run("emit", "-q", "--defer", "refunded")
    project.execute("UPDATE eventctl_delivery SET due_at = due_at - ?", 90 * MINUTE)
    level, words, _ = check(project)
    assert level == "CRITICAL"
    assert re.match(r"the oldest due delivery has waited for 1h 30m; paused: lottery$", words)
    # What a person keeps from running is not late, but still to be done.
    project.run("pause", "--event", "refunded")
    level, words, values = check(project)
    assert level == "OK"
    assert re.match(r"last sweep \S+ ago, backlog 2, nothing has failed, paused: lottery, ", words)
    assert (values["due"], values["paused"]) == ("0", "2")
    level, words, _ = check(project, "--paused-warning", "1")
    assert (level, words) == ("WARNING", "paused: lottery, refunded")
    seen = json.loads(project.run("stats", "--json").stdout)
    assert [(each["kind"], each["name"]) for each in seen["paused"]] == [
        ("handler", "lottery"),
        ("event", "refunded"),
    ]
    assert (seen["backlog"], seen["oldestDue"], seen["incidents"]) == (2, None, 0)
    metrics = project.folder / "x.prom"
    project.run("check", "--prometheus", str(metrics))
    assert values_of(metrics)["eventctl_paused", "handler"] == 1
    assert values_of(metrics)["eventctl_alerts_unaccepted", ""] == 0


@sqlite_only
def test_stats_on_a_terminal_names_both(project: Project, post: Post) -> None:
    write(project, post)
    fail(project)
    project.run("sweep", check=1)
    project.run("pause", "lottery", "--why", "until Monday")
    screen = plain(on_terminal(project, "stats")[1])
    assert "1 incident is open (eventctl alerts)" in screen
    assert re.search(r"lottery paused \S+ ago \(until Monday\); resume with:", screen)
