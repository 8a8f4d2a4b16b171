"""What shadows make of calls that were answered: scored beside the answers, and logged in records of its own."""

import time
from collections.abc import Mapping, Sequence
from functools import partial

from attrs import frozen

from charkha.serving.answering import shadowed
from charkha.serving.beside import Beside
from charkha.serving.observer import Observer
from charkha.serving.policed_log import PolicedLog
from charkha.serving.scoring import Batch, Question, batch_of, each_once, record


@frozen(eq=False)
class Shadows:
    """Asks the shadows of line-ups. logs: of the predictions of each model. replica: who answers."""

    beside: Beside
    observer: Observer
    logs: Mapping[str, PolicedLog]
    replica: str

    def ask(self, questions: Sequence[Question], batch: Batch, firsts: Sequence[int]) -> None:
        """Have the shadows score a batch that was answered. firsts: of each question, the first id of its answers."""
        model, rows = batch.lineup.model, len(batch.times_us)
        if not self.beside.do(partial(self._score, questions, batch, firsts), rows, model):
            self.observer.shadows_left_out(model, rows)

    def _score(self, questions: Sequence[Question], batch: Batch, firsts: Sequence[int]) -> None:
        began_ns, lineup = time.perf_counter_ns(), batch.lineup
        own = batch_of(questions, ())
        own.features.update(batch.features)
        scored = shadowed(own, self.observer)
        took_us = (time.perf_counter_ns() - began_ns) // 1000
        low, records = 0, []
        for question, first in zip(questions, firsts, strict=True):
            rows = slice(low, low + len(question.rows))
            parts = [(each.of(rows), None) for each in scored]
            records.append(record(question, parts, first, took_us, self.replica))
            low = rows.stop
        if scored and not self.logs[lineup.model].append_beside(records):
            self.observer.shadows_left_out(lineup.model, low)
        told = {failure.name for failure in batch.failures}
        for failure in (each for each in each_once(own.failures) if each.name not in told):
            self.observer.not_evaluated(lineup.model, failure, questions[-1].time_us)
