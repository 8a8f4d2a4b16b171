"""The client of an event loop: many calls at a time, and single ones made one call where that is wished for."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar, overload

import httpx

from charkha.client import requests
from charkha.client.answers import Labelled, Prediction, Pushed, Ready, ServedModel
from charkha.client.bodies import MOST_ROWS, Row
from charkha.client.coalescing import Coalescer
from charkha.client.errors import WrongCall
from charkha.client.labels import Columns
from charkha.client.places import NoPlace, limits_of
from charkha.client.requests import IN_FLIGHT, PARTS_IN_FLIGHT, Request, Settings
from charkha.client.retrying import Attempt, Outcome, Response

T = TypeVar("T")


class AsyncClient:
    """Calls a server, on one event loop. Close it, or use it as a context manager.

    url: such as "http://127.0.0.1:8000". api_key: CHARKHA_API_KEY of the environment unless given. timeout: seconds
    that one call may take with its retries. retries: how often it is sent again after 429, 503, or a connection that
    failed. rows_per_call: more rows are cut into calls of so many; in_flight: how many calls the client makes at a
    time, parts_in_flight: how many of those may be of one `predict`; what is more waits, which is part of its timeout.
    batch_ms: single predictions that are asked for within so many ms are sent as one call; off unless given. transport:
    carries the requests in place of the network. Every method raises CallFailed: see `charkha.client.errors`.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = 10.0,
        retries: int = 5,
        rows_per_call: int = MOST_ROWS,
        in_flight: int = IN_FLIGHT,
        parts_in_flight: int = PARTS_IN_FLIGHT,
        batch_ms: float | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = Settings.checked(
            url,
            api_key=api_key,
            timeout=timeout,
            retries=retries,
            rows_per_call=rows_per_call,
            in_flight=in_flight,
            parts_in_flight=parts_in_flight,
        )
        self._http = httpx.AsyncClient(
            base_url=self._settings.url,
            headers=self._settings.headers,
            transport=transport,
            limits=limits_of(in_flight),
        )
        self._places = asyncio.Semaphore(in_flight)
        self._coalescer = None if batch_ms is None else Coalescer(self.predict, batch_ms / 1000)

    @overload
    async def predict(
        self, model: str, rows: Mapping[str, Any], *, idempotency_key: str | None = None, reasons: int = 0
    ) -> Prediction: ...

    @overload
    async def predict(
        self, model: str, rows: Iterable[Row], *, idempotency_key: str | None = None, reasons: int = 0
    ) -> list[Prediction]: ...

    async def predict(
        self, model: str, rows: Row | Iterable[Row], *, idempotency_key: str | None = None, reasons: int = 0
    ) -> Prediction | list[Prediction]:
        """Return the answer to one row, or those to many rows in their order.

        idempotency_key: of this question, for those who ask it again after they died themselves; one is made otherwise.
        reasons: how many to tell for each answer; such a call has no key, and is sent again only where it surely was
        not answered.
        """
        if isinstance(rows, Mapping):
            if self._coalescer is not None and idempotency_key is None and not reasons:
                return await self._coalescer.predict(model, rows)
            return await self._call(requests.predict_one(model, rows, idempotency_key, reasons))
        calls = self._settings.predict_many(model, rows, idempotency_key, reasons)
        return [each for part in await self._together(calls) for each in part.predictions]

    async def push(self, source: str, rows: Row | Iterable[Row]) -> Pushed:
        """Push rows of a source; what was there already counts once. Calls are made one after the other."""
        return requests.pushed_in_all([await self._call(call) for call in self._settings.push(source, rows)])

    async def label(
        self,
        model: str,
        ids: Iterable[str],
        labels: Iterable[bool | float | None] | None = None,
        *,
        metrics: Columns | None = None,
    ) -> Labelled:
        """Say what became true of predictions, and business metrics of them; as `Client.label`."""
        calls = self._settings.label(model, ids, labels, metrics)
        return Labelled(sum([(await self._call(call)).accepted for call in calls]))

    async def models(self) -> list[ServedModel]:
        """Return the models of the project, and what serves them."""
        return (await self._call(requests.models())).models

    async def ready(self) -> Ready:
        """Return whether predictions are answered."""
        return await self._call(requests.ready())

    async def close(self) -> None:
        """Wait for the answers to what was asked, and close the connections."""
        if self._coalescer is not None:
            await self._coalescer.close()
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self._settings.url!r})"

    async def _together(self, calls: Sequence[Request[T]]) -> list[T]:
        """Make calls, `parts_in_flight` of them at a time; return answers in order. The first failure ends all."""
        parts = asyncio.Semaphore(self._settings.parts_in_flight)

        async def made(call: Request[T]) -> T:
            async with parts:
                return await self._call(call)

        tasks = [asyncio.ensure_future(made(call)) for call in calls]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _call(self, request: Request[T]) -> T:
        steps = self._settings.steps(request)
        step = next(steps)
        while True:
            outcome = await (self._taken(request, step) if isinstance(step, Attempt) else asyncio.sleep(step.seconds))
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return request.read(end.value)

    async def _taken(self, request: Request[T], attempt: Attempt) -> Outcome:
        ends, has_place = time.monotonic() + attempt.seconds, False
        try:
            async with asyncio.timeout(attempt.seconds), self._places:
                has_place = True
                left = max(ends - time.monotonic(), 0.001)
                return await self._sent(request, Attempt(left))
        except TimeoutError as error:
            return error if has_place else NoPlace(self._settings.in_flight)
        except httpx.RequestError as error:
            return error

    async def _sent(self, request: Request[T], attempt: Attempt) -> Response:
        if self._http.is_closed:
            raise WrongCall("expected a client that is open, got one that was closed")
        found = await self._http.request(
            request.method,
            request.path,
            content=request.body,
            headers=request.headers_of(attempt),
            timeout=attempt.seconds,
        )
        return Response(found.status_code, found.content, found.headers.get("retry-after"))
