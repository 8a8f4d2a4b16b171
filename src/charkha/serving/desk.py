"""Where predictions are asked for, by whichever protocol: let in, held to the contract, answered in batches, logged.

What comes here is rows of values that have the types of the model's request fields; what goes back is one answer for
each, in their order. So the same rows get the same answers however they came.
"""

import math
from collections.abc import Callable, Sequence

import msgspec

from charkha.serving.batcher import MOST_ROWS, Batcher
from charkha.serving.body import Limits
from charkha.serving.contracts import request_check
from charkha.serving.deadline import Deadline
from charkha.serving.once import Claim, Once
from charkha.serving.refusals import Overloaded
from charkha.serving.responses import Prediction, predictions
from charkha.serving.schemas import request_frame, request_schema, utc_rows
from charkha.serving.scoring import Answers, Row
from charkha.serving.service import Service
from charkha.serving.threads import Given, Made, WorkerThreads
from charkha.serving.tracing import Traces

# A bulk call is answered, and logged, so many rows at a time: each is one record.
BULK_ROWS = 10_000


class Desk:
    """Answers rows of any model, on one event loop. limit: of the rows of a call. traces: is told of batches.
    threads: where long work is done; whoever gives them closes them.

    requests: model → what its rows must be. once: honours Idempotency-Key, where there is one.
    """

    def __init__(
        self,
        service: Service,
        limit: int = Limits().rows,
        *,
        once: Once | None = None,
        traces: Traces | None = None,
        threads: WorkerThreads | None = None,
    ) -> None:
        self.threads = threads or WorkerThreads()
        self.service, self.once = service, once
        self._models = service.project.models
        self.requests = {name: request_schema(model, limit) for name, model in self._models.items()}
        self._checks = {name: request_check(model) for name, model in self._models.items()}
        self._batchers = {name: Batcher(service, name, once=once, traces=traces) for name in self._models}

    def admit(self, name: str) -> None:
        """Raise Overloaded if a call that comes now would wait too long; nothing of it needs to be read yet."""
        self._batchers[name].admit()

    async def predictions(
        self,
        name: str,
        rows: Sequence[Row],
        timeout_seconds: float = math.inf,
        *,
        is_many: bool = True,
        claim: Claim | None = None,
    ) -> list[Prediction]:
        """Return the answers of a call, which are in the log then.

        is_many: how errors name a field: `rows[2].city`. claim: of the call's Idempotency-Key, which keeps the answers.
        Raises ContractBroken, Overloaded, DeadlinePassed, and as `Service.predict`.
        """
        if len(rows) > MOST_ROWS:
            deadline = Deadline.within(timeout_seconds)
            asked = self._asked(name, rows, is_many=is_many)
            return await self._long(name, self._batchers[name].answer_now, asked, deadline, claim)
        asked = self._asked(name, rows, is_many=is_many)
        return await self._batchers[name].predict(asked, timeout_seconds, claim)

    async def _long(self, name: str, work: Callable[Given, Made], *args: Given.args, **kwargs: Given.kwargs) -> Made:
        """Do the work of a long call in a thread. Raises Overloaded, which is counted, and whatever `work` raises."""
        try:
            return await self.threads.long.run(work, *args, **kwargs)
        except Overloaded:
            self.service.observer.shed(name)
            raise

    async def predictions_with_reasons(
        self, name: str, rows: Sequence[Row], most: int, timeout_seconds: float = math.inf, *, is_many: bool
    ) -> list[Prediction]:
        """Return the answers of a call, each with its reasons, at most so many. Raises as `predictions`, and
        NotExplainable.
        """
        deadline = Deadline.within(timeout_seconds)
        asked = self._asked(name, rows, is_many=is_many)
        return await self._long(name, self._answered_with_reasons, name, asked, most, deadline)

    def answer_bulk(self, name: str, rows: Sequence[Row], deadline: Deadline) -> list[Answers]:
        """Return the answers of very many rows, part by part; in a thread. Raises as `predictions`, for all or none.

        A part that is answered is in the log, also when a later one fails or comes too late.
        """
        asked = self._asked(name, rows, is_many=True)
        parts = [asked[low : low + BULK_ROWS] for low in range(0, len(asked), BULK_ROWS)]
        return [self._part(name, part, deadline) for part in parts]

    def _asked(self, name: str, rows: Sequence[Row], *, is_many: bool) -> Sequence[Row]:
        fields = self._models[name].request_fields
        if (check := self._checks[name]) is not None:
            check.refuse(rows, request_frame(fields, rows), is_many=is_many)
        return utc_rows(fields, rows)

    def _part(self, name: str, rows: Sequence[Row], deadline: Deadline) -> Answers:
        cause = deadline.passed(self.service, name)
        return self.service.answer([self.service.ask_rows(name, rows, cause=cause)])[0]

    def _answered_with_reasons(self, name: str, rows: Sequence[Row], most: int, deadline: Deadline) -> list[Prediction]:
        cause = deadline.passed(self.service, name)
        question = self.service.ask_rows(name, rows, deadline.came_ns, cause)
        found, reasons = self.service.answer_with_reasons(question, most)
        each = zip(predictions(name, found), reasons, strict=True)
        return [msgspec.structs.replace(prediction, reasons=why) for prediction, why in each]
