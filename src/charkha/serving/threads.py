"""Work beside the event loop: each kind has threads of its own, so that none waits behind another.

On the threads that asyncio has for all, a few pushes that wait for the online store would hold up every long call.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

from attrs import field, frozen

from charkha.serving.slots import Slots

Given = ParamSpec("Given")
Made = TypeVar("Made")


class Threads:
    """So many threads for work of one kind, made when they are needed. what: the work in words, as `Slots` has it.

    places: how much of it is taken at a time, working or waiting for a thread; as much as there are threads unless
    given. What comes beyond is refused.
    """

    def __init__(self, what: str, count: int, places: int | None = None) -> None:
        self._slots = Slots(places or count, what)
        self._executor = ThreadPoolExecutor(count, f"charkha {what}")

    def expect_one(self) -> None:
        """Raise Overloaded where no place is left."""
        self._slots.expect_one()

    async def run(self, work: Callable[Given, Made], *args: Given.args, **kwargs: Given.kwargs) -> Made:
        """Return what a call of `work` returns, made in a thread that knows of the trace of this one.

        Raises Overloaded where no place is left, and whatever `work` raises.
        """
        known = copy_context()
        with self._slots.slot():
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, lambda: known.run(work, *args, **kwargs))

    def close(self) -> None:
        """Wait for what is being worked on; what has not begun never will."""
        self._executor.shutdown(cancel_futures=True)


@frozen(eq=False)
class WorkerThreads:
    """All threads of a worker, beside its loop.

    long: calls of more rows than a batch holds, and such with reasons. bulk: calls of very many rows. pushes: they
    wait in turn for the online store's one writer. labels: they wait for the disk. rest: what else takes long.
    """

    long: Threads = field(factory=lambda: Threads("calls of many rows", 8))
    bulk: Threads = field(factory=lambda: Threads("bulk calls", 2, places=8))
    pushes: Threads = field(factory=lambda: Threads("calls with events", 4, places=64))
    labels: Threads = field(factory=lambda: Threads("calls with labels", 2, places=64))
    rest: Threads = field(factory=lambda: Threads("calls for metrics", 2, places=8))

    def close(self) -> None:
        """Close them all."""
        for threads in (self.long, self.bulk, self.pushes, self.labels, self.rest):
            threads.close()
