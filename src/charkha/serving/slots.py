"""How much may go on at a time: who comes when all places are taken is refused, and does not wait without end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from charkha.serving.refusals import Overloaded


class Slots:
    """So many places for something that takes long, on one event loop. what: it in words, as in "fewer … at a time"."""

    def __init__(self, count: int, what: str) -> None:
        self._count, self._what = count, what
        self._taken = 0
        self._seconds = 0.0

    def expect_one(self) -> None:
        """Raise Overloaded when there is no place."""
        if self._taken >= self._count:
            raise Overloaded(self._taken * self._seconds, self._what)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Take a place until the block ends. Raises Overloaded when there is none."""
        self.expect_one()
        self._taken += 1
        began = time.perf_counter()
        try:
            yield
        finally:
            self._taken -= 1
            self._seconds = (time.perf_counter() - began) / (self._taken + 1)
