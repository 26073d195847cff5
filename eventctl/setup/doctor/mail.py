"""Mail: can the report be sent? Nothing is sent."""

from __future__ import annotations

import os
from pathlib import Path

from eventctl.alerts.transport import smtp
from eventctl.config.model import Config
from eventctl.errors import ChannelError
from eventctl.setup.doctor.findings import Findings, Seen, ok, problem

SENDMAIL = "/usr/sbin/sendmail"

PATIENCE = 5.0
"""Seconds for the whole dialogue with the mail server."""


def check_mail(config: Config, seen: Seen) -> Findings:
    """Check for the sendmail program, or talk to the mail server up to the login."""
    report = config.report
    others = [alert.name for alert in config.alerts if alert.wants("exhausted")]
    if others:
        yield ok("mail", f"failed deliveries are reported to {', '.join(others)}")
    if not report.mail_to:
        if report.print and not (others or _is_program(SENDMAIL)):
            yield problem(
                "mail",
                f"[report] has no mail_to, and cron requires {SENDMAIL}, which is missing, to mail"
                " what the sweep prints: nobody would be notified",
                "set mail_to and smtp in [report], or install a mail server (apt-get install"
                " msmtp-mta)",
            )
        elif report.print and _is_program(SENDMAIL):
            yield ok("mail", f"the sweep prints its report, and cron mails it with {SENDMAIL}")
        return
    people = ", ".join(report.mail_to)
    if report.smtp:
        try:
            how = smtp.probe(report, total=PATIENCE, step=PATIENCE)
        except ChannelError as error:
            text = str(error).replace("the report could not be mailed by", "the mail server", 1)
            fix = "fix smtp and smtp_password in [report], or the server; reports wait until then"
            yield problem("mail", text, fix)
        else:
            yield ok("mail", f"to {people} by {how}")
    elif _is_program(report.sendmail or SENDMAIL):
        yield ok("mail", f"to {people} by {report.sendmail}")
    else:
        yield problem(
            "mail",
            f"the program {report.sendmail}, which sends the mail, does not exist",
            "install a mail server (apt-get install msmtp-mta), or set smtp in [report]",
        )


def _is_program(path: str) -> bool:
    return Path(path).is_file() and os.access(path, os.X_OK)
