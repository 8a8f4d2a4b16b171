"""Long work in a process of its own, so that it can neither starve nor take down what serves or decides.

The parent writes an order into a file, starts `python -m MODULE ORDER RESULT`, is told of each step on the child's
standard output, and reads the result. It may wait for it, or look at it now and then. The child ends when the parent
does, when its time is up, and when it is told to.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from attrs import frozen

from charkha.storage.metering import ChildMeter, Meter

GRACE_SECONDS = 5
LAST_WORDS = 2000


@frozen
class Ended:
    """How a child ended.

    result: what it left, as bytes; None where it left nothing. status: its exit status, negative for a signal.
    timed_out: it took longer than it may, and was ended. last_words: the end of its standard error.
    """

    result: bytes | None
    status: int
    timed_out: bool
    last_words: str


class Child:
    """A process that carries out one order; leave the block, or call `close`, and it is ended in any case.

    module: what it runs, which reads the order's file and leaves a result by `leave`. seconds: it may take so long.
    on_step: called from another thread with each line that the child says. meter: told what the child has used.
    """

    def __init__(
        self, module: str, order: bytes, seconds: float, on_step: Callable[[str], None], *, meter: Meter | None = None
    ) -> None:
        self._folder = TemporaryDirectory(prefix="charkha-child-")
        folder = Path(self._folder.name)
        order_file, self._result, self._words = folder / "order.json", folder / "result.json", folder / "stderr"
        order_file.write_bytes(order)
        # -P: a file of the project's that is called like a module must not take its place.
        command = [sys.executable, "-P", "-m", module, str(order_file), str(self._result)]
        pipe = subprocess.PIPE
        with self._words.open("wb") as words:
            self._process: subprocess.Popen[str] = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=words, text=True, start_new_session=True
            )
        self._metered = None if meter is None else ChildMeter(meter, self._process)
        self._until = time.perf_counter() + seconds
        self._ended: Ended | None = None
        self._on_step = on_step
        self._steps = threading.Thread(target=self._tell_steps, daemon=True)
        self._steps.start()

    @property
    def pid(self) -> int:
        """The id of the process, and of its group."""
        return self._process.pid

    def poll(self) -> Ended | None:
        """Return how the child ended; None while it runs, which it does no longer when its time is up."""
        return self._look(0.0)

    def wait(self) -> Ended:
        """Wait for the child, as long as it may take, and return how it ended."""
        ended = self._look(None)
        if ended is None:
            raise RuntimeError(f"process {self.pid}: it was waited for, and runs")
        return ended

    def end(self) -> None:
        """End the child and whatever it started: it is asked to, and after five seconds made to."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if self._has_ended(0.0):
                return
            os.killpg(self._process.pid, sign)
            if self._has_ended(GRACE_SECONDS):
                return

    def close(self) -> None:
        """End the child if it runs, and remove what lay between it and its parent."""
        self.end()
        if self._metered is not None:
            self._metered.close()
        self._steps.join(GRACE_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._folder.cleanup()

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _look(self, seconds: float | None) -> Ended | None:
        """Look whether it has ended, for so many seconds; with None for as long as it may take."""
        if self._ended is not None:
            return self._ended
        left = self._until - time.perf_counter()
        timed_out = False
        if not self._has_ended(max(0.0, left if seconds is None else min(seconds, left))):
            if time.perf_counter() < self._until:
                return None
            timed_out = True
            self.end()
        self._steps.join(GRACE_SECONDS)
        result = self._result.read_bytes() if self._result.exists() and not timed_out else None
        words = self._words.read_text(errors="replace")[-LAST_WORDS:].strip()
        self._has_ended(GRACE_SECONDS)
        status = self._process.returncode
        self._ended = Ended(result, -signal.SIGKILL if status is None else status, timed_out, words)
        return self._ended

    def _has_ended(self, seconds: float) -> bool:
        """Wait for the process for so long at most; say whether it has ended."""
        try:
            (self._metered or self._process).wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _tell_steps(self) -> None:
        for line in self._process.stdout or ():
            self._on_step(line.rstrip("\n"))


def leave(result_file: Path, result: bytes) -> None:
    """Leave the result of a child, whole or not at all."""
    partial = result_file.with_suffix(".partial")
    partial.write_bytes(result)
    partial.rename(result_file)
