"""Signals: the dispositions that a program expects, and their names."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # without its enums: fast

CATCHABLE = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""The numbers of all signals whose disposition can be set."""

_RESTORED = (signal.SIGCHLD, signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def restore_signals() -> None:
    """Restore signals that the caller ignored or blocked. With SIGCHLD ignored, as under some
    daemons, every child's exit code reads as 0. What nohup and shells set (SIGHUP, SIGINT) stays.
    """
    for number in _RESTORED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def how(code: int) -> str:
    """Describe how a process ended, by its exit code (negative: a signal)."""
    return f"was killed by {signal_name(-code)}" if code < 0 else f"exited with {code}"


def signal_name(number: int) -> str:
    """Return a signal's name, such as SIGSEGV."""
    # Not by the module signal: in a worker, the project may have one of that name.
    names: list[str] = sorted(vars(signal))  # of two names of one signal, the first counts
    for name in names:
        if name.startswith("SIG") and name[3] != "_" and getattr(signal, name) == number:
            return name
    return f"signal {number}"
