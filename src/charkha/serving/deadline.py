"""By when a call wants its answer: settled as the call comes, and looked at wherever it has waited since."""

import math
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import msgspec

from charkha.serving.calls import Call
from charkha.serving.prediction_log import Cause
from charkha.serving.refusals import DeadlinePassed, Refused
from charkha.serving.service import Service

Given = ParamSpec("Given")
Made = TypeVar("Made")
TIMEOUT_HEADER = "x-request-timeout-ms"
# A client that says more, or nothing, waits no longer either.
_LONGEST_SECONDS = 3600


class Deadline(msgspec.Struct, frozen=True):
    """When a call came and when its client gives it up, both by `time.perf_counter_ns`."""

    came_ns: int
    ends_ns: int

    @classmethod
    def within(cls, timeout_seconds: float = math.inf) -> "Deadline":
        """Return the deadline of a call that comes now."""
        now_ns = time.perf_counter_ns()
        return cls(now_ns, now_ns + int(min(timeout_seconds, _LONGEST_SECONDS) * 1e9))

    @classmethod
    def of(cls, call: Call) -> "Deadline":
        """Return that of a call over HTTP, by its X-Request-Timeout-Ms. Raises Refused (400)."""
        return cls.within(timeout_of(call) if TIMEOUT_HEADER in call.headers else math.inf)

    @property
    def left_seconds(self) -> float:
        """How long the client goes on waiting, below 0 where it does no more."""
        return (self.ends_ns - time.perf_counter_ns()) / 1e9

    def passed(self, service: Service, model: str) -> Cause | None:
        """Return why the fallback is to answer what is left of a call; None while there is time for the model.

        Raises DeadlinePassed where there is neither time nor a fallback.
        """
        if time.perf_counter_ns() <= self.ends_ns:
            return None
        if not service.falls_back(model):
            raise self.late()
        return "deadline_passed"

    def before(self, work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
        """Do work that is begun as a whole or not at all. Raises DeadlinePassed where it is too late to begin."""
        if time.perf_counter_ns() > self.ends_ns:
            raise self.late()
        return work(*given, **named)

    def late(self) -> DeadlinePassed:
        """Return what the client is told."""
        return DeadlinePassed((time.perf_counter_ns() - self.came_ns) / 1e9)


NEVER = Deadline(0, 1 << 62)


def timeout_of(call: Call) -> float:
    """Return how long a client says that it waits (s). Raises Refused (400)."""
    given = call.headers.get(TIMEOUT_HEADER) or ""
    if not given.isascii() or not given.isdecimal() or len(given) > 9 or int(given) == 0:
        said = f"expected a whole number of milliseconds from 1 on, got {given[:80]!r}"
        raise Refused(400, "invalid_header", said, TIMEOUT_HEADER)
    return int(given) / 1000
