"""The client that waits."""

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar, overload

import httpx

from charkha.client import requests
from charkha.client.answers import Labelled, Prediction, Pushed, Ready, ServedModel
from charkha.client.bodies import MOST_ROWS, Row
from charkha.client.errors import WrongCall
from charkha.client.in_time import limited
from charkha.client.labels import Columns
from charkha.client.places import NoPlace, limits_of
from charkha.client.requests import IN_FLIGHT, PARTS_IN_FLIGHT, Request, Settings
from charkha.client.retrying import Attempt, Outcome, Response

T = TypeVar("T")


class Client:
    """Calls a server; may be shared by threads. Close it, or use it as a context manager.

    url: such as "http://127.0.0.1:8000". api_key: CHARKHA_API_KEY of the environment unless given. timeout: seconds
    that one call may take with its retries. retries: how often it is sent again after 429, 503, or a connection that
    failed. rows_per_call: more rows are cut into calls of so many; in_flight: how many calls the client makes at a
    time, parts_in_flight: how many of those may be of one `predict`; what is more waits, which is part of its timeout.
    transport: carries the requests in place of the network. Methods raise CallFailed; see `charkha.client.errors`.
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
        transport: httpx.BaseTransport | None = None,
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
        self._http = httpx.Client(
            base_url=self._settings.url,
            headers=self._settings.headers,
            transport=transport,
            limits=limits_of(in_flight),
        )
        self._places = threading.Semaphore(in_flight)
        self._limit = limited(self._http)

    @overload
    def predict(
        self, model: str, rows: Mapping[str, Any], *, idempotency_key: str | None = None, reasons: int = 0
    ) -> Prediction: ...

    @overload
    def predict(
        self, model: str, rows: Iterable[Row], *, idempotency_key: str | None = None, reasons: int = 0
    ) -> list[Prediction]: ...

    def predict(
        self, model: str, rows: Row | Iterable[Row], *, idempotency_key: str | None = None, reasons: int = 0
    ) -> Prediction | list[Prediction]:
        """Return the answer to one row, or those to many rows in their order.

        idempotency_key: of this question, for those who ask it again after they died themselves; one is made otherwise.
        reasons: how many to tell for each answer; such a call has no key, and is sent again only where it surely was
        not answered.
        """
        if isinstance(rows, Mapping):
            return self._call(requests.predict_one(model, rows, idempotency_key, reasons))
        calls = self._settings.predict_many(model, rows, idempotency_key, reasons)
        if len(calls) == 1:
            return self._call(calls[0]).predictions
        threads = ThreadPoolExecutor(self._settings.parts_in_flight, "charkha-client")
        try:
            return [each for part in threads.map(self._call, calls) for each in part.predictions]
        finally:
            threads.shutdown(cancel_futures=True)

    def push(self, source: str, rows: Row | Iterable[Row]) -> Pushed:
        """Push rows of a source; what was there already counts once. Calls are made one after the other."""
        return requests.pushed_in_all([self._call(call) for call in self._settings.push(source, rows)])

    def label(
        self,
        model: str,
        ids: Iterable[str],
        labels: Iterable[bool | float | None] | None = None,
        *,
        metrics: Columns | None = None,
    ) -> Labelled:
        """Say what became true of predictions. A later label of the same id corrects the earlier one.

        metrics: of the model's business metrics, a value for each id, such as {"margin": [12.5, None]}, beside labels
        or in place of them. With metrics, None and NaN are what is not known yet.
        """
        calls = self._settings.label(model, ids, labels, metrics)
        return Labelled(sum(self._call(call).accepted for call in calls))

    def models(self) -> list[ServedModel]:
        """Return the models of the project, and what serves them."""
        return self._call(requests.models()).models

    def ready(self) -> Ready:
        """Return whether predictions are answered."""
        return self._call(requests.ready())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._settings.url!r})"

    def _call(self, request: Request[T]) -> T:
        steps = self._settings.steps(request)
        step = next(steps)
        while True:
            outcome: Outcome = None
            if isinstance(step, Attempt):
                outcome = self._taken(request, step)
            else:
                time.sleep(step.seconds)
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return request.read(end.value)

    def _taken(self, request: Request[T], attempt: Attempt) -> Outcome:
        ends = time.monotonic() + attempt.seconds
        if not self._places.acquire(timeout=min(attempt.seconds, threading.TIMEOUT_MAX)):
            return NoPlace(self._settings.in_flight)
        try:
            return self._sent(request, Attempt(max(ends - time.monotonic(), 0.001)))
        except httpx.RequestError as error:
            return error
        finally:
            self._places.release()

    def _sent(self, request: Request[T], attempt: Attempt) -> Response:
        if self._http.is_closed:
            raise WrongCall("expected a client that is open, got one that was closed")
        headers = request.headers_of(attempt)
        with self._limit.within(attempt.seconds):
            found = self._http.request(
                request.method, request.path, content=request.body, headers=headers, timeout=attempt.seconds
            )
        return Response(found.status_code, found.content, found.headers.get("retry-after"))
