"""The entry point of `eventctl` and of `python -m eventctl`."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from eventctl.errors import OutputError


def main() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    from eventctl.cli import run, streams
    from eventctl.format.messages import complain
    from eventctl.format.signals import restore_signals

    restore_signals()
    streams.prepare()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or 0  # who read us has gone, and has what it wanted
    except OutputError as error:
        complain(str(error))
        code = code or error.exit_code
    sys.stderr.flush()
    # All is written and closed. What the interpreter would do now costs milliseconds.
    os._exit(code)


if __name__ == "__main__":
    main()
