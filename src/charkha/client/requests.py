"""What is sent for each thing that a client can ask, and how its answer is read: the same for both clients."""

import os
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

import msgspec
from attrs import Factory, field, frozen

from charkha.client.answers import Labelled, Models, Prediction, Predictions, Pushed, Ready
from charkha.client.bodies import MOST_ROWS, Row, cut, encoded, many, one
from charkha.client.errors import Unreachable
from charkha.client.retrying import Attempt, Patience, Response, Steps, steps

T = TypeVar("T")
IN_FLIGHT, PARTS_IN_FLIGHT = (
    32,
    4,
)  # a worker answers 8 calls of many rows at a time: two clients are not in each other's way
_LONGEST_TIMEOUT_MS = 999_999_999


@frozen
class Request(Generic[T]):
    """One call. answer: the type of what comes back. accepted: statuses that are answers although no 2xx."""

    method: str
    path: str
    answer: type[T]
    body: bytes | None = None
    headers: Mapping[str, str] = Factory(dict)
    accepted: frozenset[int] = frozenset()
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
        if not timeout > 0:
            raise ValueError(f"timeout: expected more than 0 seconds, got {timeout}")
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
        return steps(patience, request.request_id, request.accepted)

    def predict_many(self, model: str, rows: Iterable[Row], key: str | None) -> list[Request[Predictions]]:
        """Return the calls that predict rows, in their order."""
        key = key or uuid4().hex
        path, parts = f"/v1/models/{_named(model)}/predict", cut(encoded(rows), self.rows_per_call)
        return [
            Request("POST", path, Predictions, many(part), {"idempotency-key": f"{key}-{number}"})
            for number, part in enumerate(parts)
        ]

    def push(self, source: str, rows: Iterable[Row]) -> list[Request[Pushed]]:
        """Return the calls that push rows, to be made one after the other."""
        path, parts = f"/v1/sources/{_named(source)}/events", cut(encoded(rows), self.rows_per_call)
        return [Request("POST", path, Pushed, many(part)) for part in parts]

    def label(self, model: str, ids: Sequence[str], labels: Sequence[Any]) -> list[Request[Labelled]]:
        """Return the calls that say what became true. Raises ValueError on unequal lengths."""
        if len(ids) != len(labels):
            raise ValueError(f"expected one label for each of {len(ids)} ids, got {len(labels)} labels")
        rows = encoded({"id": id_, "label": label} for id_, label in zip(ids, labels, strict=True))
        path = f"/v1/models/{_named(model)}/labels"
        return [Request("POST", path, Labelled, many(part)) for part in cut(rows, self.rows_per_call)]


def predict_one(model: str, row: Row, key: str | None) -> Request[Prediction]:
    """Return the call that predicts one row."""
    headers = {"idempotency-key": key or uuid4().hex}
    return Request("POST", f"/v1/models/{_named(model)}/predict", Prediction, one(encoded([row])[0]), headers)


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


def _named(name: str) -> str:
    return quote(name, safe="")
