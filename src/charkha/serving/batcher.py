"""Micro-batches: calls that have arrived by the next turn of the event loop are answered together.

There is no timer: a call that comes alone is answered at once, and the more calls come, the more of them share one
feature read, one pass of the rules and one call of the estimator. The queue is bounded in time: a call that would wait
too long is refused at once, so that those that were let in are answered soon.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import msgspec

from charkha.serving.deadline import NEVER, Deadline
from charkha.serving.observer import Stages
from charkha.serving.once import Claimed, Once
from charkha.serving.prediction_log import Cause
from charkha.serving.refusals import Overloaded
from charkha.serving.responses import Prediction, predictions
from charkha.serving.scoring import Answers, Row
from charkha.serving.service import Service
from charkha.serving.tracing import Traces
from charkha.spec.failures import ANY_FAILS

# What one batch holds at most: few enough that the loop reads new calls every millisecond or two.
MOST_ROWS = 64
# How much of what is known of earlier batches one batch makes forget.
_NEWEST = 0.1
# A call that gets a place in the next batch is refused only where so much time went into batches that were too slow:
# what holds one up, such as the loading of another version, is over by the time others could be told to come again.
_SLOW_SECONDS = 0.5
_MOST_SLOWER = 4
_LEAST_SPREAD = 0.01
_SMALL_ROWS = 8
# After a batch in which no call was answered by the model, those of so long are not split to find whose fault it is.
_BROKEN_SECONDS = 1.0


# Structs, since they are made in a third of the time, once for every call.
class _Asked(msgspec.Struct, frozen=True, eq=False):
    """A call: its rows, when it came (`time.perf_counter_ns`), and, if it has them, the claim of its Idempotency-Key
    and its span.
    """

    rows: Sequence[Row]
    came_ns: int
    claim: Claimed | None
    span: Any


class _Waiting(_Asked, frozen=True, eq=False):
    """A call that waits: by when it must be begun, and where its answer goes."""

    deadline: Deadline
    answer: "asyncio.Future[list[Prediction]]"


class Unanswered(Exception):
    """A call whose batch ended before it had an answer; it may be in the log, or not."""


class _Recent(msgspec.Struct, frozen=True):
    """What batches have taken of late, the older the less: a time for each batch, and one for each of its rows.

    Least squares over decayed sums: weight, of rows, of seconds, of rows squared, of rows times seconds. One batch that
    something held up counts as a few: it says little of those that come.
    """

    weight: float = 0.0
    rows: float = 0.0
    seconds: float = 0.0
    rows_squared: float = 0.0
    rows_seconds: float = 0.0

    @property
    def row_seconds(self) -> float:
        """How long each further row of a batch takes."""
        spread = self.weight * self.rows_squared - self.rows**2
        if spread <= _LEAST_SPREAD * self.rows**2:  # batches as large as one another: nobody can tell the two apart
            return self._guessed_row_seconds
        slope = (self.weight * self.rows_seconds - self.rows * self.seconds) / spread
        return min(max(slope, 0.0), self.seconds / self.rows)

    @property
    def _guessed_row_seconds(self) -> float:
        """All of a batch's time, where they are large; of small ones less, so that larger ones come and tell."""
        if not self.rows:
            return 0.0
        return self.seconds / self.rows / (1 if self.rows >= _SMALL_ROWS * self.weight else 4)

    def batch_seconds(self, rows: int) -> float:
        """Return how long a batch of so many rows takes."""
        if not self.weight:
            return 0.0
        return (self.seconds + self.row_seconds * (rows * self.weight - self.rows)) / self.weight

    def with_one(self, rows: int, seconds: float) -> "_Recent":
        """Return the same with another batch."""
        kept = 1 - _NEWEST
        if self.seconds:
            seconds = min(seconds, _MOST_SLOWER * max(self.batch_seconds(rows), self.seconds / self.weight))
        return _Recent(
            kept * self.weight + 1,
            kept * self.rows + rows,
            kept * self.seconds + seconds,
            kept * self.rows_squared + rows**2,
            kept * self.rows_seconds + rows * seconds,
        )


