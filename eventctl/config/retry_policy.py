"""When a delivery is run next, if at all. Pure: no clock, no store, no randomness."""

from __future__ import annotations

from eventctl.config.model import Retry
from eventctl.models import Outcome, Reason, Result, State, Verdict

LONGEST_WAIT = 7 * 24 * 3600 * 1000
"""The longest total wait by RetryLater for one delivery, in milliseconds."""

HOLD = 50_000
"""Milliseconds until a held delivery is checked again, and until a failed probe may be repeated:
the next minute's sweep."""

_PACED = 366 * 24 * 3600 * 1000
"""Milliseconds: the longest wait of a replayed delivery without attempts."""


def backoff(policy: Retry, attempt: int, chance: float) -> int:
    """Return the delay after the `attempt`-th failure (from 1), in milliseconds.

    It grows by `factor` each time, up to `max_delay`, and is spread out by `jitter`: `chance`,
    from 0 to 1, says where in between. The jitter keeps deliveries that failed together from
    being retried together.
    """
    try:
        delay = min(policy.max_delay, policy.delay * policy.factor ** (attempt - 1))
    except OverflowError:
        delay = policy.max_delay
    return int(delay * (1 + policy.jitter * (2 * chance - 1)) * 1000)


def longest_wait(policy: Retry, attempts: int, waited: int) -> int:
    """Return the longest that a delivery may wait for its next attempt, in milliseconds.

    `attempts` were counted, and RetryLater has made it wait `waited` milliseconds so far.
    """
    if not attempts and not waited:
        return _PACED
    return max(HOLD, waited, backoff(policy, attempts, 1.0) if attempts else 0)


def judge(result: Result, policy: Retry, chance: float) -> Verdict:
    """Return the next state of a delivery after an attempt with this result."""
    delivery = result.delivery
    match result.outcome:
        case Outcome.SUCCEEDED:
            return Verdict(State.DONE)
        case Outcome.DISCARDED:
            return Verdict(State.FAILED, Reason.DISCARDED)
        case Outcome.NOT_STARTED:
            return Verdict(State.PENDING, charge=0)
        case Outcome.UNDECODABLE:
            return Verdict(State.PENDING, Reason.DAMAGED_ARGS, delay=HOLD, charge=0)
        case Outcome.POSTPONED:
            wait = int(result.delay * 1000)
            if delivery.waited + wait <= LONGEST_WAIT:
                return Verdict(State.PENDING, delay=wait, charge=0, waited=wait)
    if delivery.probe:
        # A probe asks for the handler as a whole, so it costs this delivery no attempt.
        return Verdict(State.PENDING, delay=HOLD, charge=0)
    if delivery.attempt >= policy.attempts:
        return Verdict(State.FAILED, Reason.EXHAUSTED)
    return Verdict(State.PENDING, delay=backoff(policy, delivery.attempt, chance))


def judge_lost(attempts: int, started: bool, policy: Retry) -> Verdict:
    """Return the next state of a delivery whose claimer died.

    It is due at once: the death of its claimer says nothing about its handler. `attempts` were
    counted before; it is charged one more only if it may have been started.
    """
    charge = 1 if started else 0
    if attempts + charge >= policy.attempts:
        return Verdict(State.FAILED, Reason.EXHAUSTED, charge=charge)
    return Verdict(State.PENDING, charge=charge)
