"""Claimers, and which of them are dead: file locks that end with their processes.

Each claiming process holds an flock on one file of its own in `claims/`, and its workers inherit
it. If another process gets the lock of such a file, the claimer and its workers are dead. A
second, POSIX lock on it belongs to the claimer alone: if only this one is free, a process that a
handler left behind still holds the first, and the lease decides. A claim's token is
`FOLDER.CLAIMER.RANDOM`: FOLDER is the name of the state folder, so that a process recognizes
claims of its own host.

The file is also a journal: before a worker starts a delivery, it appends a line, so that a
rescuer knows what a dead claimer had started. The space for that is allocated before anything is
claimed; unwritten bytes are zeros.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress

from eventctl.config.model import Config
from eventctl.errors import StateUnavailable
from eventctl.state.folder import StateFolder, is_at, read_all, try_lock

_SPACE = 65_536
"""Bytes of the journal that are allocated in advance: 2,000 starts, more than one claim has."""

_LARGEST = 2**26
"""Bytes of a journal, of three million starts: a larger file is not read, as if it were lost."""

_NAME = 6
"""Random bytes of a claimer's name."""

START_WINDOW = 60.0
"""Seconds after its claim within which a delivery must start, or else is given back."""


def leases(config: Config) -> dict[str, int]:
    """Return, by handler, how long a claim lasts, in milliseconds.

    A delivery may start within START_WINDOW. After that come its timeout, its grace period, and
    the longest write to the store during which no clock is read.
    """
    slack = START_WINDOW + config.sweep.grace + config.store.timeout + 5
    return {name: int((h.timeout + slack) * 1000) for name, h in config.handlers.items()}


