"""How long calls may take to send their bodies: looked at together, a few times within the limit.

A timer for each call costs more than reading its body, and hardly ever runs out.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from charkha.serving.under_way import UnderWay

# How often within the limit it is looked who has run out of time.
_LOOKS = 4
_MAKE_ROOM = 4


class SlowBody(Exception):
    """A body that did not come in time."""


class Patience:
    """Waits for the bodies of calls on one event loop, up to `seconds` for each, and a quarter more at most.

    under_way: how much of them there may be at a time; all that wait on a loop share one.
    """

    def __init__(self, seconds: float, under_way: UnderWay | None = None) -> None:
        self._seconds, self.under_way = seconds, under_way or UnderWay()
        self._since: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._looking: asyncio.TimerHandle | None = None

    @contextmanager
    def for_body(self) -> Iterator[None]:
        """Wait for the body that the block reads. Raises SlowBody when it does not come."""
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        self._since[task] = loop.time()
        if self._looking is None:
            self._looking = loop.call_later(self._seconds / _LOOKS, self._look, loop)
        try:
            yield
        except asyncio.CancelledError:
            if task in self._late and task.uncancel() == 0:
                raise SlowBody from None
            raise
        finally:
            del self._since[task]
            self._late.discard(task)

    def crowded(self) -> None:
        """Have those make room that have taken more than a tenth of the limit, the oldest first, a few at a time."""
        self.give_up(self._seconds / 10, _MAKE_ROOM)

    def give_up(self, seconds: float, most: int) -> None:
        """Wait no longer for the bodies that have taken more than so long: for `most` of them, the oldest first."""
        now = asyncio.get_running_loop().time()
        slow = (task for task, since in self._since.items() if now - since > seconds and task not in self._late)
        for task in list(islice(slow, most)):
            self._late.add(task)
            task.cancel()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self.give_up(self._seconds, len(self._since))
        self._looking = loop.call_later(self._seconds / _LOOKS, self._look, loop) if self._since else None
