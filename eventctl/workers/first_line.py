"""Why the kernel does not start a program whose file is there: its first line."""

from __future__ import annotations

import os
import shlex


def look_at(path: str) -> tuple[str, str] | None:
    """Return what is wrong with the first line of a program, and how to fix it, or None."""
    try:
        with open(path, "rb") as file:
            line = file.read(512).partition(b"\n")[0]
    except OSError:
        return None  # it cannot be read, and the kernel's own reason is better
    if not line.startswith(b"#!"):
        if b"\0" in line:
            return None  # machine code
        return "has no #! line", "begin it with a line such as #!/bin/sh"
    if line.endswith(b"\r"):
        return "has the line ends of Windows", f"sed -i 's/\\r$//' {shlex.quote(path)}"
    interpreter = os.fsdecode((line[2:].split() or [b""])[0])
    if not os.path.exists(interpreter):
        wrong = f"begins with #!{interpreter}, which does not exist"
        return wrong, "correct its first line, or install that program"
    return None