def start_by() -> float:
    """Return the time of CLOCK_BOOTTIME until which a delivery claimed now may start."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) + START_WINDOW


class Claimer:
    """A claiming process: its lock, its journal, and its tokens."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._size = 0
        folder = state.made("claims")
        while True:
            self.name = os.urandom(_NAME).hex()
            self.path = f"{folder}/{self.name}"
            self.fd = state.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
            # Before it is locked, a sweep may take the new file for a dead claimer's.
            if try_lock(self.fd) and is_at(self.fd, self.path):
                self.take_over()
                return
            os.close(self.fd)

    def take_over(self) -> None:
        """Take over as the claimer, in a process forked from it."""
        fcntl.lockf(self.fd, fcntl.LOCK_EX)

    def token(self) -> str:
        """Return a new token for one claim.

        Raises StateUnavailable if the disk has no space for its journal.
        """
        self._make_space()
        return f"{self._state.name}.{self.name}.{os.urandom(4).hex()}"

    def started(self, claim: str, delivery_id: int) -> None:
        """Note in the journal that this delivery is about to start."""
        # Workers share the file's offset with their claimer, so writes never overlap.
        # If this fails, nothing is started: uncounted attempts would be unbounded.
        line = f"{claim.rpartition('.')[2]} {delivery_id}\n".encode()
        if os.write(self.fd, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def forget(self) -> None:
        """Write the journal from its beginning again: what was started is in the store.

        Old entries that are not overwritten yet do no harm: no later claim has their token.
        """
        os.lseek(self.fd, 0, os.SEEK_SET)

    def _make_space(self) -> None:
        used = os.lseek(self.fd, 0, os.SEEK_CUR)
        if self._size - used >= _SPACE // 2:
            return
        try:
            os.posix_fallocate(self.fd, used, _SPACE)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StateUnavailable(
                    f"the state folder {self._state} has no space left: no handler is"
                    " started before it can be noted there"
                ) from error
            # A file system without fallocate may still have space when it is needed.
        self._size = used + _SPACE

    def close(self, *, clean: bool) -> None:
        """Release the lock. `clean` says that no claim of this process is left in the store;
        otherwise the file stays, and the next sweep looks for such claims.
        """
        if clean:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
        os.close(self.fd)


class DeadClaimers:
    """The dead claimers of this state folder, and what they had started.

    Their locks are held until `bury`, so that no two sweeps rescue the same.
    """

    def __init__(self, state: StateFolder, own: Claimer) -> None:
        self._state = state
        self._started: dict[str, set[str]] = {}
        self._fds: dict[str, int] = {}
        self._seen_at: dict[str, int] = {}
        self._left_behind: set[str] = set()
        for name in sorted(os.listdir(state.folder("claims"))):
            # Opening and closing our own file would lose its POSIX lock. A file with another name
            # is not a claimer's.
            if name != own.name and _is_claimer(name):
                self._examine(name)

    def _examine(self, name: str) -> None:
        path = self._state.path / "claims" / name
        try:
            fd = self._state.open(path, os.O_RDWR)
        except FileNotFoundError:
            return
        except StateUnavailable:
            self._left_behind.add(name)  # another user's: `closed_claims` reports it
            return
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            self._left_behind.add(name)  # nobody's: `closed_claims` reports it
        elif not try_lock(fd):
            if _claimer_is_dead(fd):
                self._left_behind.add(name)
        elif is_at(fd, path):
            self._take(name, fd)
            return
        os.close(fd)

    def _take(self, name: str, fd: int) -> None:
        self._fds[name] = fd
        self._seen_at[name] = int(os.fstat(fd).st_mtime * 1000)
        if os.fstat(fd).st_size <= _LARGEST:
            journal = read_all(fd).replace(b"\0", b"").decode("ascii", "replace")
            self._started[name] = set(journal.splitlines())

    def __bool__(self) -> bool:
        return bool(self._fds)

    def started(self, claim: str, delivery_id: int) -> bool:
        """Return whether a dead claimer may have started this delivery.

        Without its journal, as after a power cut or on another host, it may.
        """
        _, claimer, random = _parts(claim)
        journal = self._started.get(claimer)
        return journal is None or f"{random} {delivery_id}" in journal

    def seen_at(self, claim: str) -> int | None:
        """Return when the journal of a dead claimer was last written, in milliseconds since 1970;
        None if it is not here.
        """
        return self._seen_at.get(_parts(claim)[1])

    def is_lost(self, claim: str, *, expired: bool) -> bool:
        """Return whether no process can be working under this claim.

        On this host, the locks decide, not the lease. A file is only removed by its own claimer or
        after its claims were rescued, so a claim of this folder without a file has a dead claimer
        too. For other hosts there is only the lease.
        """
        folder, claimer, _ = _parts(claim)
        if folder != self._state.name:
            return expired
        if claimer in self._fds or not (self._state.path / "claims" / claimer).exists():
            return True
        return expired and claimer in self._left_behind

    def bury(self) -> None:
        """Remove the files of dead claimers whose claims were rescued."""
        for name in self._fds:
            (self._state.path / "claims" / name).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Release the locks; the files stay for the next sweep."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


def closed_claims(state: StateFolder) -> str:
    """Return one line if this user may not open another user's claimer file, else ""."""
    from eventctl.format.files import closed_to_us  # lazy: an emit need not load it

    folder = state.path / "claims"
    try:
        paths = sorted(path for path in folder.iterdir() if _is_claimer(path.name))
    except OSError:
        return ""  # there is none, or nothing can be claimed, which is reported elsewhere
    for path in paths:
        with suppress(OSError):  # it has been removed
            if not stat.S_ISREG(path.lstat().st_mode):
                return f"{path} is not a file of eventctl: delete it"
    if not (closed := closed_to_us(paths)):
        return ""
    return (
        f"{folder}: {closed}; what it has claimed waits until its lease ends: run eventctl as one"
        " user, or set [store] group"
    )


def _is_claimer(name: str) -> bool:
    return len(name) == 2 * _NAME and not set(name) - set("0123456789abcdef")


def _parts(claim: str) -> tuple[str, str, str]:
    folder, _, rest = claim.partition(".")
    claimer, _, random = rest.partition(".")
    return folder, claimer, random


def _claimer_is_dead(fd: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
