"""The words for where events and deliveries stand, and the records that travel.

    record ──> pending ──claim──> running ──finish──> done
                  ^                  │                  │
                  ├─retry, release───┤                  │
                  ├─rescue, hold─────┤                  │
                  │                  └─give up─> failed │
                  ├────────────cancel─────────────^     │
                  └───────────reopen────────────┴───────┘

Each arrow is a statement that is conditional on where it starts. `store.claims` has claim, rescue
and hold; `store.results` has finish, retry, release and give up; `store.cancel` and `store.reopen`
have the rest.

There is no `from __future__ import annotations` in files with named tuples that each
emit loads: it would have every field's type compiled from its text.
"""

from enum import IntEnum, StrEnum
from typing import NamedTuple


class Status(IntEnum):
    """Where an event stands, as a whole."""

    EMITTED = 0
    TIMEOUT = 1
    """It was not done on its first run, and the sweep has it."""
    PROCESSED = 2
    FAILED = 3
    """A delivery ran out of retries or was given up: a person must act."""


class State(StrEnum):
    """Where one delivery stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a delivery stands there, where the state alone does not say it."""

    EXHAUSTED = "exhausted"
    DISCARDED = "discarded"
    CANCELLED = "cancelled"
    UNKNOWN_HANDLER = "unknown handler"
    DAMAGED_ARGS = "damaged args"


HELD = (Reason.UNKNOWN_HANDLER, Reason.DAMAGED_ARGS)
"""The reasons of a pending delivery that cannot be run as it is."""


class Outcome(StrEnum):
    """How one attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    LOST = "lost"
    """Its process died, and nobody knows how far it came."""
    DISCARDED = "discarded"
    POSTPONED = "postponed"
    """The handler asked to be run later; no attempt was spent."""
    UNDECODABLE = "undecodable"
    """The args are not JSON; the handler was never started."""
    NOT_STARTED = "not started"
    """It would have outlived its lease, so it was given back."""
    REPLAYED = "replayed"
    """No attempt, but the note in the history that a replay has made all attempts anew possible."""


REHEARSED = 0
"""The id of a delivery that is in no store: what a transactional handler does for it is
rolled back."""


class NewEvent(NamedTuple):
    """An event to record. `args` is JSON text, kept to the letter."""

    name: str
    args: str
    key: str
    expected: tuple[str, ...]
    deadline: int | None = None
    """Milliseconds from when it was created, after which a person is notified that it is late."""
    has_new_key: bool = False
    """Whether the key was made for it just now, so that no other event can have it."""


class Recorded(NamedTuple):
    """What recording an event gave: its id, and whether it was new."""

    id: int
    key: str
    new: bool


class Delivery(NamedTuple):
    """A claimed delivery, with all that its handler needs.

    `attempt` counts from 1; `created_at` is in milliseconds since 1970, UTC;
    `start_by` is a reading of `time.CLOCK_BOOTTIME` in seconds, past which the
    run could outlive its lease and must not be started any more.
    """

    id: int
    event_id: int
    key: str
    name: str
    args: str
    created_at: int
    handler: str
    attempt: int
    waited: int
    """Milliseconds that RetryLater has made it wait so far."""
    due_at: int
    """When it was due, in milliseconds since 1970: what it goes back to if released."""
    claim: str
    start_by: float
    probe: bool = False
    """Whether it is run to find out if its handler works again, behind an open breaker."""


class Result(NamedTuple):
    """How one attempt at a claimed delivery ended.

    `took` is in milliseconds; `delay` in seconds, only for a postponed one;
    `output` is the tail of what the handler wrote to stdout and stderr.
    """

    delivery: Delivery
    outcome: Outcome
    took: int = 0
    error: str = ""
    traceback: str = ""
    output: str = ""
    delay: float = 0.0
    written: bool = False
    """Whether a transactional handler's own transaction has put it into the store."""


class Verdict(NamedTuple):
    """What becomes of a delivery after an attempt.

    `delay` is in milliseconds from now, for a pending one; `charge` is the number
    of attempts that it costs, 0 or 1; `waited` is what it adds to RetryLater's sum.
    """

    state: State
    reason: Reason | None = None
    delay: int = 0
    charge: int = 1
    waited: int = 0
    notify: bool = False
    """Whether a channel wants to hear of a failure with retries left."""


class Notice(NamedTuple):
    """Something that a person must be notified of, until a channel has accepted it.

    `kind` is "exhausted", "discarded" or "held"; "failed" for an attempt that is followed by
    others, where a channel wants to know; "late" for an event that was not
    processed within its deadline, and which `handler` names; "set aside" for a spool file
    or outbox row that cannot become an event (`handler` says which, `event_id` is 0).
    `at` is in milliseconds since 1970, UTC; `error`, `traceback` and `output` are those
    of the last attempt.
    """

    id: int
    kind: str
    at: int
    handler: str
    name: str
    event_id: int
    attempts: int
    error: str
    traceback: str
    output: str
    cause: str = ""
    """What is the same for attempts that failed in the same way (see `cause`)."""
    delivery_id: int | None = None
    place: str | None = None
    """Where something was set aside: the name of a host's state folder, or "outbox"."""
