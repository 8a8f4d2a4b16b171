"""Work that no answer waits for: done in a thread beside the answers, as far as it can keep up."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

Work = Callable[[], None]

# So many rows wait at most: their requests and features are held in memory.
MOST_ROWS = 20_000

_logger = logging.getLogger("charkha.serving")


class Beside(Protocol):
    """Where work is done that no answer waits for."""

    def do(self, work: Work, rows: int, lane: str = "") -> bool:
        """Do work on so many rows, now or soon; return whether it will be done.

        lane: work of another one may be done at the same time, and is not kept waiting by this.
        """
        ...


class AtOnce:
    """Does all work before it goes on: for replays and tests, whose time stands still meanwhile."""

    def do(self, work: Work, rows: int, lane: str = "") -> bool:
        """Do the work now."""
        work()
        return True


class InThread:
    """Does work in a thread of its own, one after the other. Work beyond `most_rows` that wait is left out."""

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most_rows, self._rows = most_rows, 0
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[tuple[Work, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._go_on, name="charkha-beside", daemon=True)
        self._thread.start()

    def do(self, work: Work, rows: int, lane: str = "") -> bool:
        """Do the work soon, unless too much waits already."""
        with self._lock:
            if self._rows and self._rows + rows > self._most_rows:
                return False
            self._rows += rows
        self._work.put((work, rows))
        return True

    def close(self, seconds: float) -> None:
        """Do what waits, for so long at most, and end. What a piece of work that never ends holds up is not done."""
        self.end()
        self._thread.join(seconds)

    def end(self) -> None:
        """Have it end when it has done what waits, and do not wait for that."""
        self._work.put(None)

    def _go_on(self) -> None:
        while (found := self._work.get()) is not None:
            work, rows = found
            try:
                work()
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # also a panic of Polars: the thread must go on
                _logger.error("what was to be done beside the answers failed", exc_info=error)
            with self._lock:
                self._rows -= rows


class InThreads:
    """Does the work of each lane in a thread of its own, so that a slow one leaves no other without its turn.

    most_rows: that may wait in each lane.
    """

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._most_rows = most_rows
        self._lock = threading.Lock()
        self._lanes: dict[str, InThread] = {}

    def do(self, work: Work, rows: int, lane: str = "") -> bool:
        """Do the work soon, unless too much waits already in its lane."""
        with self._lock:
            if lane not in self._lanes:
                self._lanes[lane] = InThread(self._most_rows)
            found = self._lanes[lane]
        return found.do(work, rows)

    def close(self, seconds: float) -> None:
        """Do what waits in all lanes, for so long at most in all, and end; see `InThread.close`."""
        until = time.perf_counter() + seconds
        with self._lock:
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.end()
        for lane in lanes:
            lane.close(max(0.0, until - time.perf_counter()))
