"""The command line, with one file for each command.

A command parses, calls, and prints. Errors are exceptions, which only `run` turns into a line on
stderr and an exit code.
"""

from __future__ import annotations

from eventctl.cli import fast_emit
from eventctl.errors import EXIT_DONE, EXIT_NOT_RECORDED, EventctlError, host_refused
from eventctl.format.messages import complain


def run(arguments: list[str]) -> int:
    """Run one command line; return its exit code."""
    try:
        if arguments == ["--version"]:
            from eventctl.cli import version  # lazy: few runs need it

            version.show()
            return EXIT_DONE
        if asked := fast_emit.parse(arguments):
            from eventctl.cli.context import Context  # lazy: few runs need it

            return fast_emit.emit(Context(asked.config), **asked.options)
        from eventctl.cli import app  # lazy: few runs need it

        return app.main(arguments)
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:
        return EXIT_DONE  # the reader, such as `head`, has exited
    except EventctlError as error:
        complain(str(error))
        return error.exit_code
    except (OSError, ImportError, EOFError, SystemError) as error:
        complain(host_refused(error))
        return EXIT_NOT_RECORDED
    except MemoryError:
        complain("the host has no memory left for this")
        return EXIT_NOT_RECORDED
