"""Mail: does the way by which a person is told exist? Nothing is sent."""

from __future__ import annotations

import os
from pathlib import Path

from eventctl.config.model import Config
from eventctl.setup.doctor.findings import Findings, Seen, ok, problem

SENDMAIL = "/usr/sbin/sendmail"

PATIENCE = 5.0
"""Seconds for the whole dialogue with the mail server."""


def look(config: Config, seen: Seen) -> Findings:
    """Look at the sendmail program, or talk to the mail server as far as the password."""
    report = config.report
    others = [alert.name for alert in config.alerts if alert.tells("exhausted")]
    if others:
        yield ok("mail", f"what runs out of retries is told on {', '.join(others)}")
    if not report.mail_to:
        if not report.print:
            return
        if _is_program(SENDMAIL):
            yield ok("mail", f"the sweep prints its report, and cron mails it by {SENDMAIL}")
        elif not others:
            yield problem(
                "mail",
                f"[report] has no mail_to, and there is no {SENDMAIL} by which cron could mail"
                " what the sweep prints: nobody would be told",
                "set mail_to and smtp in [report], or install a mail server (apt-get install"
                " msmtp-mta)",
            )
        return
    people = ", ".join(report.mail_to)
    if report.smtp:
        yield from _smtp(config, people)
    elif _is_program(report.sendmail or SENDMAIL):
        yield ok("mail", f"to {people} by {report.sendmail}")
    else:
        yield problem(
            "mail",
            f"there is no program {report.sendmail} to mail by",
            "install a mail server (apt-get install msmtp-mta), or set smtp in [report]",
        )


def _smtp(config: Config, people: str) -> Findings:
    from eventctl.alerts.transport import smtp
    from eventctl.errors import ChannelError

    try:
        how = smtp.probe(config.report, total=PATIENCE, step=PATIENCE)
    except ChannelError as error:
        yield problem(
            "mail",
            str(error).replace("the report could not be mailed by", "the mail server", 1),
            "mend smtp and smtp_password in [report], or the server; reports wait until then",
        )
    else:
        yield ok("mail", f"to {people} by {how}")


def _is_program(path: str) -> bool:
    return Path(path).is_file() and os.access(path, os.X_OK)
