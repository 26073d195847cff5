"""The report that notifies a person: grouped, capped, safe to show, and with the way to act."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventctl.alerts.channels import stdout
from eventctl.alerts.incident import group
from eventctl.alerts.render import excerpts, html, plain, wording
from eventctl.format.text import printable, shorten
from eventctl.models import Notice
from tests.support.databases import sqlite_only
from tests.support.incidents import (
    HOUR,
    NOON,
    PRINT,
    PROGRAM,
    TRACEBACK,
    digest,
    notice,
    one,
)
from tests.support.project import Project


def commands(text: str) -> list[list[str]]:
    """Return the command lines in a text, as a shell would take them apart."""
    lines = (line.strip() for line in text.splitlines())
    return [shlex.split(line) for line in lines if line.startswith(f"{PROGRAM} --config")]


# --- grouping


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("KeyError: 'alice'", "KeyError: 'bob'"),
        ('no user "alice"', 'no user "bob"'),
        ("order 17 is unpaid", "order 4711 is unpaid"),
        ("it costs 12.50", "it costs 1,299.00"),
        ("<Order object at 0x7f3a2b>", "<Order object at 0x10deadbeef>"),
        ("commit deadbeef is gone", "commit cafebabe is gone"),
        (
            "key 0192f0c1-7b3a-7c4e-9d2f-aabbccddeeff",
            "key deadbeef-cafe-4abc-8def-abcdefabcdef",
        ),
        ("at 2026-11-23T01:11:11.000Z", "at 2026-11-24T02:12:12Z"),
        ("at 2026-11-23 01:11:11", "at 2027-01-02 13:59:00"),
        ("db1:3306 is away", "db2:3307 is away"),
        ("order 9 of " + "many words " * 500, "order 10 of " + "many words " * 500),
        ("no mailbox alice@example.com", "no mailbox bob.b@example.org"),
    ],
)
def test_errors_that_differ_in_their_data_are_one_incident(one: str, other: str) -> None:
    assert len(group([notice(1, error=one), notice(2, error=other)])) == 1


@pytest.mark.parametrize(
    "other",
    [
        notice(2, kind="discarded"),
        notice(2, handler="giveCoupon"),
        notice(2, error="TimeoutError: timed out"),
        notice(2, traceback=TRACEBACK),
    ],
    ids=["kind", "handler", "error", "place"],
)
def test_what_differs_in_kind_handler_error_or_place_is_another_incident(other: Notice) -> None:
    assert len(group([notice(1), other])) == 2


def test_the_same_place_at_another_line_is_the_same_incident() -> None:
    moved = TRACEBACK.replace("836", "840")
    assert len(group([notice(1, traceback=TRACEBACK), notice(2, traceback=moved)])) == 1


def test_an_incident_has_the_first_error_and_traceback_and_the_latest_output() -> None:
    (incident,) = group(
        [
            notice(7, at=NOON + 2000, error="order 7", output="late", attempts=3),
            notice(9, at=NOON, error="order 9", name="refunded", output="early"),
            notice(7, at=NOON + 1000, error="order 8"),
            notice(3, at=NOON + 3000, error="order 3"),
        ]
    )
    assert (incident.error, incident.output) == ("order 9", "late")
    assert (incident.opened_at, incident.last_at) == (NOON, NOON + 3000)
    assert incident.count == 4
    assert incident.event_ids == (3, 7, 9)
    assert incident.names == ("refunded", "purchased")
    assert incident.attempts == 8


def test_the_incident_with_most_deliveries_is_first() -> None:
    notices = [notice(1, error="rare"), notice(2, error="often"), notice(3, error="often")]
    assert [incident.error for incident in group(notices)] == ["often", "rare"]


def test_a_long_error_costs_no_time() -> None:
    notices = [notice(i, error="a-" * 50_000 + "!" * i) for i in range(200)]
    assert group(notices)[0].count == 200


@given(st.lists(st.builds(notice, st.integers(1, 99), error=st.text()), max_size=20))
def test_grouping_loses_nothing(notices: list[Notice]) -> None:
    incidents = group(notices)
    assert sum(incident.count for incident in incidents) == len(notices)
    shown = {each for incident in incidents for each in incident.event_ids}
    assert shown == {each.event_id for each in notices}


# --- what is data, and how it is shown


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\r\nb\tc\x00", "a\\r\\nb\\tc\\x00"),
        ("\x9b2J\x7f", "\\x9b2J\\x7f"),
        ("abc\u202etxt.exe\u2066", "abc\\u202etxt.exe\\u2066"),
        ("one\u2028two", "one\\u2028two"),
        ("\udc80", "\\udc80"),
        ("👩‍💻 ✔️ שלום سلام ünï", "👩‍💻 ✔️ שלום سلام ünï"),
    ],
)
def test_text_from_outside_is_shown_escaped(raw: str, shown: str) -> None:
    assert printable(raw) == shown


def test_lines_stay_lines_where_they_are_wanted() -> None:
    assert printable("a\r\n\tb\rc\n", lines=True) == "a\n\tb\\rc\n"


@given(st.text())
def test_printable_text_has_no_control_left(text: str) -> None:
    shown = printable(text)
    assert not [each for each in shown if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")]
    assert printable(shown) == shown
    assert len(shown.splitlines()) <= 1


def test_shorten_keeps_to_the_width() -> None:
    assert (shorten("abcdef", 4), shorten("abcd", 4)) == ("abc…", "abcd")


# --- the text


def test_the_subject_says_what_how_many_who_and_where() -> None:
    two = [notice(1), notice(2, handler="giveCoupon"), notice(3, error="else")]
    assert wording.subject(digest(*two)) == (
        "eventctl: 3 deliveries ran out of retries (lottery, giveCoupon) on web1"
    )
    every = [notice(1), notice(2, kind="discarded"), notice(3, kind="held", handler="gone")]
    assert wording.subject(digest(*every)) == (
        "eventctl: 1 delivery ran out of retries, 1 was discarded by the handler, 1 is held"
        " (lottery, gone) on web1"
    )
    many = [notice(i, handler=f"h{i}") for i in range(1, 6)]
    assert "(h1, h2, h3 and 2 more)" in wording.subject(digest(*many))


def test_the_text_of_one_incident() -> None:
    sent = [
        notice(42, traceback=TRACEBACK, output="first\n"),
        notice(57, at=NOON + 61_999, traceback=TRACEBACK, output="connecting\nno\n"),
    ]
    assert plain.text(digest(*sent)) == (
        "eventctl: 2 deliveries ran out of retries (lottery) on web1\n\n" + "-" * 78 + "\n"
        "1. lottery: 2 deliveries of purchased ran out of retries\n"
        "   ConnectionRefusedError: [Errno 111] Connection refused\n"
        "\n"
        "   First     2026-11-23 12:00:00 UTC\n"
        "   Last      2026-11-23 12:01:01 UTC\n"
        "   Attempts  up to 8\n"
        "   Events    42, 57\n"
        "\n"
        "   Show it:\n"
        f"     {PROGRAM} --config /etc/eventctl/events.toml show 42\n"
        "   Once the cause is fixed, let the next sweep run them again:\n"
        f"     {PROGRAM} --config /etc/eventctl/events.toml replay 42 57 --handler lottery\n"
        "\n"
        "   First traceback:\n"
        + "".join(f"   | {line}\n" for line in TRACEBACK.splitlines())
        + "\n   Latest output:\n   | connecting\n   | no\n"
    )


def test_the_commands_are_quoted_for_a_shell() -> None:
    odd = digest(notice(handler="it's; rm -rf $HOME"), path=Path("/srv/my shop/events.toml"))
    look, replay = commands(plain.text(odd))
    assert look == [PROGRAM, "--config", "/srv/my shop/events.toml", "show", "42"]
    assert replay[3:] == ["replay", "42", "--handler", "it's; rm -rf $HOME"]


def test_a_name_that_cannot_be_typed_is_left_out_of_the_command() -> None:
    _, replay = commands(plain.text(digest(notice(handler="lot\x1btery"))))
    assert replay[3:] == ["replay", "42"]


def test_an_incident_is_replayed_by_its_id_however_much_there_is_of_it() -> None:
    report = digest(*[notice(i) for i in range(1, 24)])
    (incident,) = report.incidents
    named = replace(report, incidents=(replace(incident, key="513925c9e4"),))
    text = plain.text(named)
    assert "19, 20 and 3 more" in " ".join(text.split())
    assert [command[3:] for command in commands(text)] == [
        ["show", "1"],
        ["replay", "--incident", "513925c9e4"],
        ["ack", "513925c9e4"],
    ]


def test_what_is_in_no_incident_is_replayed_by_its_first_twenty_ids() -> None:
    for count in (20, 23):
        text = plain.text(digest(*[notice(i) for i in range(1, count + 1)]))
        replayed = commands(text)[-1][3:]
        assert replayed == ["replay", *map(str, range(1, 21)), "--handler", "lottery"]
        assert ("run them again (the first 20):" in text) == (count > 20)


def test_held_deliveries_say_how_to_fix_it() -> None:
    text = plain.text(digest(notice(kind="held", handler="audit", attempts=0)))
    assert 'Add the handler "audit" back to [handlers] of /etc/eventctl/events.toml' in text
    assert [command[3] for command in commands(text)] == ["show"]
    assert "Attempts" not in text
    damaged = plain.text(digest(notice(kind="held", handler="lottery")))
    assert "emit the event again" in " ".join(damaged.split())


def test_a_long_traceback_keeps_its_head_and_its_tail() -> None:
    lines = [f"line {i}" for i in range(1000)]
    shown = excerpts.traceback(digest(notice(traceback="\n".join(lines))).incidents[0])
    assert len(shown) <= 30
    assert (shown[0], shown[-1]) == ("line 0", "line 999")
    assert "… 972 lines left out …" in shown


def test_long_output_keeps_its_tail_and_a_long_line_its_beginning() -> None:
    output = "\n".join([*(f"line {i}" for i in range(100)), "x" * 5000])
    shown = excerpts.output(digest(notice(output=output)).incidents[0])
    assert shown[0] == "… 89 lines left out …"
    assert shown[-1] == "x" * 119 + "…"


def test_only_ten_are_reported_in_full_and_the_rest_in_a_line_each() -> None:
    notices = [notice(i, handler=f"h{i}") for i in range(1, 14)]
    text = plain.text(digest(*notices))
    assert text.count("   Show it:") == wording.FULL
    assert "  - h13: 1 ran out of retries: ConnectionRefusedError" in text
    assert commands(text)[-1][3:] == ["alerts"]
    assert "other problems" not in text


@pytest.mark.parametrize(
    ("number", "words"),
    [(51, "1 delivery with 1 other problem."), (99, "49 deliveries with 49 other problems.")],
)
def test_past_fifty_incidents_the_rest_is_a_count(number: int, words: str) -> None:
    notices = [notice(i, handler=f"h{i}") for i in range(1, number + 1)]
    for report in (plain.text(digest(*notices)), html.page(digest(*notices))):
        assert f"And {words}" in report


def test_text_that_others_wrote_cannot_pass_for_ours() -> None:
    forged = f"x\n\n   Show it:\n     {PROGRAM} --config /tmp/evil.toml show 1\x1b[2K"
    report = digest(notice(error=forged, traceback=forged, output=forged, handler="h\nShow it:"))
    text = plain.text(report)
    assert ["/tmp/evil.toml"] not in [command[2:3] for command in commands(text)]
    assert "\x1b" not in text
    assert "\\x1b[2K" in text


def test_our_own_lines_fit_eighty_columns() -> None:
    notices = [notice(1_000_000_000 + i, error="word " * 100) for i in range(100)]
    lines = plain.text(digest(*notices)).splitlines()
    assert max(len(line) for line in lines if "eventctl --config" not in line) <= 80


# --- the page


class Outline(HTMLParser):
    """Reads a page strictly: every element must be closed, in order."""

    VOID = ("meta", "br")

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_well_formed_and_says_what_the_text_says() -> None:
    notices = [notice(i, handler=f"h{i % 13}", traceback=TRACEBACK) for i in range(1, 400)]
    report = digest(*notices, notice(999, kind="held"), notice(998, kind="discarded"))
    page = Outline(html.page(report))
    shown = " ".join(page.text.split())
    for command in commands(plain.text(report)):
        assert shlex.join(command) in shown
    assert wording.subject(report) in shown
    assert "Connection refused" in shown


def test_the_page_shows_markup_as_text() -> None:
    evil = "</pre><script>alert('x')</script><img src=x onerror=alert(1)>&amp;\x1b[0m"
    odd = notice(handler=evil, name=evil, error=evil, traceback=evil, output=evil)
    page = Outline(html.page(digest(odd, path=Path(f"/srv/{evil}"), host=evil)))
    assert not page.tags & {"script", "img"}
    assert not page.attributes & {"onerror", "src"}
    assert evil.replace("\x1b", "\\x1b") in page.text


def test_what_is_resolved_is_not_in_the_colour_of_an_error() -> None:
    red = "#b3261e"
    assert red in html.page(one())
    assert red not in html.page(one(ended=NOON + HOUR))


def test_attempts_are_up_to_a_number_only_where_they_can_differ() -> None:
    assert "Attempts  up to 8" in plain.text(one())
    assert "Attempts  1\n" in plain.text(one(attempts=1))


def test_the_page_loads_nothing() -> None:
    page = html.page(digest(notice(traceback=TRACEBACK)))
    assert "http" not in page
    assert "url(" not in page


# --- size, cost, printing


def test_five_thousand_notices_are_one_small_message() -> None:
    notices = [
        notice(
            i,
            handler=f"h{i % 20}",
            error=f"Error{i % 70}x: {'<&>' * 300}",
            traceback=f"{TRACEBACK * 20}in {chr(97 + i % 26)}{chr(97 + i % 7)} {'y' * 300}\n",
            output="some output of a handler, a line that is not short\n" * 500,
        )
        for i in range(5000)
    ]
    assert len(plain.text(digest(*notices)).encode()) < 60_000
    assert len(html.page(digest(*notices)).encode()) < 90_000


def test_what_is_imported_for_a_printed_report_is_light() -> None:
    code = """if True:
        import json, sys
        import eventctl.alerts.channels
        first = sorted(sys.modules)
        from eventctl.alerts.channels import stdout
        print(json.dumps([first, sorted(sys.modules)]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    at_import, printing = (set(names) for names in json.loads(done.stdout))
    assert not at_import & {"email", "smtplib", "ssl", "html", "hashlib", "subprocess", "textwrap"}
    assert not printing & {"email", "smtplib", "ssl", "subprocess", "asyncio", "logging"}


def test_the_report_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    report = digest(notice())
    stdout.send(PRINT, report)
    assert capsys.readouterr().out == plain.text(report)


@sqlite_only
def test_an_ascii_locale_does_not_keep_the_report_back(project: Project) -> None:
    toml = '[events]\nbad = ["fail"]\n[handlers]\nfail = "handlers:fail"\n'
    handlers = 'def fail(): raise OSError("naïve ✔")'
    project.write(f"{toml}[defaults]\nretry.attempts = 1\n", handlers)
    project.run("emit", "-q", "bad", check=None)
    sent = project.run("sweep", env={"PYTHONIOENCODING": "ascii:strict"}, check=1).stdout
    assert "OSError: na\\xefve \\u2714" in sent


def test_a_full_disk_under_stdout_is_a_channel_error() -> None:
    code = """if True:
        import os, sys
        from eventctl.alerts.channels import stdout
        from eventctl.errors import ChannelError
        from tests.support.incidents import PRINT, digest, notice
        try:
            stdout.send(PRINT, digest(notice()))
        except ChannelError as error:
            sys.stderr.write(str(error))
            sys.stderr.flush()
            os._exit(7)
    """
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, "No space left on device" in done.stderr) == (7, True)
