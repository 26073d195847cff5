"""Signals as a program expects them, whatever its caller has made of them."""

from __future__ import annotations

import signal

_RESTORED = (signal.SIGCHLD, signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def restore_signals() -> None:
    """Undo what a caller has ignored or blocked: with SIGCHLD ignored, as under some daemons,
    every exit code of a child reads 0. What nohup and shells set (SIGHUP, SIGINT) stays.
    """
    for number in _RESTORED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