class Batcher:
    """Answers the calls of one model, on the event loop that they come on.

    most_wait_seconds: a call that would wait longer for its batch is refused. once: keeps the answers of claims.
    traces: is told of batches.
    """

    def __init__(
        self,
        service: Service,
        model: str,
        most_wait_seconds: float = 0.03,
        *,
        once: Once | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._service, self._model, self._most_wait_seconds = service, model, most_wait_seconds
        self._once, self._traces = once, traces
        self._waiting: list[_Waiting] = []
        self._rows = 0
        self._told_rows = 0  # of which the observer knows
        self._recent = _Recent()  # without the log, whose appends take as long for many rows as for few
        self._slow_seconds = 0.0  # that went into batches in a row whose rows alone, in a full one, take too long
        self._broken_until = 0.0
        self._ended_ns = 0  # when the batch before ended, if calls were left waiting then
        self._log_seconds = 0.0  # of an append: notices at once that the disk is slow, and slowly that it no longer is

    def admit(self) -> None:
        """Raise Overloaded if a call that comes now would wait too long. Cheap: nothing of the call is read yet."""
        ahead, beside = divmod(self._rows, MOST_ROWS)
        recent = self._recent
        wait = beside * recent.row_seconds
        if ahead:
            wait += ahead * (recent.batch_seconds(MOST_ROWS) + self._log_seconds)
        if wait > self._most_wait_seconds and (ahead or self._slow_seconds > _SLOW_SECONDS):
            self._service.observer.shed(self._model)
            raise Overloaded(wait, "calls")

    def predict(
        self, rows: Sequence[Row], deadline: Deadline = NEVER, claim: Claimed | None = None
    ) -> "asyncio.Future[list[Prediction]]":
        """Return what will be the answer of a call, which is in the log then.

        Raises Overloaded as `admit`. Awaited, raises as `Service.predict`, and DeadlinePassed for a call that has
        waited beyond its deadline and has no fallback to answer it.
        """
        self.admit()  # again: others came while the body was read
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._answer, loop)
        now_ns = time.perf_counter_ns()
        waiting = _Waiting(rows, now_ns, claim, self._span(), deadline, loop.create_future())
        self._waiting.append(waiting)
        self._rows += len(rows)
        return waiting.answer

    def answer_now(self, rows: Sequence[Row], deadline: Deadline, claim: Claimed | None = None) -> list[Prediction]:
        """Answer a call of many rows by itself, in whichever thread this is called. Raises as `predict` does."""
        cause = deadline.passed(self._service, self._model)
        return self._predicted([_Asked(rows, deadline.came_ns, claim, self._span())], cause)

    def _answer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer as many of the calls as fit in a batch; the others after what else the loop has to do."""
        rows, count = 0, 0
        for waiting in self._waiting:
            if count and rows + len(waiting.rows) > MOST_ROWS:
                break
            rows += len(waiting.rows)
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._rows -= rows
        if self._waiting:
            loop.call_soon(self._answer, loop)
        began_ns = time.perf_counter_ns()
        wanted = [waiting for waiting in batch if not waiting.answer.done()]  # by somebody who still waits
        try:
            self._answer_together([waiting for waiting in wanted if began_ns <= waiting.deadline.ends_ns])
            if late := [waiting for waiting in wanted if began_ns > waiting.deadline.ends_ns]:
                self._answer_late(late)
        finally:  # also where what is no error ends this: nobody may wait for what never comes
            for waiting in wanted:
                if not waiting.answer.done():
                    waiting.answer.set_exception(Unanswered(f"model '{self._model}': a batch ended without an answer"))
        logged, ended_ns = self._service.log_seconds(self._model), time.perf_counter_ns()
        # While calls queue, reading others and sending answers takes its share of the wait as well.
        took = max(0.0, (ended_ns - (self._ended_ns or began_ns)) / 1e9 - logged)
        self._ended_ns = ended_ns if self._waiting else 0
        self._recent = self._recent.with_one(rows, took)
        is_slow = self._recent.row_seconds * MOST_ROWS > self._most_wait_seconds
        self._slow_seconds = self._slow_seconds + took if is_slow else 0.0
        if self._rows != self._told_rows:
            self._told_rows = self._rows
            self._service.observer.queued(self._model, self._rows)
        self._log_seconds = max(logged, self._log_seconds + _NEWEST * (logged - self._log_seconds))

    def _answer_late(self, batch: Sequence[_Waiting]) -> None:
        """Answer calls that are too late for the model by the fallback, or tell them so."""
        if self._service.falls_back(self._model):
            self._answer_together(batch, "deadline_passed")
            return
        for waiting in batch:
            waiting.answer.set_exception(waiting.deadline.late())

    def _answer_together(self, batch: Sequence[_Waiting], cause: Cause | None = None) -> None:
        if not batch:
            return
        is_broken = time.monotonic() < self._broken_until
        try:
            answers = self._predicted(batch, cause, falls_back=len(batch) == 1 or is_broken)
        except ANY_FAILS as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for waiting in batch:  # a call must not fail for what another one asked
                self._answer_together([waiting], cause)
            if all(_is_answered_by_the_fallback(waiting) for waiting in batch):
                self._broken_until = time.monotonic() + _BROKEN_SECONDS
            return
        low = 0
        for waiting in batch:
            waiting.answer.set_result(answers[low : low + len(waiting.rows)])
            low += len(waiting.rows)

    def _predicted(
        self, batch: Sequence[_Asked], cause: Cause | None = None, *, falls_back: bool = True
    ) -> list[Prediction]:
        rows = [row for call in batch for row in call.rows]
        question = self._service.ask_rows(self._model, rows, batch[0].came_ns, cause)
        before_log = partial(self._keep, batch) if any(call.claim for call in batch) else None
        answered = self._service.answer(
            [question], falls_back=falls_back, before_log=before_log, staged=self._told(batch)
        )
        return predictions(self._model, answered[0])

    def _told(self, batch: Sequence[_Asked]) -> Callable[[Stages], None] | None:
        """Return who is told the stages of a batch; None where no span of its calls is recorded."""
        if self._traces is None:
            return None
        spans = [call.span for call in batch if call.span is not None]
        return partial(self._traces.batch, self._model, spans) if spans else None

    def _span(self) -> Any:
        return None if self._traces is None else self._traces.current()

    def _keep(self, batch: Sequence[_Asked], answered: Sequence[Answers]) -> None:
        """Remember the answers of those calls that have claims."""
        each = predictions(self._model, answered[0])
        ends = list(accumulate(len(call.rows) for call in batch))
        parts = [each[low:high] for low, high in pairwise((0, *ends))]
        claimed = [(call.claim, part) for call, part in zip(batch, parts, strict=True) if call.claim]
        said = [(one.claim, one.form(part)) for one, part in claimed]
        assert self._once is not None
        self._once.keep(self._model, each[0].id, sum(len(part) for _, part in claimed), said)


def _is_answered_by_the_fallback(waiting: _Waiting) -> bool:
    answer = waiting.answer
    return answer.exception() is None and all(each.fallback for each in answer.result())
