"""An archive: a folder of files of JSON Lines, each compressed by gzip and never changed again."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from eventctl.errors import ArchiveError, UsageError
from eventctl.format.files import whole_file

_LEVEL = 4
"""Of gzip: lines of events become hardly smaller with a higher one, which takes longer."""

_BLOCK = 65_536
"""How many bytes are compressed at once."""


def check(folder: Path) -> None:
    """Raise UsageError if there is no such folder."""
    if not folder.exists():
        raise UsageError(f"the archive folder {folder} is missing: create it")
    if not folder.is_dir():
        raise UsageError(
            f"the archive {folder} is not a folder: name one, in which each prune writes new files"
        )


def write(folder: Path, lines: Iterator[str]) -> Path | None:
    """Write lines into a new file, named by the time; return it when it is on the disk.

    Returns None if there is no line: another prune was faster. Raises ArchiveError if it cannot be
    written, and leaves no part of it.
    """
    first = next(lines, None)
    if first is None:
        return None
    now = datetime.now(UTC)
    path = folder / f"events-{now:%Y%m%dT%H%M%S.%fZ}.jsonl.gz"
    try:
        with (
            whole_file(path, 0o600, new=True) as file,
            gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file) as packed,
            io.BufferedWriter(packed, _BLOCK) as buffered,
        ):
            for line in chain([first], lines):
                buffered.write(f"{line}\n".encode())
    except OSError as error:
        raise ArchiveError(
            f"the archive {path} cannot be written ({error.strerror});"
            " what is not in it was not deleted"
        ) from error
    return path
