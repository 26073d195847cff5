"""Write the first events.toml and the first handler of a project, for `init`."""

from __future__ import annotations

import keyword
import os
import re
from dataclasses import dataclass
from pathlib import Path

import tomli

from eventctl.config.tables import build
from eventctl.config.urls import password_of
from eventctl.config.variables import ENV_FILE, variables_of
from eventctl.errors import ConfigError, UsageError
from eventctl.format.files import whole_file
from eventctl.format.text import toml_key, toml_text

TOML = "events.toml"
HANDLERS = "handlers.py"

_MINE, _SHARED = 0o600, 0o644
_TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers that `init` requires. `mail_to` and `smtp` may be empty."""

    store: str = "sqlite:///events.db"
    event: str = "purchased"
    handler: str = "giveCoupon"
    mail_to: str = ""
    smtp: str = ""


def mistakes(answers: Answers, folder: Path) -> list[str]:
    """Return the mistakes in the answers, a line for each, which names the option.

    An unset variable is not a mistake: it may be set where eventctl will run.
    """
    path = str(folder / TOML)
    try:
        build(path, tomli.loads(toml(answers)), private=True)
    except ConfigError as error:
        lines = [line.removeprefix(f"{path}: ") for line in error.mistakes if not is_unset(line)]
        return [_by_option(line, answers) for line in lines]
    return []


def _by_option(line: str, answers: Answers) -> str:
    """Return a mistake with the option of `init` instead of the key in events.toml."""
    options = {
        "store.url": "--store",
        f"events.{toml_key(answers.event)}": "--event",
        f"handlers.{toml_key(answers.handler)}": "--handler",
        "report.mail_to": "--mail-to",
        "report.smtp": "--smtp",
    }
    for key, option in options.items():
        if line.startswith(f"{key}: "):
            return option + line.removeprefix(key).removesuffix(", or remove the line")
    return line


def is_unset(mistake: str) -> bool:
    """Return whether a line says that an environment variable is not set."""
    return ": the environment variable " in mistake


def write(answers: Answers, folder: Path) -> list[Path]:
    """Write the files, or none; return their paths, beginning with the folder if it is new.

    If there are variables, they include a file of variables, unless it exists. Raises UsageError if
    another one exists, and OSError.
    """
    made = []
    if not folder.exists():
        folder.mkdir(parents=True, mode=0o755)
        made.append(folder)
    # Nobody else may read a password in the URL.
    mode = _MINE if password_of(answers.store) else _SHARED
    texts = [(HANDLERS, handlers(answers), _SHARED), (TOML, toml(answers), mode)]
    if (secrets := variables(answers)) and not os.path.lexists(folder / ENV_FILE):
        texts.append((ENV_FILE, env_file(secrets), _MINE))
    refuse_taken(folder)
    try:
        for name, text, rights in texts:
            _create(folder / name, text, rights)
            made.append(folder / name)
    except BaseException:
        undo(made)
        raise
    return made


def refuse_taken(folder: Path) -> None:
    """Raise UsageError if one of the files exists."""
    for name in (TOML, HANDLERS):
        if os.path.lexists(folder / name):
            raise _taken(folder / name)


def undo(made: list[Path]) -> None:
    """Remove what `write` has created."""
    for path in reversed(made):
        path.rmdir() if path.is_dir() else path.unlink()


def _create(path: Path, text: str, mode: int) -> None:
    """Write a new file, complete or not at all, without replacing another one."""
    try:
        # No group may write to it, whatever the umask: root would refuse it.
        with whole_file(path, mode, new=True) as file:
            file.write(text.encode())
    except FileExistsError:
        raise _taken(path) from None


def _taken(path: Path) -> UsageError:
    return UsageError(
        f"{path} already exists, and init does not overwrite it: choose another folder, or move"
        " that file away"
    )


def function_of(handler: str) -> str:
    """Return a Python name for a handler's function, such as give_coupon for giveCoupon."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", handler).lower()
    name = re.sub(r"\W+", "_", words, flags=re.ASCII).strip("_")
    if not name.isidentifier() or keyword.iskeyword(name) or name in ("os", "json", "eventctl"):
        name = f"handle_{name}".rstrip("_")
    return name


def toml(answers: Answers) -> str:
    """Return the text of events.toml."""
    return _template(TOML).format(
        store=_store(answers.store),
        event=toml_key(answers.event),
        handler=toml_text(answers.handler),
        key=toml_key(answers.handler),
        function=function_of(answers.handler),
        report=_report(answers),
    )


def _template(name: str) -> str:
    return (_TEMPLATES / f"{name}.in").read_text(encoding="utf-8")


def variables(answers: Answers) -> list[str]:
    """Return the names of the variables in this events.toml, sorted."""
    return sorted(variables_of(tomli.loads(toml(answers))))


def env_file(names: list[str]) -> str:
    """Return the text of a file of variables, without values."""
    head = "# The variables of events.toml, KEY=VALUE; keep this file at mode 600.\n"
    return head + "".join(f"# {name}=\n" for name in names)


def _store(url: str) -> str:
    name = "mysql" if url.startswith("mysql:") else "sqlite"
    return _template(name).format(url=toml_text(url))


def _report(answers: Answers) -> str:
    if not answers.mail_to:
        return _template("printed").rstrip("\n")
    addresses = [each.strip() for each in answers.mail_to.split(",")]
    lines = ["[report]", f"mail_to = [{', '.join(map(toml_text, addresses))}]"]
    if answers.smtp:
        lines.append(f"smtp = {toml_text(answers.smtp)}")
        if "@" in answers.smtp:
            lines.append('smtp_password = "${SMTP_PASSWORD}"   # in eventctl.env')
    else:
        lines.append('# Sent by /usr/sbin/sendmail; or: smtp = "smtp://user@mail.example.com:587"')
    return "\n".join(lines)


def handlers(answers: Answers) -> str:
    """Return the text of the Python file with the handler."""
    return _template(HANDLERS).format(
        function=function_of(answers.handler), done=f"{function_of(answers.handler)}.done"
    )
