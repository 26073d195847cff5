"""Who claims, and which claimers are dead: file locks that end with their processes.

Each claiming process holds an flock on one file of its own in `claims/`, and its
workers inherit it. Who gets the lock of such a file knows that the claimer and its
workers are dead. A second lock on it, a POSIX one, is the claimer's alone: where it is
free and the first is not, something that a handler has left behind keeps the first,
and the lease decides. A claim's token is `FOLDER.CLAIMER.RANDOM`: FOLDER names the state
folder, so that a process knows which claims were made on its own host.

The file is a journal as well: before a worker starts a delivery it adds a line to it,
so that whoever finds the dead knows what they had started, and what not. The disk has
given it the space for that before anything is claimed; what is not written yet is zeros.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress

from eventctl.errors import StateUnavailable
from eventctl.state.folder import StateFolder, is_at, read_all, try_lock

_SPACE = 65_536
"""Bytes of the journal that are there before they are needed: those of 2,000 starts, more than
what is claimed at a time."""


_NAME = 6
"""Random bytes of a claimer's name."""


class Claimer:
    """One process that claims: its lock, its journal, and the tokens that it makes."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._size = 0
        folder = state.folder("claims")
        while True:
            self.name = os.urandom(_NAME).hex()
            self.path = folder / self.name
            self.fd = state.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
            # A sweep may take the new file for a dead one's, before it is locked.
            if try_lock(self.fd) and is_at(self.fd, self.path):
                self.take_over()
                return
            os.close(self.fd)

    def take_over(self) -> None:
        """Become the claimer, in a process forked from it that goes on in its place."""
        fcntl.lockf(self.fd, fcntl.LOCK_EX)

    def token(self) -> str:
        """Return a new token, for one claim.

        Raises StateUnavailable where the disk has no space to note what is started under it.
        """
        self._make_space()
        return f"{self._state.name}.{self.name}.{os.urandom(4).hex()}"

    def started(self, claim: str, delivery_id: int) -> None:
        """Add to the journal that this delivery is about to be started."""
        # Workers share the file's offset with their claimer, so no two write at one place.
        # Where this is refused nothing is started: an attempt that nobody counts has no bounds.
        os.write(self.fd, f"{claim.rpartition('.')[2]} {delivery_id}\n".encode())

    def forget(self) -> None:
        """Empty the journal: all that was started has ended, and is in the store."""
        if used := os.lseek(self.fd, 0, os.SEEK_CUR):
            with suppress(OSError):  # what stays noted is in the store as well, and harms nothing
                os.pwrite(self.fd, bytes(used), 0)  # its space is kept
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
                    f"the state folder {self._state.path} has no space left: no handler is"
                    " started before it can be noted there"
                ) from error
            # A file system that cannot do so may still have space when it is needed.
        self._size = used + _SPACE

    def close(self, *, clean: bool) -> None:
        """Give the lock back. `clean` says that no claim of this process is left in the
        store; otherwise the file stays, and the next sweep looks for such claims.
        """
        if clean:
            self.path.unlink(missing_ok=True)
        os.close(self.fd)


class DeadClaimers:
    """The claimers of this state folder that are dead, and what they had started.

    Their locks are held until `bury`, so that two sweeps do not rescue the same.
    """

    def __init__(self, state: StateFolder, own: Claimer) -> None:
        self._state = state
        self._started: dict[str, set[str]] = {}
        self._fds: dict[str, int] = {}
        self._seen_at: dict[str, int] = {}
        self._left_behind: set[str] = set()
        for name in sorted(os.listdir(state.folder("claims"))):
            # To open and close our own file would lose its POSIX lock. What has another name
            # is no claimer's.
            if name != own.name and _is_claimer(name):
                self._examine(name)

    def _examine(self, name: str) -> None:
        path = self._state.path / "claims" / name
        try:
            fd = self._state.open(path, os.O_RDWR)
        except FileNotFoundError:
            return
        except StateUnavailable:
            self._left_behind.add(name)  # another user's: `closed_claims` names it
            return
        if not try_lock(fd):
            if _claimer_is_dead(fd):
                self._left_behind.add(name)
            os.close(fd)
            return
        if not is_at(fd, path):
            os.close(fd)
            return
        self._fds[name] = fd
        self._seen_at[name] = int(os.fstat(fd).st_mtime * 1000)
        journal = read_all(fd).replace(b"\0", b"").decode("ascii", "replace")
        self._started[name] = set(journal.splitlines())

    def __bool__(self) -> bool:
        return bool(self._fds)

    def started(self, claim: str, delivery_id: int) -> bool:
        """Return whether a dead claimer may have started this delivery.

        Where its journal is not here, as after a power cut or on another host, it may.
        """
        _, claimer, random = _parts(claim)
        journal = self._started.get(claimer)
        return journal is None or f"{random} {delivery_id}" in journal

    def seen_at(self, claim: str) -> int | None:
        """Return when the journal of a dead claimer was last written, in milliseconds since 1970;
        None where it is not here.
        """
        return self._seen_at.get(_parts(claim)[1])

    def is_lost(self, claim: str, *, expired: bool) -> bool:
        """Return whether nobody can be working under this claim.

        On this host the locks decide, and not the lease. A file is only ever removed by
        its own claimer or after its claims were rescued, so a claim of this folder whose
        file is missing has a dead claimer too. Of other hosts there is only the lease.
        """
        folder, claimer, _ = _parts(claim)
        if folder != self._state.name:
            return expired
        if claimer in self._fds or not (self._state.path / "claims" / claimer).exists():
            return True
        return expired and claimer in self._left_behind

    def bury(self) -> None:
        """Remove the files of the dead, once what they had claimed is rescued."""
        for name in self._fds:
            (self._state.path / "claims" / name).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Give the locks back; the files stay for the next sweep."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()


def closed_claims(state: StateFolder) -> str:
    """Return one line if another user's claimer has a file that this one may not open, else ""."""
    from eventctl.format.files import closed_to_us  # lazy: an emit need not load it

    folder = state.path / "claims"
    try:
        paths = sorted(path for path in folder.iterdir() if _is_claimer(path.name))
    except OSError:
        return ""  # there is none, or nothing can be claimed, which has its own line
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
