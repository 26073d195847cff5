"""Incidents as people are notified of them: once, again when it matters, and when they end."""

from __future__ import annotations

import json

from tests.support import look
from tests.support.channels import Post, body, fail, fix, many_failed, pass_time, replay, write
from tests.support.databases import sqlite_only
from tests.support.past import archived
from tests.support.project import Project

TOPIC = "eventctl: lottery ran out of retries: RuntimeError: no luck for 'A'"


def sweep(project: Project, code: int = 0) -> None:
    """Sweep in silence: all reports go by mail."""
    done = project.run("sweep", check=code)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_life_of_an_incident(project: Project, post: Post) -> None:
    write(project, post)
    fail(project, "A", "B")
    sweep(project, 1)
    assert post.subjects() == [TOPIC]
    assert "lottery: 2 deliveries of purchased ran out of retries" in body(post.mails()[0])
    # It grows: not reported again within the hour, and once after it.
    fail(project, "C")
    sweep(project)
    sweep(project)
    assert len(post.mails()) == 1
    pass_time(project, 1.01)
    sweep(project, 1)
    sweep(project)
    assert post.subjects() == [TOPIC, f"Re: {TOPIC}"]
    assert "3 deliveries" in body(post.mails()[1])
    assert "Notified once before" in body(post.mails()[1])
    # Nothing is new, but it is still open a day later.
    pass_time(project, 23)
    sweep(project)
    pass_time(project, 1.01)
    sweep(project, 1)
    assert len(post.mails()) == 3
    # All is made good, which is nothing that a person must act on.
    fix(project)
    replay(project)
    sweep(project)
    assert post.subjects()[3:] == [f"Resolved: {TOPIC}"]
    end = post.mails()[3]
    assert "lottery resolved after 1d 1h: 3 deliveries of purchased had run out" in body(end)
    assert "Everything is resolved" in body(end)
    assert " replay " not in body(end)
    sweep(project)
    pass_time(project, 100)
    sweep(project)
    assert len(post.mails()) == 4
    assert project.value("SELECT COUNT(*) FROM eventctl_incident") == 1


def test_all_mails_of_an_incident_are_one_thread(project: Project, post: Post) -> None:
    write(project, post)
    fail(project)
    sweep(project, 1)
    pass_time(project, 25)
    sweep(project, 1)
    fix(project)
    replay(project)
    sweep(project)
    first, again, end = post.mails()
    (key,) = project.rows("SELECT `key` FROM eventctl_incident")[0]
    assert str(first["Message-ID"]).startswith(f"<{key}.0.report@")
    assert "References" not in first
    for later in (again, end):
        assert later["References"] == later["In-Reply-To"] == first["Message-ID"]
    assert len({mail["Message-ID"] for mail in (first, again, end)}) == 3


def test_what_is_not_alike_is_reported_by_itself(project: Project, post: Post) -> None:
    write(project, post)
    fail(project, "A", "B")
    fail(project, "A", event="refunded")
    sweep(project, 1)
    assert post.subjects() == [
        TOPIC,
        "eventctl: audit ran out of retries: ConnectionError: the ledger is away",
    ]


def test_it_ends_when_all_of_it_is_good_and_not_before(project: Project, post: Post) -> None:
    write(project, post)
    fail(project, "A", "B")
    sweep(project, 1)
    fix(project)
    project.run("replay", "1")
    sweep(project)
    assert len(post.mails()) == 1
    # What a person has given up needs nobody any more.
    project.execute("UPDATE eventctl_delivery SET reason = 'cancelled' WHERE state = 'failed'")
    sweep(project)
    assert post.subjects() == [TOPIC, f"Ended: {TOPIC}"]


def test_a_replay_that_fails_again_is_reported_at_once(project: Project, post: Post) -> None:
    write(project, post)
    fail(project)
    sweep(project, 1)
    replay(project)
    sweep(project, 1)
    assert post.subjects() == [TOPIC, f"Re: {TOPIC}"]
    sweep(project)
    assert project.value("SELECT count FROM eventctl_incident") == 1
    assert look.notified(project) == {1}


