"""What is sent for each thing that a client can ask, and how its answer is read: the same for both clients."""

import math
import os
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

import msgspec
from attrs import Factory, evolve, field, frozen

from charkha.client.answers import Labelled, Models, Prediction, Predictions, Pushed, Ready
from charkha.client.bodies import MOST_ROWS, Row, cut, encoded, encoded_one, many, one
from charkha.client.errors import Refused, Unreachable, WrongCall
from charkha.client.labels import Columns, told_rows
from charkha.client.retrying import Attempt, Patience, Response, Steps, steps

T = TypeVar("T")
# A call costs httpx more the more connections there are: some 1.6 ms with 8, two and a half times that with 32.
# Parts are fewer: a server's worker answers 8 calls of many rows at a time, which others want too.
IN_FLIGHT, PARTS_IN_FLIGHT = 8, 4
_LONGEST_TIMEOUT_MS = 999_999_999


@frozen
class Request(Generic[T]):
    """One call. answer: the type of what comes back. accepted: statuses that are answers although no 2xx.

    first_row: which of the caller's rows is its first. once: must not be answered twice.
    """

    method: str
    path: str
    answer: type[T]
    body: bytes | None = None
    headers: Mapping[str, str] = Factory(dict)
    accepted: frozenset[int] = frozenset()
    first_row: int = 0
    once: bool = False
    request_id: str = Factory(lambda: uuid4().hex)

    def headers_of(self, attempt: Attempt) -> dict[str, str]:
        """Return the headers of one attempt: its server need not answer later than anybody waits."""
        left_ms = min(max(1, int(attempt.seconds * 1000)), _LONGEST_TIMEOUT_MS)
        typed = {} if self.body is None else {"content-type": "application/json"}
        return {"x-request-id": self.request_id, "x-request-timeout-ms": str(left_ms), **typed, **self.headers}

    def read(self, response: Response) -> T:
        """Return the answer. Raises Unreachable where what answers is no Charkha server."""
        try:
            return msgspec.json.decode(response.body, type=self.answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            said = f"expected the answer of a Charkha server, got {response.body[:200].decode(errors='replace')!r}"
            raise Unreachable(f"{said}: {error}", self.request_id) from None


@frozen(kw_only=True)
class Settings:
    """What both clients are told. timeout: of one call with its retries (s). in_flight: calls of the client at a time.

    parts_in_flight: those among them that are parts of one `predict`.
    """

    url: str
    api_key: str | None = field(repr=False)
    timeout: float
    retries: int
    rows_per_call: int
    in_flight: int
    parts_in_flight: int

    @classmethod
    def checked(
        cls,
        url: str,
        *,
        api_key: str | None,
        timeout: float,
        retries: int,
        rows_per_call: int,
        in_flight: int,
        parts_in_flight: int,
    ) -> "Settings":
        """Return settings that make sense. Raises ValueError that says which does not."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url: expected the address of a server, such as http://127.0.0.1:8000, got {url!r}")
        if not 0 < timeout < math.inf:
            raise ValueError(f"timeout: expected more than 0 seconds and an end, got {timeout}")
        if retries < 0:
            raise ValueError(f"retries: expected 0 or more, got {retries}")
        if not 1 <= rows_per_call <= MOST_ROWS:
            raise ValueError(
                f"rows_per_call: expected 1 to {MOST_ROWS}, which a server takes at once; {rows_per_call=}"
            )
        if in_flight < 1:
            raise ValueError(f"in_flight: expected 1 or more, got {in_flight}")
        if parts_in_flight < 1:
            raise ValueError(f"parts_in_flight: expected 1 or more, got {parts_in_flight}")
        key = os.environ.get("CHARKHA_API_KEY") if api_key is None else api_key
        if key and not (key.isascii() and key.isprintable()):
            raise ValueError("api_key: expected printable ASCII characters, got others")
        return cls(
            url=url.rstrip("/"),
            api_key=key or None,
            timeout=timeout,
            retries=retries,
            rows_per_call=rows_per_call,
            in_flight=in_flight,
            parts_in_flight=min(parts_in_flight, in_flight),
        )

    @property
    def headers(self) -> dict[str, str]:
        """What every call carries."""
        key = {} if self.api_key is None else {"authorization": f"Bearer {self.api_key}"}
        return {"user-agent": "charkha-client", **key}

    def steps(self, request: Request[Any]) -> Steps:
        """Return the steps of a call; see `retrying`."""
        patience = Patience(self.timeout, self.retries, time.monotonic, lambda: datetime.now(UTC), random.random)
        try:
            return (yield from steps(patience, request.request_id, request.accepted, once=request.once))
        except Refused as error:
            error.count_rows_from(request.first_row)
            raise

    def predict_many(
        self, model: str, rows: Iterable[Row], key: str | None, reasons: int
    ) -> list[Request[Predictions]]:
        """Return the calls that predict rows, in their order. Raises WrongCall."""
        path, key = _predict(model, key, reasons), key or uuid4().hex
        calls = self._parts(path, Predictions, encoded(rows))
        if reasons:
            return [evolve(call, once=True) for call in calls]
        return [evolve(call, headers={"idempotency-key": f"{key}-{number}"}) for number, call in enumerate(calls)]

    def push(self, source: str, rows: Row | Iterable[Row]) -> list[Request[Pushed]]:
        """Return the calls that push rows, to be made one after the other. Raises WrongCall."""
        each = [rows] if isinstance(rows, Mapping) else rows
        return self._parts(f"/v1/sources/{_named(source, 'source')}/events", Pushed, encoded(each))

    def label(
        self, model: str, ids: Iterable[str], labels: Iterable[Any] | None, metrics: Columns | None
    ) -> list[Request[Labelled]]:
        """Return the calls that say what became true. Raises WrongCall."""
        path = f"/v1/models/{_named(model, 'model')}/labels"
        return self._parts(path, Labelled, encoded(told_rows(ids, labels, metrics)))

    def _parts(self, path: str, answer: type[T], rows: Sequence[bytes]) -> list[Request[T]]:
        calls, first = [], 0
        for part in cut(rows, self.rows_per_call):
            calls.append(Request("POST", path, answer, many(part), first_row=first))
            first += len(part)
        return calls


def predict_one(model: str, row: Row, key: str | None, reasons: int) -> Request[Prediction]:
    """Return the call that predicts one row. Raises WrongCall."""
    path, body = _predict(model, key, reasons), one(encoded_one(row))
    if reasons:
        return Request("POST", path, Prediction, body, once=True)
    return Request("POST", path, Prediction, body, {"idempotency-key": key or uuid4().hex})


def models() -> Request[Models]:
    """Return the call that asks for the models."""
    return Request("GET", "/v1/models", Models)


def ready() -> Request[Ready]:
    """Return the call that asks whether predictions are answered; 503 says that they are not."""
    return Request("GET", "/readyz", Ready, accepted=frozenset({503}))


def pushed_in_all(parts: Sequence[Pushed]) -> Pushed:
    """Return what became of the rows of several calls; the last one's time, the empty text where there was none."""
    accepted, corrections = sum(part.accepted for part in parts), sum(part.corrections for part in parts)
    known = parts[-1].known if parts else ""
    return Pushed(accepted, corrections, sum(part.duplicates for part in parts), known)


def _predict(model: str, key: str | None, reasons: int) -> str:
    """Return where predictions are asked for."""
    if isinstance(reasons, bool) or not isinstance(reasons, int) or reasons < 0:
        raise WrongCall(f"expected how many, as a whole number of 0 or more, got {reasons!r}", "reasons")
    if reasons and key is not None:
        said = "expected no key beside reasons, which a server does not remember, got both"
        raise WrongCall(said, "idempotency_key")
    if key is not None and not (key.isascii() and key.isprintable()):
        raise WrongCall(f"expected printable ASCII characters, got {key!r:.80}", "idempotency_key")
    path = f"/v1/models/{_named(model, 'model')}/predict"
    return f"{path}?reasons={reasons}" if reasons else path


def _named(name: str, what: str) -> str:
    if not isinstance(name, str) or not name:
        raise WrongCall(f"expected the name of a {what}, got {name!r}", what)
    return quote(name, safe="", errors="replace")
