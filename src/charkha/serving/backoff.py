"""When what failed is tried again: soon at first, and ever more seldom."""

from time import monotonic

FIRST_SECONDS, MOST_SECONDS = 1.0, 60.0


class Backoff:
    """Says when what failed just now is due again: in a second, then each time twice as late, up to a minute."""

    def __init__(self) -> None:
        self._seconds = FIRST_SECONDS
        self._due = monotonic() + self._seconds

    @property
    def is_due(self) -> bool:
        """Whether it is time to try again."""
        return monotonic() >= self._due

    def failed(self) -> None:
        """Wait longer: it failed again."""
        self._seconds = min(2 * self._seconds, MOST_SECONDS)
        self._due = monotonic() + self._seconds
