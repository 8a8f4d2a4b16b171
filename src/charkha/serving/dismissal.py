"""How workers end: they are told to, have their time, and those that are not gone by then are killed."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait

from granian.server.mp import WorkerProcess

_logger = logging.getLogger("charkha.serving")


class Dismissals:
    """Workers that end beside the server's loop, each in its time.

    seconds: how long each may take. gone: is told of each that has ended.
    """

    def __init__(self, seconds: float, gone: Callable[[WorkerProcess], object]) -> None:
        self._seconds, self._gone = seconds, gone
        self._under_way: list[tuple[WorkerProcess, threading.Thread]] = []

    def begin(self, worker: WorkerProcess) -> None:
        """Tell a worker to end."""
        thread = threading.Thread(target=self._dismiss, args=(worker,), name="charkha-dismissal", daemon=True)
        self._under_way.append((worker, thread))
        thread.start()

    def workers(self) -> list[WorkerProcess]:
        """Return those that have not ended, as `ended` last found."""
        return [worker for worker, _ in self._under_way]

    def ended(self) -> bool:
        """Say whether any has ended since this was asked last."""
        before = len(self._under_way)
        self._under_way = [(worker, thread) for worker, thread in self._under_way if thread.is_alive()]
        return len(self._under_way) < before

    def wait(self) -> None:
        """Return when all have ended."""
        for _, thread in self._under_way:
            thread.join()

    def _dismiss(self, worker: WorkerProcess) -> None:
        dismiss([worker], self._seconds)
        self._gone(worker)


def dismiss(workers: Sequence[WorkerProcess], seconds: float) -> None:
    """Tell workers to end; return when all are gone. seconds: how long they may take, all of them together."""
    for worker in workers:
        worker.terminate()  # type: ignore[no-untyped-call]  # Granian has no types there
    deadline = time.monotonic() + seconds
    for worker in workers:
        if not has_ended(worker, max(0.0, deadline - time.monotonic())):
            said = (worker.idx + 1, worker.inner.pid, seconds)
            _logger.error("worker %d (process %d) had not ended after %.0f s, and is killed", *said)
            worker.kill()  # type: ignore[no-untyped-call]
            has_ended(worker)


def has_ended(worker: WorkerProcess, seconds: float | None = None) -> bool:
    """Wait until a worker is gone, for so long at most; say whether it is.

    Its `join` and `is_alive` do not tell: a watcher waits for the process as well, and whoever of the two did not get
    its status takes it for living until the other has noted it. On a busy machine that is long.
    """
    return bool(wait([worker.inner.sentinel], seconds))
