"""The states of events and deliveries, and the records that modules exchange.

    record ──> pending ──claim──> running ──finish──> done
                  ^                  │                  │
                  ├─retry, release───┤                  │
                  ├─rescue, hold─────┤                  │
                  │                  └─give up─> failed │
                  ├────────────cancel─────────────^     │
                  └───────────reopen────────────┴───────┘

Each arrow is a statement that is conditional on the state it starts from. `store.claims`,
`store.rescue` and `store.held` have claim, rescue and hold; `store.results` has finish, retry,
release and give up; `store.cancel` and `store.reopen` have the rest.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from _collections import _tuplegetter as field  # that of collections.namedtuple: fast

    class _Fields(type):
        """Makes the annotated names of a class's body the fields of a tuple."""

        def __new__(cls, name, bases, body):
            fields = tuple(body.get("__annotations__", ()))
            defaults = {each: body[each] for each in fields if each in body}
            body |= {
                "__slots__": (),
                "_fields": fields,
                "_field_defaults": defaults,
                "_defaults": tuple(defaults.values()),
                **{each: field(place, None) for place, each in enumerate(fields)},
            }
            return super().__new__(cls, name, bases, body)

    class NamedTuple(tuple, metaclass=_Fields):
        """A faster `typing.NamedTuple`, for the records that each emit loads.

        The original compiles a function for each class, and requires loading `typing`. Together
        they took a quarter of the time of an emit.
        """

        def __new__(cls, *values, **named):
            if len(values) != len(cls._fields) or named:
                values = cls._completed(values, named)
            return tuple.__new__(cls, values)

        @classmethod
        def _completed(cls, values, named):
            left = cls._fields[len(values) :]
            if not named and 0 < len(left) <= len(cls._defaults):
                return values + cls._defaults[-len(left) :]  # the usual case
            given = {**cls._field_defaults, **named}
            if not (named.keys() <= set(left) <= given.keys() and len(values) <= len(cls._fields)):
                raise TypeError(f"{cls.__name__} takes {', '.join(cls._fields)}")
            return (*values, *[given[each] for each in left])

        @classmethod
        def _make(cls, values):
            values = tuple(values)
            if len(values) != len(cls._fields):
                raise TypeError(f"{cls.__name__} takes {', '.join(cls._fields)}")
            return tuple.__new__(cls, values)

        def _replace(self, **named):
            return type(self)(**{**self._asdict(), **named})

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({fields})"


class Status(IntEnum):
    """The status of an event as a whole."""

    EMITTED = 0
    TIMEOUT = 1
    """It was not done on its first run; the sweep retries it."""
    PROCESSED = 2
    FAILED = 3
    """A delivery ran out of retries or was given up: a person must act."""


class State(StrEnum):
    """The state of one delivery."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Reason(StrEnum):
    """The reason for a delivery's state, if the state alone is ambiguous."""

    EXHAUSTED = "exhausted"
    DISCARDED = "discarded"
    CANCELLED = "cancelled"
    UNKNOWN_HANDLER = "unknown handler"
    DAMAGED_ARGS = "damaged args"


HELD = (Reason.UNKNOWN_HANDLER, Reason.DAMAGED_ARGS)
"""The reasons for which a pending delivery cannot be run as it is."""


class Outcome(StrEnum):
    """How one attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    LOST = "lost"
    """Its process died, and how far it got is unknown."""
    DISCARDED = "discarded"
    POSTPONED = "postponed"
    """The handler asked to run later; no attempt was spent."""
    UNDECODABLE = "undecodable"
    """The args are not JSON; the handler was never started."""
    NOT_STARTED = "not started"
    """It could have outlived its lease, so it was given back."""
    REPLAYED = "replayed"
    """No attempt: a note in the history that the delivery was replayed."""


REHEARSED = 0
"""The id of a delivery that is not in the store: a transactional handler's writes are rolled
back."""


class NewEvent(NamedTuple):
    """An event to record. `args` is JSON text, kept as it is."""

    name: str
    args: str
    key: str
    expected: tuple[str, ...]
    deadline: int | None = None
    """Milliseconds after its creation, when a person is notified that it is late."""
    has_new_key: bool = False
    """Whether the key was just generated, so that no other event can have it."""


class Recorded(NamedTuple):
    """The result of recording an event: its id, and whether it was new."""

    id: int
    key: str
    new: bool


class Delivery(NamedTuple):
    """A claimed delivery, with all that its handler needs.

    `attempt` counts from 1; `created_at` is in milliseconds since 1970, UTC; `start_by` is a
    reading of `time.CLOCK_BOOTTIME` in seconds, after which the run could outlive its lease and
    must not start.
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
    """When it was due, in milliseconds since 1970; restored if it is released."""
    claim: str
    start_by: float
    probe: bool = False
    """Whether it is run to find out if its handler, whose breaker is open, works again."""


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
    """The next state of a delivery after an attempt.

    `delay` is in milliseconds from now, if it is pending; `charge` is the number of attempts that
    it costs, 0 or 1; `waited` is added to RetryLater's sum.
    """

    state: State
    reason: Reason | None = None
    delay: int = 0
    charge: int = 1
    waited: int = 0
    notify: bool = False
    """Whether a channel is notified of a failure with retries left."""

    @property
    def notice(self) -> str:
        """The kind of notice that is written about the attempt; "" for none."""
        if self.state == State.FAILED:
            return str(self.reason)
        return "failed" if self.notify else ""


class Notice(NamedTuple):
    """Something that a person must be notified of, until a channel has accepted it.

    `kind` is "exhausted", "discarded" or "held"; "failed" for an attempt that others will follow,
    if a channel wants it; "late" for an event that was not processed within its deadline, and
    which `handler` names; "set aside" for a spool file or outbox row that cannot become an event
    (`handler` says which, `event_id` is 0). `at` is in milliseconds since 1970, UTC; `error`,
    `traceback` and `output` are those of the last attempt.
    """

    id: int
    kind: str
    at: int
    handler: str
    name: str
    event_id: int
    attempts: int
    error: str
    traceback: str = ""
    output: str = ""
    cause: str = ""
    """The fingerprint of its cause, the same for attempts that failed alike."""
    delivery_id: int | None = None
    place: str | None = None
    """Where it was set aside: the name of a host's state folder, or "outbox"."""
