"""Every exception that eventctl raises on purpose, each with its exit code.

The codes are those of sysexits.h where it has one: 74 EX_IOERR, 78 EX_CONFIG.
"""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_RECORDED = 74
EXIT_CONFIG = 78


def reason(error: BaseException) -> str:
    """Return why a system call failed, without its number and its path, or an error's own text."""
    return getattr(error, "strerror", None) or str(error)


def host_refused(error: BaseException) -> str:
    """Return why a module cannot be loaded, or why a system call failed."""
    if isinstance(error, EOFError):  # Python itself wrote it to a disk that was full
        return f"a compiled module is cut off ({error}): delete the __pycache__ folders"
    # SystemError: Python itself found no memory.
    if isinstance(error, OSError | ImportError | MemoryError | SystemError):
        return f"the host refused: {str(error) or type(error).__name__}"
    return f"a module cannot be loaded: {type(error).__name__}: {error}"


class EventctlError(Exception):
    """The base of all others; its text is one line that names what is wrong and how to fix it."""

    exit_code = EXIT_FAILED


class UsageError(EventctlError):
    """The caller's request cannot be met: an unknown event, bad args, no such id."""

    exit_code = EXIT_USAGE


class TooLarge(UsageError):
    """The store's server accepts no statement of `size` bytes, so this can never be stored."""

    def __init__(self, text: str, size: int) -> None:
        super().__init__(text)
        self.size = size
        self.index = 0
        """Of several: which of them it is, from 0."""


class ConfigError(EventctlError):
    """events.toml cannot be used. `mistakes` has one line for each mistake in it."""

    exit_code = EXIT_CONFIG

    def __init__(
        self, mistakes: list[str] | str, state: str | None = None, group: str | None = None
    ) -> None:
        self.mistakes = [mistakes] if isinstance(mistakes, str) else list(mistakes)
        self.state = state
        """The state folder, if [store] could be read that far."""
        self.group = group
        super().__init__("\n".join(self.mistakes))


class StoreError(EventctlError):
    """The store answered, but cannot be used as it is."""

    exit_code = EXIT_CONFIG


class StoreUnavailable(EventctlError):
    """The store cannot be reached or written now; the same call may succeed later."""

    exit_code = EXIT_NOT_RECORDED
    is_passing = True
    """Whether it may pass soon: not if the disk fails or the file is damaged."""
    needs_person = False
    """Whether it passes only once somebody has freed space or made it writable."""


class StateUnavailable(StoreUnavailable):
    """The state folder cannot be written; work that needs no lock may go on."""


class ArchiveError(EventctlError):
    """The archive cannot be written. Events that are not in it are not deleted."""

    exit_code = EXIT_NOT_RECORDED


class OutputError(EventctlError):
    """The output cannot be written to stdout."""

    exit_code = EXIT_NOT_RECORDED


class WorkerError(EventctlError):
    """Workers cannot be started, or die before they start anything: nothing can run here."""

    exit_code = EXIT_NOT_RECORDED


class StalledWarning(UserWarning):
    """No sweep has ended for [sweep] stalled: nothing is retried."""


class Discard(Exception):
    """Raised by a handler: give up this delivery at once, without further retries."""


class RetryLater(Exception):
    """Raised by a handler: run it again after `delay`, without spending an attempt.

    `delay` is in seconds, or a duration such as "10m". The waits of one delivery may add up to a
    week; after that, the attempt counts as failed.
    """

    def __init__(self, delay: float | str = 60) -> None:
        super().__init__(delay)
        self.delay = delay


class ChannelError(EventctlError):
    """A channel did not accept the message; its text is one line without any secret."""


class MessageRefused(ChannelError):
    """What is in the message may be at fault: others may be accepted."""
