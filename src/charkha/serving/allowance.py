"""How often a key may be used: a token bucket, filled at a rate and never fuller than one second's worth."""

import time
from collections.abc import Callable


class Allowance:
    """So many calls a second, on one event loop; what one second leaves unused, the next may use.

    rate: calls a second, above 0. now: the seconds of a clock that never goes back.
    """

    def __init__(self, rate: float, now: Callable[[], float] = time.perf_counter) -> None:
        self._rate, self._now = rate, now
        # One call must be possible, however slowly the bucket fills.
        self._most = max(1.0, rate)
        self._calls, self._at = self._most, now()

    def take(self) -> float:
        """Take one call and return 0; or return in how many seconds there is one, with nothing taken."""
        now = self._now()
        self._calls = min(self._most, self._calls + (now - self._at) * self._rate)
        self._at = now
        if self._calls >= 1:
            self._calls -= 1
            return 0.0
        return (1 - self._calls) / self._rate
