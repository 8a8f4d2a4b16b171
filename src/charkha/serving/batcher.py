"""Micro-batches: calls that have arrived by the next turn of the event loop are answered together.

There is no timer: a call that comes alone is answered at once, and the more calls come, the more of them share one
feature read, one pass of the rules and one call of the estimator.
"""

import asyncio
import time
from collections.abc import Sequence

from attrs import frozen

from charkha.serving.responses import Prediction, predictions
from charkha.serving.scoring import Row
from charkha.serving.service import Service

# What one batch holds at most: few enough that the loop reads new calls every millisecond or two.
MOST_ROWS = 64


@frozen(eq=False)
class _Waiting:
    """A call: its rows, when it came (`time.perf_counter_ns`), and where its answer goes."""

    rows: Sequence[Row]
    came_ns: int
    answer: "asyncio.Future[list[Prediction]]"


class Batcher:
    """Answers the calls of one model, on the event loop that they come on."""

    def __init__(self, service: Service, model: str) -> None:
        self._service, self._model = service, model
        self._waiting: list[_Waiting] = []

    def predict(self, rows: Sequence[Row]) -> "asyncio.Future[list[Prediction]]":
        """Return what will be the answer of a call, which is in the log then. Awaited, raises as `Service.predict`."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._answer, loop)
        waiting = _Waiting(rows, time.perf_counter_ns(), loop.create_future())
        self._waiting.append(waiting)
        return waiting.answer

    def _answer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer as many of the calls as fit in a batch; the others after what else the loop has to do."""
        rows, count = 0, 0
        for waiting in self._waiting:
            rows += len(waiting.rows)
            if count and rows > MOST_ROWS:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        if self._waiting:
            loop.call_soon(self._answer, loop)
        self._answer_together(batch)

    def _answer_together(self, batch: Sequence[_Waiting]) -> None:
        try:
            answers = self._predicted([row for waiting in batch for row in waiting.rows], batch[0].came_ns)
        except Exception as error:
            if len(batch) == 1:
                _tell(batch[0], error)
                return
            for waiting in batch:  # a call must not fail for what another one asked
                self._answer_together([waiting])
            return
        low = 0
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_result(answers[low : low + len(waiting.rows)])
            low += len(waiting.rows)

    def _predicted(self, rows: Sequence[Row], came_ns: int) -> list[Prediction]:
        question = self._service.ask_rows(self._model, rows, came_ns)
        return predictions(self._model, self._service.answer([question])[0])


def _tell(waiting: _Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
