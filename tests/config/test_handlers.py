"""Mistakes in events, handlers and the report; and that no mistake's text shows a secret."""

from __future__ import annotations

import pytest

from tests.support.events_toml import mistakes, write

SMTP = "write smtp://user@host:587 or smtps://user@host:465"
CALL = 'write "module:callable", such as "shop.mail:welcome"'
HANDLERS = 'write a list such as ["giveCoupon", "lottery"]'
ADDRESS = 'write "ops@example.com" or "Ops <ops@example.com>", in ASCII but for the name'
NO_MAIL = 'requires mail_to; add mail_to = ["ops@example.com"], or remove it'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        # handlers
        (
            "[handlers]\ndraw = 'shop.draw'",
            'handlers.draw: "shop.draw" is not an entry point; did you mean "shop:draw"?',
        ),
        ("[handlers]\ndraw = 'a-b:c'", f'handlers.draw: "a-b:c" is not an entry point; {CALL}'),
        ("[handlers]\ndraw = 'm:f()'", f'handlers.draw: "m:f()" is not an entry point; {CALL}'),
        (
            "[handlers]\ndraw = ['/usr/bin/draw']",
            'handlers.draw: is neither an entry point nor a table; write "module:callable", '
            'or a table such as { command = ["/usr/bin/draw"] }',
        ),
        (
            "[handlers]\ndraw = {}",
            'handlers.draw: has neither call nor command; add call = "module:callable", '
            'or command = ["/usr/bin/draw"]',
        ),
        (
            "[handlers]\ndraw = { cmd = ['x'] }",
            "handlers.draw.cmd: is an unknown key; known are call, command, format, log, retry, "
            "timeout and transactional",
        ),
        (
            "[handlers]\ndraw = { call = 'm:f', command = ['x'] }",
            "handlers.draw: has both call and command; keep one of the two",
        ),
        (
            "[handlers]\ndraw = { command = [] }",
            'handlers.draw.command: names no program; write it as ["/usr/bin/draw", "--fast"]',
        ),
        (
            "[handlers]\ndraw = { command = 'x' }",
            'handlers.draw.command: is a string; write a list such as ["/usr/bin/draw", "--fast"]',
        ),
        (
            "[handlers]\ndraw = { command = ['x'], transactional = true }",
            "handlers.draw.transactional: is for a call, and this is a command; "
            "remove it; only a call can share the store's transaction",
        ),
        (
            "[handlers]\ndraw = { call = 'm:f', transactional = 1 }",
            "handlers.draw.transactional: is a number; write true or false, without quotes",
        ),
        (
            "[handlers]\ndraw = { call = 'm:f', timeuot = 1 }",
            'handlers.draw.timeuot: is an unknown key; did you mean "timeout"?',
        ),
        (
            "[handlers]\nshop.draw = 'm:f'",
            "handlers.shop: is a dotted name without quotes, which TOML reads as a table; "
            'put it in quotes: "shop.draw" = …',
        ),
        (
            "[handlers]\n-x = 'm:f'",
            "handlers.-x: has a name that looks like an option; begin it with a letter",
        ),
        # events
        (
            "[events]\nbought = ['lotery']\n[handlers]\nlottery = 'm:f'",
            'events.bought: "lotery" is not a handler in [handlers]; did you mean "lottery"?',
        ),
        (
            "[events]\nbought = ['draw']",
            'events.bought: "draw" is not a handler in [handlers]; add it to [handlers], or '
            f"{CALL}",
        ),
        ("[events]\nbought = ['m:']", f'events.bought: "m:" is not an entry point; {CALL}'),
        ("[events]\nbought = ['']", "events.bought: has a handler with an empty name; remove it"),
        ("[events]\nbought = 'm:f'", f"events.bought: is a string; {HANDLERS}"),
        (
            "[events]\nbought = []",
            f"events.bought: has no handlers; {HANDLERS}, or remove the event",
        ),
        (
            "[events]\nbought = { deadline = 1 }",
            f"events.bought: has no handlers; {HANDLERS}, or remove the event",
        ),
        (
            "[events]\nbought = { handler = ['m:f'] }",
            'events.bought.handler: is an unknown key; did you mean "handlers"?',
        ),
        (
            "[events]\nbought = ['m:f', 'm:f']",
            'events.bought: names "m:f" twice; remove one of them',
        ),
        (
            "[events]\nbought = { handlers = ['m:f', 'm:f'] }",
            'events.bought.handlers: names "m:f" twice; remove one of them',
        ),
        (
            "[events]\nuser.signed_up = ['m:f']",
            "events.user: is a dotted name without quotes, which TOML reads as a table; "
            'put it in quotes: "user.signed_up" = …',
        ),
        ("[events]\n'' = ['m:f']", 'events."": is an empty name; give it a name'),
        (
            "[events]\n'a ' = ['m:f']",
            'events."a ": has a name that starts or ends with a space; remove it',
        ),
        (
            '[events]\n"a\\tb" = ["m:f"]',
            'events."a\\tb": has a control character in its name; remove it',
        ),
        (
            f"[events]\n{'a' * 192} = ['m:f']",
            f"events.{'a' * 192}: has a name that is too long; use at most 191 characters",
        ),
        (
            '[events."a b"]\nhandlers = ["m:f"]\nretry.attempts = 0',
            'events."a b".retry.attempts: is out of bounds; write a whole number from 1 to 1000000',
        ),
        # the report
        ("[report]\nmail_from = 'a@b'", f"report.mail_from: {NO_MAIL}"),
        ("[report]\nsmtp = 'smtp://mail'", f"report.smtp: {NO_MAIL}"),
        ("[report]\nsendmail = '/bin/m'", f"report.sendmail: {NO_MAIL}"),
        (
            "[report]\nmail_to = 'a@b'",
            'report.mail_to: is a string; write a list such as ["ops@example.com"]',
        ),
        (
            "[report]\nmail_to = ['a@b, c@d']",
            "report.mail_to: has a comma in an address; write one string for each address",
        ),
        (
            '[report]\nmail_to = ["a@b\\nBcc: c@d"]',
            f'report.mail_to: "a@b\\nBcc: c@d" is not a mail address; {ADDRESS}',
        ),
        (
            '[report]\nmail_to = ["ops at example"]',
            f'report.mail_to: "ops at example" is not a mail address; {ADDRESS}',
        ),
        (
            "[report]\nmail_to = ['-oQ/tmp']",
            f'report.mail_to: "-oQ/tmp" is not a mail address; {ADDRESS}',
        ),
        (
            "[report]\nmail_to = ['ops@example.com']\nmail_from = 'ops@'",
            f'report.mail_from: "ops@" is not a mail address; {ADDRESS}',
        ),
        (
            "[report]\nmail_to = ['a']\nsendmail = 'sendmail'",
            'report.sendmail: is not an absolute path; write it as "/usr/sbin/sendmail"',
        ),
        (
            "[report]\nmail_to = ['a']\nsendmail = '/s'\nsmtp = 'smtp://mail'",
            "report.sendmail: is set together with smtp; keep one of the two",
        ),
        (
            "[report]\nmail_to = ['a']\nsmtp = 'smtp://user:pass@mail'",
            "report.smtp: has a password in it; "
            'remove it, and write smtp_password = "${SMTP_PASSWORD}" below',
        ),
        ("[report]\nmail_to = ['a']\nsmtp = 'mail:25'", f"report.smtp: is not an SMTP URL; {SMTP}"),
        (
            "[report]\nmail_to = ['a']\nsmtp = 'smtp://mail/x'",
            f"report.smtp: has something after its host; {SMTP}",
        ),
        ("[report]\nmail_to = ['a']\nsmtp = 'smtp://'", f"report.smtp: names no host; {SMTP}"),
        (
            "[report]\nmail_to = ['a']\nsmtp = 'smtp://user@mail'",
            "report.smtp: names a user, but smtp_password is not set; "
            'add smtp_password = "${SMTP_PASSWORD}", or remove the user',
        ),
        (
            "[report]\nmail_to = ['a']\nsmtp = 'smtp://mail'\nsmtp_password = '${HOME}'",
            f"report.smtp_password: requires a user in smtp; {SMTP}",
        ),
        (
            "[report]\nmail_to = ['a']\nsmtp = 'smtp://u@mail'\nsmtp_password = 'x'",
            "report.smtp_password: is a secret, and others can read this file; "
            'write "${SMTP_PASSWORD}" instead, or chmod 600 this file',
        ),
        (
            "[report]\nmail_to = ['a']\nca_file = 'x'",
            "report.ca_file: requires smtp; set smtp, or remove it",
        ),
    ],
)
def test_a_mistaken_entry_is_one_line(tmp_path, text, line):
    assert mistakes(write(tmp_path, text)) == [f"F: {line}"]