def test_what_flaps_is_one_incident_and_is_not_reported_each_time(
    project: Project, post: Post
) -> None:
    write(project, post)
    for user in ("A", "B", "C"):
        fail(project, user)
        project.run("sweep", check=None)
        fix(project)
        replay(project)
        sweep(project)
        fix(project, False)
    assert post.subjects() == [TOPIC, f"Resolved: {TOPIC}"]
    assert project.rows("SELECT count FROM eventctl_incident") == [(3,)]
    # It is open again, and stays so: that is reported once an hour has passed.
    fail(project, "D")
    sweep(project)
    pass_time(project, 1.01)
    sweep(project, 1)
    assert post.subjects()[2:] == [f"Re: {TOPIC}"]
    # After an hour without it, the next one is another incident.
    fix(project)
    replay(project)
    sweep(project)
    fix(project, False)
    pass_time(project, 1.01)
    fail(project, "A")
    sweep(project, 1)
    assert post.subjects()[3:] == [f"Resolved: {TOPIC}", TOPIC]


def test_five_thousand_failures_are_one_message(project: Project, post: Post) -> None:
    write(project, post)
    many_failed(project, 5000)
    sweep(project, 1)
    (mail,) = post.mails()
    assert "lottery: 5,000 deliveries of purchased ran out of retries" in body(mail)
    assert "Events 1, 2, 3," in body(mail)
    assert "20 and 4,980 more" in body(mail)
    key = project.value("SELECT `key` FROM eventctl_incident")
    assert f"replay --incident {key} " in body(mail)
    assert len(mail.as_bytes()) < 20_000
    assert look.count(project, "notice") == 0
    assert len(look.notified(project)) == 5000


@sqlite_only
def test_ten_incidents_and_then_a_summary(project: Project, post: Post) -> None:
    handlers = "".join(f'h{n} = "handlers:lottery"\n' for n in range(15))
    events = "".join(f'e{n} = ["h{n}"]\n' for n in range(15))
    head = "[sweep]\nbreaker = 1000\n[defaults]\nretry = { attempts = 1 }\n"
    toml = f"{head}[events]\n{events}[handlers]\n{handlers}"
    write(project, post, toml=toml)
    lines = "".join(json.dumps({"name": f"e{n}"}) + "\n" for n in range(15) for _ in range(n + 1))
    project.run("emit", "-q", "--batch", "-", input=lines)
    sweep(project, 1)
    alone, summary = post.mails()[:10], post.mails()[10]
    assert [mail["Subject"].split()[1] for mail in alone] == [f"h{n}" for n in range(14, 4, -1)]
    assert str(summary["Subject"]).startswith("eventctl: 15 deliveries ran out of retries (h4, h3,")
    for n in range(5):
        assert f"h{n}: {n + 1} deliver" in body(summary)
    # The summary has reported each of them.
    assert project.value("SELECT COUNT(*) FROM eventctl_telling WHERE told IS NULL") == 0


def test_a_failed_attempt_is_reported_only_where_somebody_asks(
    project: Project, post: Post
) -> None:
    retries = '[defaults]\nretry = { attempts = 2, delay = "1m" }\n'
    toml = retries + '[events]\npurchased = ["lottery"]\n[handlers]\nlottery = "handlers:lottery"\n'
    write(project, post, toml=toml)
    fail(project)
    sweep(project)
    assert look.count(project, "incident") == 0
    asks = '\n[[alerts]]\nmail = ["dev@example.com"]\non = ["failed", "resolved"]\n'
    write(project, post, asks, toml=toml)
    fail(project, "B")
    sweep(project)
    (mail,) = post.mails()
    assert mail["To"] == "dev@example.com"
    assert "It is retried automatically" in body(mail)
    fix(project)
    look.make_due(project)
    sweep(project)
    assert post.subjects()[1:] == [
        "Resolved: eventctl: lottery failed: RuntimeError: no luck for 'B'"
    ]


def test_what_ran_out_in_the_end_is_not_resolved(project: Project, post: Post) -> None:
    toml = (
        '[defaults]\nretry = { attempts = 2, delay = "1m" }\n'
        '[events]\npurchased = ["lottery"]\n[handlers]\nlottery = "handlers:lottery"\n'
    )
    asks = '\n[[alerts]]\nmail = ["dev@example.com"]\non = ["failed", "resolved"]\n'
    write(project, post, asks, toml=toml)
    fail(project)
    project.run("sweep", check=None)
    look.make_due(project)
    project.run("sweep", check=1)
    dev = [mail for mail in post.mails() if mail["To"] == "dev@example.com"]
    topic = "eventctl: lottery failed: RuntimeError: no luck for 'A'"
    assert [mail["Subject"] for mail in dev] == [topic, f"Ended: {topic}"]
    assert "1 delivery of purchased had failed, given up" in body(dev[1])
    assert "Deliveries that were given up have their own incident" in body(dev[1])
    assert [mail["To"] for mail in post.mails()].count("ops@example.com") == 1
    assert project.rows("SELECT kind FROM eventctl_incident WHERE ended_at IS NULL") == [
        ("exhausted",)
    ]


