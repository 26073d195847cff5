"""How to call this eventctl, from a shell and from cron."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path


def argv() -> list[str]:
    """Return the absolute argv of this program, for use with another PATH or folder."""
    import shutil  # lazy: it loads bz2 and lzma, and a quiet sweep asks for nothing

    called = sys.argv[0]
    if os.path.basename(called) == "eventctl" and (found := shutil.which(called)):
        return [os.path.abspath(found)]
    # -P: a module in the current folder must not be taken for eventctl.
    return [sys.executable, "-P", "-m", "eventctl"]


def python() -> str:
    """Return the path of the Python that runs this.

    In a server that has Python built in, such as uWSGI, sys.executable is the server, and in a
    frozen application it is the application: started again, it would emit again. Raises
    FileNotFoundError if there is no other.
    """
    if os.path.basename(sys.executable or "").startswith("py") and not hasattr(sys, "frozen"):
        return sys.executable
    version = "{}.{}".format(*sys.version_info)
    for prefix in (sys.prefix, sys.base_prefix):
        found = f"{prefix}/bin/python{version}"
        if os.access(found, os.X_OK):
            return found
    raise FileNotFoundError(f"Python {version} is not in {sys.prefix}")


def typed() -> str:
    """Return what a person types in this shell: the name alone if PATH finds this program."""
    import shutil  # lazy: it loads bz2 and lzma, and a quiet sweep asks for nothing

    itself = argv()
    on_path = shutil.which("eventctl")
    if len(itself) == 1 and on_path and os.path.samefile(on_path, itself[0]):
        return "eventctl"
    return shlex.join(itself)


def tidy(path: str | Path) -> Path:
    """Return an absolute path without "." and "..", so that one file has one name."""
    short = Path(os.path.abspath(path))
    try:
        return short if short.samefile(path) else Path(path)
    except OSError:
        return short
