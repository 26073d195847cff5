"""Fork a worker process."""

from __future__ import annotations

import os

from eventctl.config.model import Config
from eventctl.state.claimer import Claimer
from eventctl.workers.pipes import Ends


def fork(config: Config, ends: Ends, claimer: Claimer, chatty: bool) -> int:
    """Start a worker, and return its pid; the child serves until the request pipe ends, and never
    returns. `chatty` also sends the output of handlers that succeed.
    """
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        # lazy: the worker of an emit loads this while its parent records the event
        from eventctl.workers import worker

        status = worker.live(config, ends, claimer, chatty)
    except (OSError, ImportError) as error:
        os.write(ends.output, f"{error}\n".encode())  # its tail is shown by the parent
    finally:
        # None of the parent's code may run here, whatever fails: buffers, atexit, finally, code
        # after the fork.
        os._exit(status)
