"""One call with its retries, as steps that somebody else takes: the same for those who wait and those who do not.

`steps` yields what is to be done, an `Attempt` or a `Pause`, and is sent what came of it. It knows no socket, no clock
and no chance but those it is given. A call is tried again only where that is safe: nearly all that a client sends is,
by an Idempotency-Key, by the key of a row, or because a second label is the first one's correction. What is not, a
prediction with reasons, is `once`: it is sent again only where it surely was not answered before.
"""

from collections.abc import Callable, Generator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from attrs import frozen

from charkha.client.errors import UNKNOWN, CallFailed, Overloaded, Refused, Unavailable, Unreachable, refusal
from charkha.client.places import NoPlace

# Pauses that the server does not ask for: drawn from 0 to a bound that doubles, so that clients do not come in step.
_FIRST_SECONDS, _MOST_SECONDS = 0.05, 2.0
# After what Retry-After says, within a quarter of it: so many that were refused together do not come back together.
_SPREAD = 0.25

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, NoPlace)


@frozen
class Response:
    """What came back. retry_after: the header as it was."""

    status: int
    body: bytes
    retry_after: str | None = None


@frozen
class Attempt:
    """Send the call; whoever does gives up after so many seconds."""

    seconds: float


@frozen
class Pause:
    """Wait for so many seconds."""

    seconds: float


Outcome = Response | Exception | None
Steps = Generator[Attempt | Pause, Outcome, Response]


@frozen
class Patience:
    """How long a call may take with all its retries, how many of these there may be, and what it is measured by.

    now: seconds that only grow. today: for a Retry-After that is a date. chance: draws from [0, 1).
    """

    timeout_seconds: float
    retries: int
    now: Callable[[], float]
    today: Callable[[], datetime]
    chance: Callable[[], float]


def steps(patience: Patience, request_id: str, accepted: frozenset[int] = frozenset(), *, once: bool = False) -> Steps:
    """Return the steps of a call; they end with its response. accepted: statuses that are answers too. once: must
    not be answered twice.

    An outcome that is an exception is a connection that failed. Raises Refused and Unreachable.
    """
    deadline = patience.now() + patience.timeout_seconds
    tried = 0
    while True:
        outcome = yield Attempt(max(deadline - patience.now(), 0.001))
        tried += 1
        if isinstance(outcome, Response) and (200 <= outcome.status < 300 or outcome.status in accepted):
            return outcome
        error = _error(outcome, request_id, patience)
        pause = None if once and _may_be_answered(outcome, error) else _pause(error, tried, patience)
        if pause is None or tried > patience.retries or patience.now() + pause >= deadline:
            raise error from (outcome if isinstance(outcome, Exception) else None)
        yield Pause(pause)


def _may_be_answered(outcome: Outcome, error: CallFailed) -> bool:
    """Return whether a server may have answered a call that failed. Its own refusals have a code, others' none."""
    if isinstance(error, Refused):
        return error.kind == UNKNOWN
    return not isinstance(outcome, _NOT_SENT)


def _error(outcome: Outcome, request_id: str, patience: Patience) -> CallFailed:
    if isinstance(outcome, Response):
        wait = retry_after_seconds(outcome.retry_after, patience.today())
        return refusal(outcome.status, outcome.body, request_id, wait)
    said = f"expected an answer within {patience.timeout_seconds:g} s, got {type(outcome).__name__}: {outcome}"
    return Unreachable(said, request_id)


def _pause(error: CallFailed, tried: int, patience: Patience) -> float | None:
    """Return how long to wait before the next attempt (s), None where there is none to be."""
    if not isinstance(error, Overloaded | Unavailable | Unreachable):
        return None
    if isinstance(error, Refused) and error.retry_after is not None:
        return error.retry_after * (1 + _SPREAD * patience.chance())
    return min(_MOST_SECONDS, _FIRST_SECONDS * 2.0 ** (tried - 1)) * patience.chance()


def retry_after_seconds(given: str | None, today: datetime) -> float | None:
    """Return what a Retry-After says, in seconds: a number of them, or a date; None where it says neither."""
    if given is None:
        return None
    if given.strip().isdecimal():
        return float(given)
    try:
        at = parsedate_to_datetime(given)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - today).total_seconds())