def test_a_message_counts_what_is_still_tried(project: Project, post: Post) -> None:
    toml = (
        '[defaults]\nretry = { attempts = 9, delay = "1m" }\n'
        '[events]\npurchased = ["lottery"]\n[handlers]\nlottery = "handlers:lottery"\n'
    )
    asks = '\n[[alerts]]\nmail = ["dev@example.com"]\non = ["failed", "resolved"]\n'
    write(project, post, asks, toml=toml)
    fail(project, "1", "2", "3", "4")
    post.refuse("down")
    project.run("sweep", check=1)
    fix(project)
    project.run("replay", "1", "--include-done", "--now", check=None)
    project.execute(
        "UPDATE eventctl_delivery SET state = 'done', due_at = NULL WHERE event_id IN (1, 3)"
    )
    project.run("cancel", "4")
    project.execute("UPDATE eventctl_delivery SET due_at = due_at + 30000 WHERE event_id = 2")
    post.refuse("")
    project.run("sweep", check=None)
    (mail,) = post.mails()
    assert "lottery: 1 delivery of purchased failed and will be retried" in body(mail)
    assert "Event 2 " in body(mail)
    # So do the commands and the page.
    (shown,) = json.loads(project.run("alerts", "--json").stdout)
    assert (shown["kind"], shown["count"], shown["events"]) == ("failed", 1, [2])
    one = "lottery: 1 delivery of purchased failed and will be retried"
    assert one in project.run("ack", shown["id"]).stderr
    assert "lottery, 1 in all, " in project.run("show", "2").stdout
    project.run("stats", "--html", "page.html", check=None)
    page = (project.folder / "page.html").read_text(encoding="utf-8")
    assert one in page
    assert "events 1, 2" not in page
    # It has ended where all is done or given up, by whomever.
    look.make_due(project)
    project.run("sweep", check=None)
    text = body(post.mails()[1])
    assert "4 deliveries of purchased had failed, 1 cancelled by a person" in text


def test_what_was_late_and_given_up_ends_too(project: Project, post: Post) -> None:
    toml = (
        '[defaults]\nretry = { attempts = 2, delay = "1m" }\n[events]\n'
        'purchased = { handlers = ["lottery"], deadline = "10m" }\n'
        '[handlers]\nlottery = "handlers:lottery"\n'
    )
    write(project, post, toml=toml)
    fail(project)
    project.execute("UPDATE eventctl_notice SET due_at = 1")
    sweep(project, 1)
    look.make_due(project)
    sweep(project, 1)
    topic = "eventctl: purchased is late: not processed within 10m"
    assert sorted(post.subjects()) == [f"Ended: {topic}", TOPIC, topic]
    (end,) = [mail for mail in post.mails() if str(mail["Subject"]).startswith("Ended")]
    assert "1 event had been late, given up" in body(end)


def test_what_is_late_is_reported_and_its_end_too(project: Project, post: Post) -> None:
    toml = (
        '[defaults]\nretry = { attempts = 9, delay = "1m" }\n[events]\n'
        'purchased = { handlers = ["lottery"], deadline = "10m" }\n'
        '[handlers]\nlottery = "handlers:lottery"\n'
    )
    write(project, post, toml=toml)
    fail(project)
    sweep(project)
    project.execute("UPDATE eventctl_notice SET due_at = 1")
    sweep(project, 1)
    topic = "eventctl: purchased is late: not processed within 10m"
    assert post.subjects() == [topic]
    fix(project)
    look.make_due(project)
    sweep(project)
    assert post.subjects() == [topic, f"Resolved: {topic}"]


def test_what_was_held_is_over_when_it_can_be_run(project: Project, post: Post) -> None:
    gone = '[events]\npurchased = ["lottery"]\n[handlers]\nlottery = "handlers:lottery"\n'
    write(project, post)
    project.run("emit", "-q", "--defer", "refunded")
    write(project, post, toml=gone)
    sweep(project)
    look.make_notices_due(project)
    sweep(project, 1)
    assert "audit is held" in post.subjects()[0]
    fix(project)
    write(project, post)
    look.make_due(project)
    sweep(project)
    assert post.subjects()[1].startswith("Resolved: eventctl: audit is held")


