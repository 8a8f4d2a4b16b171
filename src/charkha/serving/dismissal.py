"""How workers end: they are told to, have their time, and those that are not gone by then are killed."""

import logging
import time
from collections.abc import Sequence
from multiprocessing.connection import wait

from granian.server.mp import WorkerProcess

_logger = logging.getLogger("charkha.serving")


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
