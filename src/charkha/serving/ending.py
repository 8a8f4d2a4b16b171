"""Whether the server is about to end, as every answer has to know: looked up ten times a second, not for each."""

from collections.abc import Callable

_AGAIN_SECONDS = 0.1


class Looked:
    """What was last seen. ends: looks anew, at the cost of a call of the system; from then on it is so."""

    def __init__(self, ends: Callable[[], bool]) -> None:
        self._look, self._seen, self._again = ends, False, 0.0

    def __call__(self, now: float) -> bool:
        """Say whether the server is about to end. now: by `time.perf_counter`."""
        if now >= self._again:
            self._seen, self._again = self._look(), now + _AGAIN_SECONDS
        return self._seen
