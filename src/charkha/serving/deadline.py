"""By when a call wants its answer, for work beside the loop: looked at when it gets a thread, and between its parts."""

import math
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from attrs import frozen

from charkha.serving.prediction_log import Cause
from charkha.serving.refusals import DeadlinePassed
from charkha.serving.service import Service

Given = ParamSpec("Given")
Made = TypeVar("Made")
# Beyond it a timeout is none.
_LONGEST_SECONDS = 3600


@frozen
class Deadline:
    """When a call came and when its client gives it up, both by `time.perf_counter_ns`."""

    came_ns: int
    ends_ns: int

    @classmethod
    def within(cls, timeout_seconds: float = math.inf) -> "Deadline":
        """Return the deadline of a call that comes now."""
        now_ns = time.perf_counter_ns()
        return cls(now_ns, now_ns + int(min(timeout_seconds, _LONGEST_SECONDS) * 1e9))

    def passed(self, service: Service, model: str) -> Cause | None:
        """Return why the fallback is to answer what is left of a call; None while there is time for the model.

        Raises DeadlinePassed where there is neither time nor a fallback.
        """
        if time.perf_counter_ns() <= self.ends_ns:
            return None
        if not service.falls_back(model):
            raise self._late()
        return "deadline_passed"

    def before(self, work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
        """Do work that is begun as a whole or not at all. Raises DeadlinePassed where it is too late to begin."""
        if time.perf_counter_ns() > self.ends_ns:
            raise self._late()
        return work(*given, **named)

    def _late(self) -> DeadlinePassed:
        return DeadlinePassed((time.perf_counter_ns() - self.came_ns) / 1e9)
