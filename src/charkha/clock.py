"""The one clock: all time in Charkha is asked of an object here, so that a replay can be the clock itself.

Times are whole microseconds since 1970-01-01 UTC. Nothing else in the package may ask the operating system for the
time of day (`time.perf_counter` for durations is fine).
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MOST_BACK_US = 300_000_000


class Clock(Protocol):
    """Anything that can say what time it is."""

    def now(self) -> int:
        """Return the current time in µs since 1970 UTC."""
        ...


class SystemClock:
    """The machine's own clock; where that is set back by a little, it stands still until it has caught up.

    A row must not become known before a prediction that has not seen it. A clock that goes back by more than
    `MOST_BACK_US` was wrong before, and is believed.
    """

    def __init__(self) -> None:
        self._latest_us = 0

    def now(self) -> int:
        """Return the wall-clock time in µs since 1970 UTC."""
        now_us = time.time_ns() // 1000
        if self._latest_us - MOST_BACK_US <= now_us < self._latest_us:
            return self._latest_us
        self._latest_us = now_us
        return now_us


class SimulatedClock:
    """A clock that stands still until it is told to go on: a year of production replays as fast as the code runs."""

    def __init__(self, now_us: int) -> None:
        self._now_us = now_us

    def now(self) -> int:
        """Return the simulated time in µs since 1970 UTC."""
        return self._now_us

    def advance_to(self, now_us: int) -> None:
        """Move the clock forward. Raises ValueError when `now_us` lies in its past: time never runs backwards."""
        if now_us < self._now_us:
            raise ValueError(f"the clock stands at {to_iso(self._now_us)} and cannot go back to {to_iso(now_us)}")
        self._now_us = now_us


def to_datetime(time_us: int) -> datetime:
    """Return µs since 1970 UTC as an aware datetime in UTC."""
    return EPOCH + timedelta(microseconds=time_us)


def to_micros(moment: datetime) -> int:
    """Return a datetime as µs since 1970 UTC; one without a time zone is taken to be in UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // MICROSECOND


def to_iso(time_us: int) -> str:
    """Return µs since 1970 UTC as ISO 8601 text, such as '2013-04-01T06:30:00Z'."""
    return to_datetime(time_us).isoformat().replace("+00:00", "Z")


def parse_time(text: str) -> int:
    """Return µs since 1970 UTC for ISO 8601 text; a date alone means its midnight. Raises ValueError."""
    try:
        return to_micros(datetime.fromisoformat(text))
    except ValueError:
        raise ValueError(f"expected a date or time such as 2013-04-01 or 2013-04-01T06:30:00Z, got {text!r}") from None