def test_what_was_set_aside_is_over_when_it_is_gone(project: Project, post: Post) -> None:
    write(project, post)
    sweep(project)
    project.execute("INSERT INTO eventctl_outbox (name, args) VALUES ('nothing', '[]')")
    spool = project.folder / "events.state"
    (spool / "spool").mkdir(exist_ok=True)
    (spool / "spool" / "x.json").write_text("{")
    sweep(project, 1)
    assert sorted(post.subjects())[0].startswith("eventctl: set aside in the outbox: eventctl_")
    assert len(post.mails()) == 2
    sweep(project)
    project.execute("DELETE FROM eventctl_outbox")
    sweep(project)
    assert len(post.mails()) == 3
    (spool / "spool" / "damaged" / "x.json").unlink()
    sweep(project)
    assert len(post.mails()) == 4
    assert project.value("SELECT COUNT(*) FROM eventctl_incident WHERE ended_at IS NULL") == 0


def test_what_a_person_cancelled_is_not_reported_as_fixed(project: Project, post: Post) -> None:
    write(project, post)
    fail(project, "A", "B")
    fail(project, "A", event="refunded")
    sweep(project, 1)
    project.run("cancel", "3")
    project.run("cancel", "1", "--handler", "lottery")
    fix(project)
    project.run("replay", "2")
    sweep(project)
    some, all_of_it = sorted(post.mails()[2:], key=lambda mail: "audit" in str(mail["Subject"]))
    assert some["Subject"] == f"Ended: {TOPIC}"
    text = body(some)
    assert "2 deliveries of purchased had run out of retries, 1 cancelled by a person" in text
    assert "1 problem ended (lottery)" in text
    text = body(all_of_it)
    assert "1 delivery of refunded had run out of retries, cancelled by a person" in text
    for mail in (some, all_of_it):
        for part in ("plain", "html"):
            assert "Everything is resolved" not in body(mail, part)
            assert "resolved after" not in body(mail, part)


def test_what_failed_and_was_reported_can_be_pruned_and_leaves_its_incident(
    project: Project, post: Post
) -> None:
    write(project, post)
    fail(project, "A", "B")
    (folder := project.folder / "archive").mkdir()
    prune = ("prune", "--older-than", "0", "--failed", "--archive", "archive")
    post.refuse("down")
    for _ in range(2):
        project.run("sweep", check=1)
        done = project.run(*prune)
        assert "deleted 0 events" in done.stderr
        assert "2 events of that age failed and will stay until a channel has been" in done.stderr
        # What is not deleted is not archived, however often it is tried.
        assert list(folder.iterdir()) == []
    post.refuse("")
    project.run("sweep", check=1)
    done = project.run("prune", "--older-than", "0", "--failed", "--limit", "1")
    assert "deleted 1 event" in done.stderr
    assert "failed and will stay" not in done.stderr
    project.run("sweep")
    assert project.value("SELECT ended_at FROM eventctl_incident") is None, "one is left"
    done = project.run(*prune)
    assert "deleted 1 event" in done.stderr
    assert len(archived(folder)) == 1
    project.run("sweep")
    assert project.value("SELECT ended_at FROM eventctl_incident") is not None
    first, last = post.mails()
    assert "2 deliveries of purchased had run out of retries, cancelled by a person" in body(last)
    assert last["Subject"] == f"Ended: {first['Subject']}"


def test_what_has_still_to_be_reported_is_not_pruned(project: Project, post: Post) -> None:
    write(project, post)
    fail(project)
    post.refuse("down")
    project.run("sweep", check=1)
    fix(project)
    replay(project)
    project.run("sweep", check=1)
    assert project.value("SELECT ended_at FROM eventctl_incident") is not None
    pass_time(project, 100)
    for command in (("prune", "--older-than", "1h", "--yes"), ("sweep",)):
        if command == ("sweep",):
            text = project.config.read_text()
            project.config.write_text(text.replace("[store]\n", '[store]\nkeep = "1h"\n'))
        project.run(*command, check=None)
        assert project.value("SELECT COUNT(*) FROM eventctl_incident") == 1
    post.refuse("")
    project.run("sweep", check=None)
    assert post.subjects() == [TOPIC]
    project.run("sweep")
    assert project.value("SELECT COUNT(*) FROM eventctl_incident") == 0
