"""`eventctl init`: write a starter events.toml and a working handler."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import click

from eventctl import config as configuration
from eventctl.cli.context import Context
from eventctl.cli.options import flag
from eventctl.errors import ConfigError, UsageError
from eventctl.format import invocation
from eventctl.format.messages import complain
from eventctl.setup import scaffold
from eventctl.setup.scaffold import Answers

_USUAL = Answers()

_QUESTIONS = {
    "store": "Where to keep events: a SQLite file, or mysql://user@host/database",
    "event": "The first event's name",
    "handler": "The handler that reacts to it",
    "mail_to": "Who is notified when retries run out (an address; empty: cron mails it)",
    "smtp": "The mail server, such as smtp://user@host:587 (empty: /usr/sbin/sendmail)",
}


@click.command()
@click.argument("folder", default=".", metavar="[FOLDER]", type=click.Path(file_okay=False))
@flag("-y", "--yes", help="Don't ask; use defaults for missing options.")
@click.option("--store", metavar="URL", help=f"The store.  [default: {_USUAL.store}]")
@click.option("--event", metavar="NAME", help=f"An event.  [default: {_USUAL.event}]")
@click.option("--handler", metavar="NAME", help=f"Its handler.  [default: {_USUAL.handler}]")
@click.option("--mail-to", metavar="ADDRESS", help="Who is notified when retries run out.")
@click.option("--smtp", metavar="URL", help="The mail server, with --mail-to.")
@click.pass_obj
def command(context: Context, /, folder: str, yes: bool, **options: str | None) -> None:
    """Write a starter events.toml and a working handler.

    FOLDER is the current folder by default, and is created if it does not exist. init
    asks for everything that no option sets, never overwrites a file, and prints the
    next steps.

    \b
    Examples:
      eventctl init shop
      eventctl init /srv/shop --yes --mail-to ops@example.com
      eventctl init --yes --store 'mysql://shop:${DB_PASSWORD}@db1/shop'
    """
    if context.option:
        raise UsageError("init writes FOLDER/events.toml: name the folder, without --config")
    place = invocation.tidy(Path(folder).expanduser())
    scaffold.refuse_taken(place)
    said = {name: value for name, value in options.items() if value is not None}
    answers = replace(_USUAL, **said)
    if answers.smtp and not answers.mail_to and (yes or "mail_to" in said):
        raise UsageError("--smtp requires --mail-to")
    if mistakes := scaffold.mistakes(answers, place):
        raise UsageError("\n".join(mistakes))
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "stdin is not a terminal: use --yes, and options such as --store for"
                " everything that should not have its default"
            )
        answers = _ask(place, answers, said)
    _write(place, answers)
    for line in _next(place, answers):
        sys.stdout.write(f"{line}\n")


def _ask(place: Path, answers: Answers, said: Mapping[str, str]) -> Answers:
    """Ask for everything that no option sets, each until the answer is valid."""
    for name, question in _QUESTIONS.items():
        if name in said or (name == "smtp" and not answers.mail_to):
            continue
        while True:
            given = click.prompt(
                question,
                default=getattr(answers, name),
                show_default=bool(getattr(answers, name)),
                err=True,
            )
            tried = replace(answers, **{name: given.strip()})
            wrong = scaffold.mistakes(tried, place)
            if not wrong:
                answers = tried
                break
            for line in wrong:
                complain(line)
    return answers


def _write(place: Path, answers: Answers) -> None:
    try:
        made = scaffold.write(answers, place)
    except OSError as error:
        path = error.filename or place
        fix = "nothing was written; choose a folder that this user may write to"
        raise UsageError(f"{path}: {error.strerror}; {fix}") from None
    try:
        configuration.load(place / scaffold.TOML)
        concerns = configuration.concerns(place / scaffold.TOML)
    except ConfigError as error:
        concerns = error.mistakes
        if not all(map(scaffold.is_unset, concerns)):
            scaffold.undo(made)  # if others may change the folder, root would refuse the file
            raise
    for path in made:
        complain(f"made {path}/" if path.is_dir() else f"wrote {path}")
    for line in concerns:
        complain(line)


def _next(place: Path, answers: Answers) -> Iterator[str]:
    """Yield the next commands to type."""
    program = invocation.typed()
    if os.environ.get("EVENTCTL_CONFIG"):
        # It would take precedence over the file in the folder.
        program += f" --config {shlex.quote(str(place / scaffold.TOML))}"
    yield "Next steps:"
    if place != Path.cwd():
        yield f"  cd {shlex.quote(str(place))}"
    steps = (
        (f"emit {shlex.quote(answers.event)} 'user A' 5000", "record an event, run its handler"),
        ("list", "see the result"),
        ("sweep", "retry failed deliveries: silent if there are none"),
        ("crontab --install", "let cron do that every minute"),
        ("doctor", "check that all is well"),
    )
    widest = max(len(words) for words, _ in steps)
    for words, comment in steps:
        yield f"  {program} {words:{widest}}   # {comment}"
