"""Run a command, and print the most memory that it had, in MiB (Linux counts in KiB).

A process of its own, since a child's figure begins with that of the process that forks it:
this one is smaller than any that is measured.
"""

import os
import sys

pid = os.posix_spawn(
    sys.argv[1],
    sys.argv[1:],
    os.environ,
    file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)],
)
_, status, usage = os.wait4(pid, 0)
if status:
    sys.exit(f"{sys.argv[1:]} ended with {os.waitstatus_to_exitcode(status)}")
print(usage.ru_maxrss / 1024)
