"""Process items in batches, such that one bad item does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from eventctl.errors import StoreError, StoreUnavailable
from eventctl.format.text import printable, shorten

TYPE_CHECKING = False  # typing itself would cost each emit a millisecond
if TYPE_CHECKING:
    from typing import TypeVar

    Item = TypeVar("Item")
    R = TypeVar("R")


_OF_ALL = (StoreUnavailable, StoreError, OSError, ImportError, MemoryError)
"""Errors that are not about one item: the store or the host refuses all of them now."""


def refusal(error: Exception) -> str:
    """Return an item's error in one line, as in "IntegrityError: CHECK constraint failed"."""
    said = str(error.args[-1] if error.args else error)
    return f"{type(error).__name__}: {shorten(printable(said), 200)}"


AT_ONCE = 500
"""The most ids in one statement, and the most deliveries that one transaction changes."""


def parts(items: Sequence[Item], size: int = AT_ONCE) -> Iterator[Sequence[Item]]:
    """Yield all items, `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def do_one(work: Callable[[], R], refused: Callable[[Exception], R]) -> R:
    """Do one piece of work, and return its result; if it fails by itself, that of `refused`, which
    gets the error. Raises errors that concern the store as a whole.
    """
    (result,) = do_each([None], lambda _: work(), lambda _, error: refused(error))
    return result


def do_each(
    items: Sequence[Item],
    batch: Callable[[Sequence[Item]], R],
    alone: Callable[[Item, Exception], R],
) -> list[R]:
    """Process items in one batch; return the results of `batch`, one for each part.

    If the batch fails for a lasting reason, it is split in halves, and each half is processed by
    itself, and so on. An item that fails by itself is passed to `alone`, with its error. Raises
    errors that concern the store as a whole.
    """
    if not items:
        return []
    try:
        return [batch(items)]
    except _OF_ALL:
        raise
    except Exception as error:  # noqa: BLE001 - no error of an item may stop the others
        if len(items) == 1:
            return [alone(items[0], error)]
    half = len(items) // 2
    return [*do_each(items[:half], batch, alone), *do_each(items[half:], batch, alone)]
