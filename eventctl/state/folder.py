"""The state folder: the locks, the spool and the name that a host keeps next to the store."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from itertools import accumulate

from eventctl.config import permissions
from eventctl.errors import StateUnavailable

TYPE_CHECKING = False  # pathlib would cost each emit some milliseconds
if TYPE_CHECKING:
    from pathlib import Path

_FORMER = 20
"""How many of its former names a folder remembers."""

_MODE_ALONE = (0o700, 0o600)
_MODE_SHARED = (0o2770, 0o660)

# A user who may write here must not redirect our writes, or block us with a FIFO.
_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class StateFolder:
    """The folder of locks and spool, created if it does not exist."""

    def __init__(self, path: str | Path, group: str | None = None) -> None:
        self._text = os.fspath(path)
        self._folder_mode, self._file_mode = _MODE_SHARED if group else _MODE_ALONE
        self._group = group
        self._name = ""

    def __str__(self) -> str:
        return self._text

    @property
    def path(self) -> Path:
        """The folder as a Path; other methods use strings, which are faster."""
        from pathlib import Path  # lazy: an emit need not load it

        return Path(self._text)

    @property
    def name(self) -> str:
        """This folder's own name in claim tokens: 8 random hex digits, made once.

        It is bound to the machine and to the folder's path. A copy of the folder, in a cloned
        machine or elsewhere, gets its own name, and so does the folder of an older eventctl: with
        another folder's name, it would take over deliveries that still run there.
        """
        if not self._name:
            self._name = self._read_name() or self._make_name()
        return self._name

    def is_or_was(self, name: str) -> bool:
        """Return whether this is the folder's name or a former one."""
        return name == self.name or name in self._former()

    def _former(self) -> list[str]:
        return self._link("former").split(".")

    def writers(self, *parts: str) -> str:
        """Return who else may write to a subfolder, "" if nobody may."""
        try:
            who = permissions.writers(self.path.joinpath(*parts).stat())
        except (FileNotFoundError, NotADirectoryError):
            return ""
        return "" if self._group and who != permissions.ANYBODY else who

    def folder(self, *parts: str) -> Path:
        """Return a subfolder, created if it does not exist."""
        return self.path / self.made(*parts)

    def made(self, *parts: str) -> str:
        """Return the path of a subfolder, created if it does not exist."""
        folders = list(accumulate((self._text, *parts), os.path.join))
        try:
            for folder in folders:
                if not os.path.isdir(folder):
                    self._make_folder(folder)
        except OSError as error:
            raise self._unwritable(error) from error
        return folders[-1]

    def _make_folder(self, folder: str) -> None:
        if self._group:
            from eventctl.format.owners import not_shared  # lazy: few folders have a group

            # Before it is made: with another group it would stay closed.
            if wrong := not_shared(self._group):
                raise StateUnavailable(": ".join(wrong))
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            return
        if self._group:
            import shutil  # lazy: few folders have a group

            shutil.chown(folder, group=self._group)
        os.chmod(folder, self._folder_mode)

    def open(self, path: str | Path, flags: int) -> int:
        """Open a file of this folder with the permissions that its users need; return its fd.

        Raises StateUnavailable, or FileExistsError and FileNotFoundError depending on `flags`.
        """
        try:
            if flags & os.O_CREAT and not os.path.isdir(parent := os.path.dirname(path)):
                self.made(*os.path.relpath(parent, self._text).split("/"))
            fd = os.open(path, flags | _SAFE, 0o600)
            if self._group and os.fstat(fd).st_uid == os.geteuid():
                os.fchmod(fd, self._file_mode)
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError as error:
            raise self._unwritable(error) from error
        return fd

    def _unwritable(self, error: OSError) -> StateUnavailable:
        from eventctl.format.owners import user_name  # lazy: only a mistake needs it

        fix = "set [store] state to one that this user may write"
        if isinstance(error, FileNotFoundError):
            fix = f"create {os.path.dirname(self._text)}, or {fix}"
        elif isinstance(error, PermissionError) and (owner := self._other_owner()):
            share = f"add this user to the group {self._group}" if self._group else ""
            run = f"run eventctl as {owner}"
            if owner == "root":  # who was, for one command, in the place of the sweep's user
                run = f"as root, chown -R {user_name(os.geteuid())} {self}"
            fix = f"{run}, or {share or 'share it with [store] group'}"
        return StateUnavailable(
            f"the state folder {self} cannot be written ({error.strerror}): {fix}"
        )

    def _other_owner(self) -> str:
        """Return the folder's owner if that is another user, else ""."""
        from eventctl.format.owners import user_name  # lazy: only a mistake needs it

        with suppress(OSError):
            owner = os.stat(self._text).st_uid
            return user_name(owner) if owner != os.geteuid() else ""
        return ""

    def is_first_after_boot(self) -> bool:
        """Return whether `note_boot` has not been called since this host booted."""
        return self._link("boot") != _boot_id()

    def note_boot(self) -> None:
        """Note that claims lost by the last reboot have been searched for."""
        with suppress(OSError):  # on a full disk, each sweep searches again
            self._point("boot", _boot_id())

    def _link(self, name: str) -> str:
        """Return the target of one of this folder's links; "" if there is no such link."""
        try:
            return os.readlink(f"{self}/{name}")
        except OSError:
            return ""  # missing, or not a link: left by an older eventctl or a copy

    def _point(self, name: str, text: str) -> None:
        """Replace whatever has this name by a link with this target, atomically."""
        link = f"{self.made()}/{name}"
        draft = f"{link}.{os.urandom(4).hex()}"
        os.symlink(text, draft)
        if os.path.isdir(link) and not os.path.islink(link):
            os.rename(link, f"{draft}.old")  # nothing can replace it
        os.rename(draft, link)

    def once_in(self, name: str, seconds: float) -> bool:
        """Return True, and False if called again with the same name within this time."""
        path = f"{self.made()}/{name}.said"
        now = time.time()
        with suppress(FileNotFoundError):
            if 0 <= now - os.stat(path).st_mtime < seconds:
                return False
        os.close(self.open(path, os.O_CREAT | os.O_WRONLY))
        os.utime(path)
        return True

    def forget_once(self, name: str) -> None:
        """Let `once_in` return True again."""
        (self.path / f"{name}.said").unlink(missing_ok=True)

    def store(self) -> str:
        """Return the identity of the store that this folder belongs to, "" if unknown."""
        return self._link("store")

    def belongs_to(self, identity: str) -> bool:
        """Return whether this folder belongs to this store; the first store that asks gets it."""
        try:
            if not self.store():
                self._point("store", identity)
        except OSError as error:
            raise self._unwritable(error) from error
        return self.store() == identity

    def _read_name(self) -> str:
        """Return the name; "" if none was made for this folder."""
        name, _, place = self._link("name").partition(".")
        return name if place and place == self._place() else ""

    def _place(self) -> str:
        status = os.stat(self._text)
        return f"{_machine()}.{status.st_dev:x}.{status.st_ino:x}"

    def _make_name(self) -> str:
        folder = self.made()
        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)  # if two processes try at once, one creates it
                if name := self._read_name():
                    return name
                if former := self._link("name").partition(".")[0][:8]:
                    # Files that were set aside under its former name are here as well.
                    self._point("former", ".".join([*self._former()[1 - _FORMER :], former]))
                name = os.urandom(4).hex()
                self._point("name", f"{name}.{self._place()}")
                os.fsync(fd)
                return name
            finally:
                os.close(fd)
        except OSError as error:
            raise self._unwritable(error) from error


def try_lock(fd: int) -> bool:
    """Take the exclusive lock of an open file, if it is free."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(fd: int, path: str | Path) -> bool:
    """Return whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _machine() -> str:
    """Return the machine's id and host name: containers of one image differ only in the latter."""
    try:
        with open("/etc/machine-id", encoding="utf-8", errors="replace") as file:
            number = file.read(64).strip()
    except OSError:
        number = ""
    return f"{number}.{os.uname().nodename}"


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read()
    except OSError:
        return "unknown"  # without /proc, boots look alike, and leases decide


def read_all(fd: int) -> bytes:
    """Return the whole content of an open file, whatever its offset."""
    return os.pread(fd, os.fstat(fd).st_size, 0)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data` at the start of an open file. Raises OSError.

    A system call may write a part: what the disk or `ulimit -f` allows. The next one is refused.
    """
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], done)
