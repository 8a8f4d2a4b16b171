"""Granian's server with two ways of its own: readiness ends before serving does, and workers are replaced for ever."""

import signal
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from granian.server.mp import MPServer


class Supervisor(MPServer):
    """Keeps the workers.

    drain_seconds: how long it goes on answering after SIGTERM, while `/readyz` says that it is going; Ctrl-C and a
    second SIGTERM do not wait. notice: the file that tells the workers so, while it is there. replaced: is told the
    process ids of the workers whenever some were put in the place of others.
    """

    def __init__(
        self,
        *args: Any,
        drain_seconds: float,
        notice: Path,
        replaced: Callable[[Collection[int]], None],
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._replaced = replaced
        self._drain_seconds, self._notice = drain_seconds, notice
        self._been_ready = False
        notice.unlink(missing_ok=True)

    def been_ready(self) -> None:
        """Note that the workers have answered: whatever ends one from now on is no fault of its start."""
        self._been_ready = True

    def signal_handler_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Begin to end: at once, or after the drain."""
        if number == signal.SIGTERM and self._drain_seconds > 0 and not self._notice.exists():
            self._notice.touch()
            end = threading.Timer(self._drain_seconds, super().signal_handler_interrupt)
            end.daemon = True
            end.start()
        else:
            super().signal_handler_interrupt()  # type: ignore[no-untyped-call]  # Granian has no types there

    def shutdown(self, exit_code: int = 0) -> None:
        """End the workers, which let their calls in progress end."""
        try:
            super().shutdown(exit_code)  # type: ignore[no-untyped-call]
        finally:
            self._notice.unlink(missing_ok=True)

    def _respawn_workers(self, *args: Any, **options: Any) -> None:
        super()._respawn_workers(*args, **options)
        with suppress(OSError):  # no room to fold in now: the next time
            self._replaced([worker.inner.pid for worker in self.wrks])
        if self._been_ready:
            # Granian gives up when a worker dies twice within seconds: right at the start, wrong under a killer.
            self.respawned_wrks.clear()
