"""A host that has been asleep. On a command's PYTHONPATH, Python imports this before all else.

CLOCK_BOOTTIME, alone of the clocks that tell durations, goes on while a machine is suspended. Here
it is ahead by the seconds in the file that ASLEEP names, for a process and all that it forks, from
the moment at which the file is there.
"""

from __future__ import annotations

import os
import time

_clock_gettime = time.clock_gettime


def clock_gettime(clock: int) -> float:
    """Return what a clock reads."""
    seconds = _clock_gettime(clock)
    if clock == time.CLOCK_BOOTTIME:
        try:
            with open(os.environ["ASLEEP"], encoding="ascii") as file:
                seconds += float(file.read())
        except FileNotFoundError:
            return seconds  # it is awake
    return seconds


time.clock_gettime = clock_gettime
