"""The entry point of `eventctl` and of `python -m eventctl`."""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    from eventctl.cli import run
    from eventctl.errors import EXIT_NOT_RECORDED

    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # What the terminal's charset has not got is shown escaped, and ends no command.
        sys.stdout.reconfigure(errors="backslashreplace")
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or 0  # who read us has gone, and has what it wanted
    except OSError as error:
        sys.stderr.write(f"eventctl: stdout cannot be written ({error.strerror})\n")
        code = code or EXIT_NOT_RECORDED
    sys.stderr.flush()
    # All is written and closed. What the interpreter would do now costs milliseconds.
    os._exit(code)


if __name__ == "__main__":
    main()
