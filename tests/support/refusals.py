"""What is refused, and of whom: the system calls, the errors that fit them, and the commands."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.refuse_at import sitecustomize

ERRORS = {
    "openat": ("EMFILE", "EACCES", "EIO", "ENOSPC"),
    "read": ("EIO",),
    "write": ("ENOSPC", "EIO"),
    "pwrite64": ("ENOSPC", "EIO"),
    "pread64": ("EIO",),
    "fsync": ("EIO",),
    "fdatasync": ("EIO",),
    "ftruncate": ("EIO",),
    "rename": ("ENOSPC", "EACCES"),
    "link": ("ENOSPC", "EPERM"),
    "linkat": ("ENOSPC", "EPERM"),
    "symlink": ("ENOSPC", "EACCES"),
    "unlink": ("EROFS",),
    "mkdir": ("ENOSPC", "EACCES"),
    "chmod": ("EPERM",),
    "utimensat": ("EACCES",),
    "fcntl": ("ENOLCK", "EAGAIN"),
    "flock": ("ENOLCK",),
    "mmap": ("ENOMEM",),
    "clone": ("EAGAIN", "ENOMEM"),
    "clone3": ("EAGAIN", "ENOMEM"),
    "fork": ("EAGAIN",),
    "vfork": ("EAGAIN", "ENOMEM"),
    "execve": ("ENOMEM",),
    "pidfd_open": ("EPERM", "ENOSYS", "EMFILE"),
    "pidfd_send_signal": ("EPERM",),
    "waitid": ("ECHILD",),
    "wait4": ("ECHILD",),
    "setsid": ("EPERM",),
    "setpgid": ("EPERM",),
    "prctl": ("EPERM",),
    "pipe2": ("EMFILE",),
    "dup2": ("EMFILE",),
    "dup3": ("EMFILE",),
    "memfd_create": ("ENOSYS", "EMFILE"),
    "eventfd2": ("EMFILE",),
    "poll": ("ENOMEM",),
    "ppoll": ("ENOMEM",),
    "getrandom": ("ENOSYS",),
    "socket": ("EMFILE", "EACCES"),
    "connect": ("ECONNREFUSED", "EACCES"),
    "sendto": ("ECONNRESET",),
    "recvfrom": ("ECONNRESET",),
}
"""The calls that a host may refuse, and the errors that fit them."""

ONCE = ("fcntl",)
"""What is not refused from then on: SQLite asks for its locks again for ten seconds."""

TOML = """
[sweep]
breaker = 100000
grace = "1s"
[defaults]
retry = { attempts = 50, delay = "1m", jitter = 0 }
timeout = "3s"
[events]
purchased = ["ok", "program"]
flaky = ["flaky"]
[handlers]
ok = "handlers:ok"
flaky = "handlers:flaky"
program = { command = ["./program"] }
"""

HANDLERS = """
from pathlib import Path

import eventctl

RAN = Path(__file__).with_name("ran")


def ok(*args):
    now = eventctl.current()
    with RAN.open("a") as file:
        file.write(f"{now.id} {now.handler}\\n")


def flaky(*args):
    ok()
    if eventctl.current().attempt == 1:
        raise ConnectionError("the service is down")
"""

PROGRAM = '#!/bin/sh\necho "$EVENTCTL_ID $EVENTCTL_HANDLER" >>ran\n'

API = """
import os, sys, eventctl
code = 0
try:
    eventctl.emit("purchased", "A", key=sys.argv[1])
except eventctl.EventctlError as error:
    code = error.exit_code
except BaseException as error:
    code = 70
    os.write(2, f"eventctl: emit has raised {type(error).__name__}: {error}\\n".encode())
os._exit(code)
"""


@dataclass(frozen=True)
class Scenario:
    """A command whose calls are refused; `{key}` in it or its input is a new key each time."""

    name: str
    command: tuple[str, ...]
    """The arguments of eventctl; none for the API."""
    input: str | None = None
    keys: tuple[str, ...] = ("{key}",)
    """The events that it emits."""
    is_batch: bool = False
    away: bool = False
    """Whether the store is away and there is no state folder yet: it goes into the spool."""
    due: bool = False
    """Whether events wait for it in the store and in the spool: it is a sweep."""


LINE = '{{"name": "purchased", "key": "{{key}}-{}"}}\n'

SCENARIOS = [
    Scenario("emit", ("emit", "purchased", "A", "--key", "{key}")),
    Scenario("defer", ("emit", "--defer", "purchased", "A", "--key", "{key}")),
    Scenario("spool", ("emit", "--defer", "purchased", "A", "--key", "{key}"), away=True),
    Scenario("detach", ("emit", "--detach", "purchased", "A", "--key", "{key}")),
    Scenario(
        "batch",
        ("emit", "--batch", "-"),
        input="".join(LINE.format(n) for n in range(3)),
        keys=tuple(f"{{key}}-{n}" for n in range(3)),
        is_batch=True,
    ),
    Scenario("api", ()),
    Scenario("sweep", ("sweep",), keys=(), due=True),
]


@dataclass(frozen=True)
class Refusal:
    """What is refused: each process's `number`th call, and all after it where it is `lasting`."""

    call: str
    error: str
    number: int
    lasting: bool = False

    def __str__(self) -> str:
        return f"{self.call}-{self.error}-{self.number}{'-on' if self.lasting else ''}"

    @property
    def strace(self) -> list[str]:
        """The options of strace that do it."""
        when = f"{self.number}{'+' if self.lasting else ''}"
        return [
            f"--trace={self.call},{sitecustomize.SIGNAL}",
            f"--inject={self.call}:error={self.error}:when={when}",
        ]
