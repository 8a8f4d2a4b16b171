"""Where predictions are asked for, by whichever protocol: let in, held to the contract, answered in batches, logged.

What comes here is rows of values that have the types of the model's request fields; what goes back is one answer for
each, in their order. So the same rows get the same answers however they came.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import msgspec

from charkha.serving.batcher import MOST_ROWS, Batcher
from charkha.serving.body import Limits
from charkha.serving.calls import Reply, RequestHeaders
from charkha.serving.contracts import request_check
from charkha.serving.deadline import Deadline
from charkha.serving.once import KEY_HEADER, Claim, Claimed, Form, Once, digest_of
from charkha.serving.parts_once import PartsOnce
from charkha.serving.reasons import rule_texts
from charkha.serving.refusals import Overloaded
from charkha.serving.responses import Prediction, predictions
from charkha.serving.schemas import request_frame, request_schema, utc_rows
from charkha.serving.scoring import Answers, Row
from charkha.serving.service import Service
from charkha.serving.threads import Given, Made, Threads, WorkerThreads
from charkha.serving.tracing import Traces

# A bulk call is answered, and logged, so many rows at a time: each is one record.
BULK_ROWS = 10_000


class Asked(msgspec.Struct, frozen=True, eq=False):
    """What a call asks: rows that have passed the model's schema, and how its protocol says their answers.

    is_many: how errors name a field: `rows[2].city`.
    """

    rows: Sequence[Any]
    form: Form
    is_many: bool = True


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

    def admit_bulk(self, name: str) -> None:
        """Raise Overloaded if a bulk call that comes now would find no place; nothing of it needs to be read yet."""
        with self._sheds_counted(name):
            self.threads.bulk.expect_one()

    async def reply(
        self,
        name: str,
        headers: RequestHeaders,
        body: bytes,
        deadline: Deadline,
        *,
        read: Callable[[], Asked],
        kind: str = "",
    ) -> Reply:
        """Return the reply to a call; where it has an Idempotency-Key, the one that it had before.

        headers: of the call, or its metadata. read: reads the body. kind: of `digest_of`. Raises what `read` raises,
        and as `predictions` and `Once.reply`.
        """
        if self.once is None or KEY_HEADER not in headers:
            asked = read()
            return asked.form(await self.predictions(name, asked.rows, deadline, is_many=asked.is_many))
        answer = partial(self._reply_once, self.once, name, deadline, read)
        return await self.once.reply(name, headers, digest_of(kind, body), deadline, answer)

    async def _reply_once(
        self, once: Once, name: str, deadline: Deadline, read: Callable[[], Asked], claim: Claim
    ) -> Reply:
        if (known := once.known(name, claim)) is not None:
            return known
        asked = read()
        claimed = Claimed(claim, asked.form)
        return asked.form(await self.predictions(name, asked.rows, deadline, is_many=asked.is_many, claim=claimed))

    async def reply_bulk(
        self,
        name: str,
        headers: RequestHeaders,
        body: bytes,
        deadline: Deadline,
        *,
        answered: Callable[[PartsOnce | None], Reply],
        kind: str,
    ) -> Reply:
        """Return what `answered` replies to a bulk call, in a thread; it is given what knows the parts that were
        answered before, where the call has an Idempotency-Key. The rest is as for `reply`.
        """
        once, threads = self.once, self.threads.bulk
        if once is None or KEY_HEADER not in headers:
            return await self._beside(name, threads, answered, None)

        async def answer(claim: Claim) -> Reply:
            return await self._beside(name, threads, answered, PartsOnce(once, name, claim))

        asked = await self._beside(name, threads, digest_of, kind, body)
        return await once.reply(name, headers, asked, deadline, answer)

    async def predictions(
        self,
        name: str,
        rows: Sequence[Row],
        deadline: Deadline,
        *,
        is_many: bool = True,
        claim: Claimed | None = None,
    ) -> list[Prediction]:
        """Return the answers of a call, which are in the log then.

        is_many: how errors name a field: `rows[2].city`. claim: of the call's Idempotency-Key, which keeps the answers.
        Raises ContractBroken, Overloaded, DeadlinePassed, and as `Service.predict`.
        """
        asked = self._asked(name, rows, is_many=is_many)
        if len(rows) > MOST_ROWS:
            return await self._beside(name, self.threads.long, self._batchers[name].answer_now, asked, deadline, claim)
        return await self._batchers[name].predict(asked, deadline, claim)

    async def _beside(
        self, name: str, threads: Threads, work: Callable[Given, Made], *args: Given.args, **kwargs: Given.kwargs
    ) -> Made:
        """Do work in a thread. Raises Overloaded, which is counted, and whatever `work` raises."""
        with self._sheds_counted(name):
            return await threads.run(work, *args, **kwargs)

    @contextmanager
    def _sheds_counted(self, name: str) -> Iterator[None]:
        try:
            yield
        except Overloaded:
            self.service.observer.shed(name)
            raise

    async def predictions_with_reasons(
        self, name: str, rows: Sequence[Row], most: int, deadline: Deadline, *, is_many: bool
    ) -> list[Prediction]:
        """Return the answers of a call, each with its reasons, at most so many. Raises as `predictions`, and
        NotExplainable.
        """
        asked = self._asked(name, rows, is_many=is_many)
        return await self._beside(name, self.threads.long, self._answered_with_reasons, name, asked, most, deadline)

    def answer_bulk(
        self, name: str, rows: Sequence[Row], deadline: Deadline, once: PartsOnce | None = None
    ) -> list[Answers]:
        """Return the answers of very many rows, part by part; in a thread. Raises as `predictions`, for all or none.

        A part that is answered is in the log, also when a later one fails or comes too late; and is answered no more
        where `once` knows it.
        """
        asked = self._asked(name, rows, is_many=True)
        parts = [] if once is None else once.known()
        for low in range(sum(len(part.ids) for part in parts), len(asked), BULK_ROWS):
            keep = None if once is None else partial(once.keep, len(parts))
            parts.append(self._part(name, asked[low : low + BULK_ROWS], deadline, keep))
        return parts

    def _asked(self, name: str, rows: Sequence[Row], *, is_many: bool) -> Sequence[Row]:
        fields = self._models[name].request_fields
        if (check := self._checks[name]) is not None:
            check.refuse(rows, request_frame(fields, rows), is_many=is_many)
        return utc_rows(fields, rows)

    def _part(
        self, name: str, rows: Sequence[Row], deadline: Deadline, keep: Callable[[Sequence[Answers]], None] | None
    ) -> Answers:
        cause = deadline.passed(self.service, name)
        return self.service.answer([self.service.ask_rows(name, rows, cause=cause)], before_log=keep)[0]

    def _answered_with_reasons(self, name: str, rows: Sequence[Row], most: int, deadline: Deadline) -> list[Prediction]:
        cause = deadline.passed(self.service, name)
        question = self.service.ask_rows(name, rows, deadline.came_ns, cause)
        found, reasons = self.service.answer_with_reasons(question, most)
        texts = rule_texts(question.lineup)
        return [
            msgspec.structs.replace(
                prediction,
                reasons=why,
                rule_reasons={rule: text for rule in prediction.rules if (text := texts[prediction.version].get(rule))},
            )
            for prediction, why in zip(predictions(name, found), reasons, strict=True)
        ]
