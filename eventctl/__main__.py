"""The entry point of `eventctl` and of `python -m eventctl`."""

from __future__ import annotations

import gc
import os
import sys

from eventctl.errors import EXIT_NOT_RECORDED, OutputError, host_refused

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, and end the process with its exit code."""
    # Searching for cycles while the program loads would take 5 % of a short command. What may run
    # for long enables it again.
    gc.disable()
    try:
        from eventctl.cli import run, streams  # lazy: errors of the host are reported here
        from eventctl.format.messages import complain
        from eventctl.format.signals import restore_signals

        restore_signals()
        streams.prepare()
    except Exception as error:  # noqa: BLE001 - files, memory, or a module that hides Python's
        # The parser cannot be loaded: print the command's words.
        os.write(2, f"eventctl: {host_refused(error)}; not done: {sys.argv[1:]}\n".encode())
        os._exit(EXIT_NOT_RECORDED)
    except KeyboardInterrupt:
        os.write(2, b"eventctl: interrupted\n")
        os._exit(130)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or 0  # the reader, such as `head`, has exited
    except OutputError as error:
        complain(str(error))
        code = code or error.exit_code
    sys.stderr.flush()
    # Everything is written and closed: the interpreter's own end would cost milliseconds.
    os._exit(code)


if __name__ == "__main__":
    main()
