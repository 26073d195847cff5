"""emit --batch: many events from JSON Lines, recorded in bulk."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

from eventctl.cli.fast_emit import print_ids
from eventctl.cli.output.progress import ProgressBar
from eventctl.config.model import Config
from eventctl.errors import EXIT_DONE, EXIT_NOT_RECORDED, TooLarge, UsageError
from eventctl.format.messages import complain
from eventctl.format.text import joined
from eventctl.intake import cloudevents, validation
from eventctl.intake.json_fields import field_text
from eventctl.models import NewEvent
from eventctl.run import emit as emitter
from eventctl.store.connect import open_store
from eventctl.store.events import BULK, check_fit, new_keys, record_many

_FIELDS = {"name", "args", "key"}
_ARGS = (list, dict)


def emit_batch(config: Config, file: str, delay: float, quiet: bool) -> int:
    """Record all events of a file of JSON Lines, or none of them if one line is wrong.

    They are due `delay` seconds from now. Prints their ids, in the order of the lines.
    """
    # All of it is in memory, without cycles: searching for cycles would take time.
    gc.disable()
    numbered = list(_read(config, file))
    events = [event for _, event in numbered]
    done, opened, words = 0, False, ""
    try:
        with open_store(config) as database, ProgressBar("recording", len(events)) as bar:
            opened = True
            check_fit(database, events)
            while done < len(events):
                recorded = record_many(database, events[done : done + BULK], delay)
                done += len(recorded)
                bar.advance(len(recorded))
                if not quiet:
                    ids = "".join(f"{each}\n" for each in recorded)
                    print_ids(ids, "the events are")
            words = emitter.stalled(config, database)
    except Exception as error:
        if done == len(events):
            complain(f"{emitter.reason(error)}; all events are recorded")
            return EXIT_DONE
        if isinstance(error, TooLarge) and not done:
            raise _wrong_line(file, numbered[error.index][0], error) from error
        # The file of the batch still exists, so it needs an exact answer, not the spool.
        complain(f"{emitter.reason(error)}; {_what_is_recorded(done, len(events), opened)}")
        return EXIT_NOT_RECORDED
    if words:
        complain(words)
    return EXIT_DONE


def _what_is_recorded(done: int, total: int, opened: bool) -> str:
    if not opened:
        return "nothing was recorded: run it again"
    if not done:
        return "some events may be recorded: run it again; lines with a key are recorded once"
    return (
        f"the first {done:,} of its {total:,} events are recorded, and of the next {BULK:,} some"
        " may be recorded: run the rest again; lines with a key are recorded once"
    )


def _read(config: Config, file: str) -> Iterator[tuple[int, NewEvent]]:
    """Yield the events of a file, each with the number of its line."""
    make_key = new_keys().__next__
    try:
        with open(0 if file == "-" else file, "rb", closefd=file != "-") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        yield number, _event(config, line, make_key)
                    except UsageError as error:
                        raise _wrong_line(file, number, error) from error
    except OSError as error:
        raise UsageError(f"--batch: {file} cannot be read: {error.strerror}") from error


def _wrong_line(file: str, number: int, error: UsageError) -> UsageError:
    place = "stdin" if file == "-" else file
    return UsageError(joined(f"{place}, line {number}: {error}", "nothing was recorded"))


def _event(config: Config, line: bytes, make_key: Callable[[], str]) -> NewEvent:
    try:
        text = line.decode().removeprefix("\ufeff")
        fields = validation.decode(text)
    except UnicodeDecodeError as error:
        raise UsageError("not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise UsageError('not an object, such as {"name": "purchased", "args": ["user A", 5000]}')
    if "specversion" in fields:
        event = cloudevents.read(fields, field_text(text, "data"), config.store.source)
        return validation.accept(config, *event)
    if not fields.keys() <= _FIELDS:
        if "eventName" in fields:
            raise UsageError(
                "this is a line of list or of an archive; to emit it again, convert it:"
                " jq -c '{name: .eventName, args, key}'"
            )
        unknown = min(fields.keys() - _FIELDS)
        raise UsageError(f"unknown field {unknown!r}: there are name, args and key")
    name, args, key = fields.get("name"), fields.get("args", []), fields.get("key")
    if not isinstance(name, str):
        raise UsageError('"name" must be a string: the name of an event')
    if not isinstance(args, _ARGS):
        raise UsageError('"args" must be a list or an object')
    if key is not None and not isinstance(key, str):
        raise UsageError('"key" must be a string')
    return validation.accept(config, name, field_text(text, "args") or "[]", key, make_key)