PASSWORD = (
    "F: store.url: has a password in it, and others can read this file; write ${DB_PASSWORD} "
    "instead, or name an option file with read_default_file, or chmod 600 this file"
)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
@pytest.mark.parametrize("password", ["pass", "pre${X}", "$${X}"])
def test_a_password_in_a_file_that_others_read_is_refused(tmp_path, monkeypatch, mode, password):
    monkeypatch.setenv("X", "y")
    path = write(tmp_path, f'[store]\nurl = "mysql://app:{password}@db1/shop"', mode)
    assert mistakes(path) == [PASSWORD]


@pytest.mark.parametrize(
    "text",
    [
        '[store]\nurl = "mysql://app:$S"',
        '[store]\nurl = "mysql://app:$S@db1"',
        '[store]\nurl = "mysql://$S@db1:$S/shop"',
        '[store]\nurl = "mysql://app@db1/shop?$S"',
        '[store]\nurl = "sqlite://$S"',
        '[store]\nurl = "pg://$S:$S@db1/shop"',
        '[store]\nssl = "$S"\ntimeout = "$S"\nmax_args = "$S"',
        '[events]\nbought = ["$S", "$S:1"]\n[handlers]\ndraw = "$S"',
        '[report]\nmail_to = ["$S,"]\nsmtp = "smtp://user:$S@mail"\nsmtp_password = "$S"',
        '[report]\nmail_to = ["a"]\nsmtp = "$S"',
        '[events]\nbought = ["m:f", "${SECRET}", "${SECRET}"]',
    ],
)
def test_what_a_variable_gives_is_never_shown(tmp_path, monkeypatch, text):
    secret = "hunter2"
    monkeypatch.setenv("SECRET", secret)
    lines = mistakes(write(tmp_path, text.replace("$S", "${SECRET}")))
    assert secret not in "\n".join(lines)
    if "url" in text or "smtp" in text:
        lines = mistakes(write(tmp_path, text.replace("$S", secret)))
        assert secret not in "\n".join(lines)
