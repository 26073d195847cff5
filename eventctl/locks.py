"""The state folder, and the file locks in it, which die with the processes that hold them.

Each claiming process holds an flock on one file of its own in `claims/`, and its
workers inherit it. Who gets the lock of such a file knows that the claimer and its
workers are dead. A second lock on it, a POSIX one, is the claimer's alone: where it is
free and the first is not, something that a handler has left behind keeps the first,
and the lease decides. A claim's token is `FOLDER.CLAIMER.RANDOM`: FOLDER names the state
folder, so that a process knows which claims were made on its own host.

The file is a journal as well: before a worker starts a delivery it adds a line to it,
so that whoever finds the dead knows what they had started, and what not.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from eventctl.config import trust
from eventctl.errors import StateUnavailable

_MODE_ALONE = (0o700, 0o600)
_MODE_SHARED = (0o2770, 0o660)

# Who may write here must not be able to make us write elsewhere, or wait at a FIFO.
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class StateFolder:
    """The folder of locks and spool, made where it is not there yet."""

    def __init__(self, path: Path, group: str | None = None) -> None:
        self.path = path
        self._folder_mode, self._file_mode = _MODE_SHARED if group else _MODE_ALONE
        self._group = group
        self._name = ""

    @property
    def name(self) -> str:
        """This folder's own name in claim tokens: 8 random hex digits, made once."""
        if not self._name:
            self._name = self._read_name() or self._make_name()
        return self._name

    def writers(self, *parts: str) -> str:
        """Return who may write to a folder below that should not, "" if nobody may."""
        try:
            who = trust.writers(self.path.joinpath(*parts).stat())
        except FileNotFoundError:
            return ""
        return "" if self._group and who != trust.ANYBODY else who

    def folder(self, *parts: str) -> Path:
        """Return a folder below, made where it is not there yet."""
        path = self.path.joinpath(*parts)
        missing = [p for p in (path, *path.parents) if p.is_relative_to(self.path)]
        try:
            for folder in reversed(missing):
                if not folder.is_dir():
                    self._make_folder(folder)
        except OSError as error:
            raise self._unwritable(error) from error
        return path

    def _make_folder(self, folder: Path) -> None:
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            return
        if self._group:
            import shutil

            shutil.chown(folder, group=self._group)
        os.chmod(folder, self._folder_mode)

    def open(self, path: Path, flags: int) -> int:
        """Open a file of this folder with the rights that its users need; return its fd.

        Raises StateUnavailable, or FileExistsError and FileNotFoundError as `flags` ask.
        """
        try:
            if flags & os.O_CREAT and not path.parent.is_dir():
                self.folder(*path.parent.relative_to(self.path).parts)
            fd = os.open(path, flags | _SAFE, 0o600)
            if self._group and os.fstat(fd).st_uid == os.geteuid():
                os.fchmod(fd, self._file_mode)
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError as error:
            raise self._unwritable(error) from error
        return fd

    def _unwritable(self, error: OSError) -> StateUnavailable:
        return StateUnavailable(
            f"the state folder {self.path} cannot be written ({error.strerror}):"
            " set [store] state to one that this user may write"
        )

    def is_first_after_boot(self) -> bool:
        """Return whether `note_boot` was not called yet since this host was started."""
        try:
            return (self.path / "boot").read_text("ascii") != _boot_id()
        except FileNotFoundError:
            return True

    def note_boot(self) -> None:
        """Note that what was lost with the host's last end has been looked for."""
        fd = self.open(self.folder() / "boot", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        with suppress(OSError):  # on a full disk each sweep looks anew
            os.write(fd, _boot_id().encode("ascii"))
        os.close(fd)

    def once_in(self, name: str, seconds: float) -> bool:
        """Return True, and False to who asks again, with the same name, in this time."""
        path = self.folder() / f"{name}.told"
        now = time.time()
        with suppress(FileNotFoundError):
            if 0 <= now - path.stat().st_mtime < seconds:
                return False
        os.close(self.open(path, os.O_CREAT | os.O_WRONLY))
        os.utime(path)
        return True

    def forget_once(self, name: str) -> None:
        """Let `once_in` return True again."""
        (self.path / f"{name}.told").unlink(missing_ok=True)

    def _read_name(self) -> str:
        try:
            return os.readlink(self.path / "name")
        except FileNotFoundError:
            return ""

    def _make_name(self) -> str:
        folder = self.folder()
        try:
            # A link is made whole or not at all, by the first of two that try at once.
            os.symlink(os.urandom(4).hex(), folder / "name")
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            os.fsync(fd)
            os.close(fd)
        except FileExistsError:
            return self._read_name()
        except OSError as error:
            raise self._unwritable(error) from error
        return self._read_name()


class Claimer:
    """One process that claims: its lock, its journal, and the tokens that it makes."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        folder = state.folder("claims")
        while True:
            self.name = os.urandom(6).hex()
            self.path = folder / self.name
            self.fd = state.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND)
            # A sweep may take the new file for a dead one's, before it is locked.
            if try_lock(self.fd) and is_at(self.fd, self.path):
                self.take_over()
                return
            os.close(self.fd)

    def take_over(self) -> None:
        """Become the claimer, in a process forked from it that goes on in its place."""
        fcntl.lockf(self.fd, fcntl.LOCK_EX)

    def token(self) -> str:
        """Return a new token, for one claim."""
        return f"{self._state.name}.{self.name}.{os.urandom(4).hex()}"

    def started(self, claim: str, delivery_id: int) -> None:
        """Add to the journal that this delivery is about to be started."""
        try:
            os.write(self.fd, f"{claim.rpartition('.')[2]} {delivery_id}\n".encode())
        except OSError as error:
            # A handler that has closed this file leaves a process without the lock.
            if error.errno == errno.EBADF:
                raise
            # On a full disk the handlers still run. At the worst, a crash right now
            # leaves one attempt uncounted.

    def forget(self) -> None:
        """Empty the journal: all that was started has ended, and is in the store."""
        os.ftruncate(self.fd, 0)

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
        self._left_behind: set[str] = set()
        for name in sorted(os.listdir(state.folder("claims"))):
            # To open and close our own file would lose its POSIX lock.
            if name != own.name:
                self._examine(name)

    def _examine(self, name: str) -> None:
        path = self._state.path / "claims" / name
        try:
            fd = self._state.open(path, os.O_RDWR)
        except FileNotFoundError:
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
        self._started[name] = set(_read_all(fd).decode("ascii", "replace").splitlines())

    def __bool__(self) -> bool:
        return bool(self._fds)

    def started(self, claim: str, delivery_id: int) -> bool:
        """Return whether a dead claimer may have started this delivery.

        Where its journal is not here, as after a power cut or on another host, it may.
        """
        _, claimer, random = _parts(claim)
        journal = self._started.get(claimer)
        return journal is None or f"{random} {delivery_id}" in journal

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


def _parts(claim: str) -> tuple[str, str, str]:
    folder, _, rest = claim.partition(".")
    claimer, _, random = rest.partition(".")
    return folder, claimer, random


def try_lock(fd: int) -> bool:
    """Take the exclusive lock of an open file, if it is free."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _claimer_is_dead(fd: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_at(fd: int, path: Path) -> bool:
    """Return whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    except OSError:
        return "unknown"  # no /proc: each boot looks like the last one, and leases are left


def _read_all(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


class SweepLock:
    """The lock that one sweep at a time has on a host. It dies with its process.

    The file says since when it is held, in seconds since 1970, for who finds it taken.
    """

    def __init__(self, state: StateFolder, path: Path) -> None:
        self.path = path
        try:
            state.folder()
            self._fd = state.open(path, os.O_CREAT | os.O_RDWR)
        except OSError as error:
            raise StateUnavailable(
                f"the lock {path} cannot be opened ({error.strerror}): set [sweep] lock, or"
                " [store] state, to a place that this user may write"
            ) from error

    def acquire(self, now: float) -> bool:
        """Take the lock if it is free; `now` is in seconds since 1970."""
        if not try_lock(self._fd):
            return False
        with suppress(OSError):  # on a full disk the lock is as good without it
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{now:.0f}\n".encode(), 0)
        return True

    def held_since(self) -> float:
        """Return since when another sweep holds it; infinity where that is not known."""
        text = _read_all(self._fd).strip()
        return float(text) if text.isdigit() else float("inf")

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._fd)
