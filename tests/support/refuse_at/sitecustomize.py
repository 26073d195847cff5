"""strace from a chosen moment on. On a command's PYTHONPATH, Python imports this before all else.

REFUSE is JSON with `strace`, the arguments of a strace that is to watch this process and all
that it forks, and `done`, a file that is made when the last of them has ended. strace is
attached when events.toml is opened: what Python itself does to start is not counted.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import sys
import time
from typing import Any

SIGNAL = "sched_getscheduler"
"""A system call that nobody makes: strace refuses it, and so says that it is watching."""

_PATIENCE = 20.0
"""Seconds that strace has to attach itself."""

_plan: dict[str, Any] = {}


def _look(event: str, args: tuple[Any, ...]) -> None:
    if event == "open" and _plan and str(args[0]).endswith("events.toml"):
        plan = dict(_plan)
        _plan.clear()
        _attach(plan["strace"], plan["done"])


def _attach(strace: list[str], done: str) -> None:
    watch = shlex.join([*strace, f"--inject={SIGNAL}:error=ENODATA", f"--attach={os.getpid()}"])
    # In the background of a shell that ends at once: it must not be a child of what it watches.
    line = f"{{ {watch}; : >{shlex.quote(done)}; }} </dev/null >{shlex.quote(done)}.out 2>&1 &"
    os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", line], os.environ), 0)
    deadline = time.monotonic() + _PATIENCE
    while not _is_watched():
        if time.monotonic() > deadline:
            os.write(2, b"strace did not attach itself\n")
            os._exit(99)
        time.sleep(0.001)


def _is_watched() -> bool:
    try:
        os.sched_getscheduler(0)
    except OSError as error:
        return error.errno == errno.ENODATA
    return False


if "REFUSE" in os.environ:
    _plan.update(json.loads(os.environ.pop("REFUSE")))
    del os.environ["PYTHONPATH"]  # the commands that it starts are none of ours
    sys.addaudithook(_look)
