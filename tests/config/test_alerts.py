"""[[alerts]] of events.toml: which channels there are, and each mistake in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from eventctl.config import load
from eventctl.config.model import NEEDS_A_PERSON, Alert, Report
from tests.support.events_toml import mistakes, write

NO_CHANNEL = (
    "alerts[1]: has no channel; the channels are slack, webhook, elasticsearch, alertmanager,"
    " apprise,"
    ' mail, command, print and syslog; add one, such as mail = ["ops@example.com"]'
)


def alerts(folder: Path, text: str, mode: int = 0o600) -> tuple[Alert, ...]:
    return load(write(folder, text, mode)).alerts


def test_a_table_has_defaults(tmp_path: Path) -> None:
    (alert,) = alerts(tmp_path, "[[alerts]]\nsyslog = true")
    assert alert == Alert("syslog", "syslog", "")
    assert (alert.on, alert.again_after, alert.repeat) == (NEEDS_A_PERSON, 3600, 86_400)
    assert {"outage", "exhausted", "resolved"} < set(alert.on)
    assert "failed" not in alert.on


def test_a_table_says_all_of_it(tmp_path: Path) -> None:
    text = """
        [[alerts]]
        elasticsearch = "https://es.example.com:9200"
        name = "Kibana"
        on = ["failed", "resolved", "set aside"]
        again_after = "10m"
        repeat = "1w"
        api_key = "s3cret"
        index = "shop"
        ca_file = "ca.pem"
        """
    (alert,) = alerts(tmp_path, text)
    assert alert == Alert(
        "Kibana",
        "elasticsearch",
        "https://es.example.com:9200",
        ("failed", "resolved", "set aside"),
        600,
        604_800,
        "s3cret",
        str(tmp_path / "ca.pem"),
        "shop",
    )


def test_channels_are_named_by_their_word_and_numbered_where_it_repeats(tmp_path: Path) -> None:
    table = "[[alerts]]\nprint = true\n"
    found = alerts(tmp_path, f'{table}{table}{table}name = "print-4"\n{table}')
    assert [alert.name for alert in found] == ["print", "print-2", "print-4", "print-3"]


def test_mail_is_sent_as_report_says(tmp_path: Path) -> None:
    text = '[report]\nmail_from = "shop@example.com"\n[[alerts]]\nmail = ["ops@example.com"]'
    (alert,) = alerts(tmp_path, text)
    assert alert.to == ("ops@example.com",)
    assert alert.report == Report(mail_from="shop@example.com", sendmail="/usr/sbin/sendmail")


def test_a_secret_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH_OF_IT", "T0/B0/s3cret")
    text = '[[alerts]]\nslack = "https://hooks.slack.com/services/${PATH_OF_IT}"'
    (alert,) = alerts(tmp_path, text, 0o644)
    assert alert.to == "https://hooks.slack.com/services/T0/B0/s3cret"
    assert "s3cret" not in repr(alert)


@pytest.mark.parametrize(
    ("report", "name", "channel", "resolved"),
    [
        ("", "report", "print", True),
        ('[report]\nmail_to = ["ops@example.com"]', "report", "mail", True),
    ],
)
def test_the_report_is_the_first_channel(
    tmp_path: Path, report: str, name: str, channel: str, resolved: bool
) -> None:
    config = load(write(tmp_path, f"{report}\n[[alerts]]\nsyslog = true", 0o600))
    first, second = config.channels
    assert (first.name, first.channel, second.name) == (name, channel, "syslog")
    assert first.wants("resolved") is resolved
    assert first.wants("exhausted")
    assert not first.wants("failed")


def test_a_report_that_is_not_printed_is_no_channel(tmp_path: Path) -> None:
    text = "[report]\nprint = false\n[[alerts]]\nsyslog = true"
    assert [c.name for c in load(write(tmp_path, text)).channels] == ["syslog"]


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("", NO_CHANNEL),
        ('on = ["held"]', NO_CHANNEL),
        ('slak = "https://x/"', 'alerts[1].slak: is not a channel; did you mean "slack"?'),
        (
            "print = true\nsyslog = true",
            "alerts[1]: has two channels, print and syslog; give each one its own [[alerts]]",
        ),
        (
            'alertmanager = "http://am:9093/api/v2/alerts"',
            "alerts[1].alertmanager: ends with /api/v2/alerts, which eventctl adds; leave that out",
        ),
        ("print = 1", "alerts[1].print: is a number; write true or false, without quotes"),
        ("print = false", "alerts[1].print: is false; write true, or remove the whole table"),
        (
            'print = true\non = ["exausted"]',
            'alerts[1].on: "exausted" is not a kind of incident; did you mean "exhausted"?',
        ),
        (
            "print = true\non = []",
            'alerts[1].on: names nothing; write a list such as ["exhausted", "resolved"],'
            " or remove it",
        ),
        (
            'print = true\non = ["resolved"]',
            'alerts[1].on: "resolved" alone reports nothing; add the kinds'
            ' whose end it reports, such as "exhausted"',
        ),
        ("print = true\nrepeat = 0", 'alerts[1].repeat: is zero; write "500ms", "30s", "5m", "2h",'
         ' "1h30m", "90d" or "1w"'),
        (
            'print = true\nname = "report"',
            "alerts[1].name: \"report\" is [report]'s own name; give it another one",
        ),
        (
            "print = true\nmuch = 1",
            "alerts[1].much: is an unknown key; known are again_after, api_key, ca_file, index,"
            " name, on, print, repeat and secret",
        ),
        (
            'print = true\nsecret = "${HOME}"',
            "alerts[1].secret: has no effect with print; remove it",
        ),
        (
            'mail = ["a@b"]\nca_file = "ca.pem"',
            "alerts[1].ca_file: has no effect with mail; set it in [report] instead",
        ),
        (
            "mail = []",
            'alerts[1].mail: has no address; write a list such as ["ops@example.com"]',
        ),
        (
            'mail = ["ops at example"]',
            'alerts[1].mail: "ops at example" is not a mail address; write "ops@example.com" or'
            ' "Ops <ops@example.com>", in ASCII but for the name',
        ),
        (
            'mail = ["a@b, c@d"]',
            "alerts[1].mail: has a comma in an address; write one string for each address",
        ),
        (
            'command = ["page"]',
            "alerts[1].command: does not begin with a program's absolute path; write a list such"
            ' as ["/usr/local/bin/page", "--now"]',
        ),
        (
            'webhook = "ftp://example.com/"',
            "alerts[1].webhook: is neither https:// nor http://; write https://host/path",
        ),
        ('webhook = "https:///path"', "alerts[1].webhook: names no host; write https://host/path"),
        (
            'webhook = "https://a b/"',
            "alerts[1].webhook: has a character that is not allowed in a URL; write it as %XX",
        ),
        (
            'slack = "http://hooks.example.com/s3cret"',
            "alerts[1].slack: would send its secret in the clear; use an https:// URL",
        ),
        (
            'webhook = "http://u:s3cret@example.com/"',
            "alerts[1].webhook: would send its secret in the clear; use an https:// URL",
        ),
        (
            'elasticsearch = "http://es:9200"\napi_key = "${HOME}"',
            "alerts[1].api_key: would be sent in the clear; use an https:// URL",
        ),
        (
            'elasticsearch = "https://[::1/s3cret"\napi_key = "${HOME}"',
            "alerts[1].elasticsearch: has an invalid address between [ and ]; write"
            " https://host/path",
        ),
        (
            'elasticsearch = "http://u:s3cret@es:9200"\napi_key = "${HOME}"',
            "alerts[1].elasticsearch: would send its secret in the clear; use an https:// URL",
        ),
        (
            'slack = "https://hooks.slack.com/s3cret"',
            "alerts[1].slack: may hold a secret, and others can read this file; write"
            ' "${SLACK_URL}" instead, or chmod 600 this file',
        ),
        (
            'webhook = "https://x/"\nsecret = "czNjcmV0"',
            "alerts[1].secret: is a secret, and others can read this file; write"
            ' "${SECRET}" instead, or chmod 600 this file',
        ),
        (
            'apprise = "s3cret"',
            "alerts[1].apprise: is not a URL that Apprise knows; write it as json://host/path",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_without_the_secret(tmp_path: Path, table: str, line: str) -> None:
    found = mistakes(write(tmp_path, f"[[alerts]]\n{table}"))
    assert found == [f"F: {line}"]
    assert "s3cret" not in found[0]


@pytest.mark.parametrize("secret", ["a passphrase", "whsec_", "whsec_a phrase"])
def test_a_secret_that_no_library_of_standard_webhooks_can_read(
    tmp_path: Path, secret: str
) -> None:
    text = f'[[alerts]]\nwebhook = "https://x/"\nsecret = "{secret}"'
    (line,) = mistakes(write(tmp_path, text, 0o600))
    assert line == (
        'F: alerts[1].secret: is not "whsec_" and base64; make one: echo'
        ' "whsec_$(openssl rand -base64 32)"'
    )


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:9200"])
def test_on_this_host_nobody_listens(tmp_path: Path, host: str) -> None:
    (alert,) = alerts(tmp_path, f'[[alerts]]\nslack = "http://{host}/s3cret"')
    assert alert.to == f"http://{host}/s3cret"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[report]\nprint = false",
            "report.print: is false, so nobody would be notified of failures; add [[alerts]]"
            ' that have "exhausted" in on, or remove it',
        ),
        (
            '[report]\nprint = false\n[[alerts]]\nsyslog = true\non = ["held"]',
            "report.print: is false, so nobody would be notified of failures; add [[alerts]]"
            ' that have "exhausted" in on, or remove it',
        ),
        (
            '[report]\nprint = false\nmail_to = ["a@b"]',
            "report.print: has no effect with mail_to; remove it: the report is mailed",
        ),
        ("alerts = 1", "alerts: is a number; write tables, [[alerts]]"),
        ("[alerts]\nprint = true", "alerts: is a table; write tables, [[alerts]]"),
        (
            '[[alerts]]\nprint = true\n[[alerts]]\nsyslog = true\nname = "print"',
            'alerts[2].name: "print" is the name of another channel; give it another one',
        ),
    ],
)
def test_what_report_and_the_list_can_be(tmp_path: Path, text: str, line: str) -> None:
    assert mistakes(write(tmp_path, text)) == [f"F: {line}"]
