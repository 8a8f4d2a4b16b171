"""The steps of a call without a socket, on a clock that stands still; and the clients at a server that misbehaves."""

import asyncio
import json
import pickle
import socket
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charkha as ck
from charkha.client.bodies import cut, encoded, many
from charkha.client.errors import (
    CallFailed,
    DeadlinePassed,
    InvalidRequest,
    NotAuthorised,
    NotFound,
    Overloaded,
    Quarantined,
    Refused,
    ServerFailed,
    Unavailable,
    Unreachable,
    refusal,
)
from charkha.client.retrying import Attempt, Outcome, Patience, Pause, Response, retry_after_seconds, steps

TODAY = datetime(2013, 4, 1, 12, tzinfo=UTC)
OK = Response(200, b"{}")
PREDICTION = {
    "id": "013dc2cb-b400-7000-8000-000000000000", "score": 0.5, "decision": True, "rules": [], "model": "m",
    "version": "v1", "role": "champion", "fallback": None, "time": "2013-04-01T12:00:00Z",
}  # fmt: skip


class Still:
    """A clock that moves by the pauses only."""

    def __init__(self) -> None:
        self.seconds = 0.0


def taken(
    outcomes: list[Outcome], timeout: float = 10.0, retries: int = 5, chance: float = 0.5
) -> list[Attempt | Pause]:
    """Take the steps of a call to which these are the outcomes, the last one again and again."""
    still = Still()
    patience = Patience(timeout, retries, lambda: still.seconds, lambda: TODAY, lambda: chance)
    call, each, found = steps(patience, "id"), iter(outcomes), []
    step = next(call)
    try:
        while True:
            found.append(step)
            if isinstance(step, Pause):
                still.seconds += step.seconds
                step = call.send(None)
            else:
                step = call.send(next(each, outcomes[-1]))
    except StopIteration:
        return found


def test_an_answer_needs_one_attempt() -> None:
    assert taken([OK]) == [Attempt(10.0)]


@pytest.mark.parametrize("given", ["3", format_datetime(TODAY.replace(second=3), usegmt=True)])
def test_retry_after_is_waited_for_and_a_little_more(given: str) -> None:
    refused = Response(429, b"", given)
    assert taken([refused, OK], chance=0.0) == [Attempt(10.0), Pause(3.0), Attempt(7.0)]
    assert taken([refused, OK], chance=1.0) == [Attempt(10.0), Pause(3.75), Attempt(6.25)]


def test_a_connection_that_fails_is_tried_again_in_longer_and_longer_whiles() -> None:
    pauses = [step.seconds for step in taken([OSError()] * 5 + [OK], chance=1.0) if isinstance(step, Pause)]
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422, 500, 504])
def test_what_would_be_refused_again_is_not_sent_again(status: int) -> None:
    with pytest.raises(Refused) as error:
        taken([Response(status, b"", "1"), OK])
    assert error.value.status == status


def test_nobody_waits_beyond_the_deadline_or_the_retries() -> None:
    with pytest.raises(Overloaded):
        taken([Response(429, b"", "10")])
    with pytest.raises(Unavailable) as error:
        taken([Response(503, b"", "1")], timeout=1000.0, retries=2)
    assert error.value.retry_after == 1.0
    with pytest.raises(Unreachable, match="got ConnectionResetError: gone"):
        taken([ConnectionResetError("gone")], timeout=0.01)


@given(
    outcomes=st.lists(
        st.sampled_from([OSError(), Response(429, b"", "1"), Response(503, b""), Response(503, b"", "9" * 30)]),
        min_size=1,
    ),
    timeout=st.floats(0.01, 100.0),
    retries=st.integers(0, 8),
    chance=st.floats(0.0, 1.0),
)
def test_a_call_ends_in_time_whatever_comes(
    outcomes: list[Outcome], timeout: float, retries: int, chance: float
) -> None:
    try:
        found = taken([*outcomes, OK], timeout, retries, chance)
    except CallFailed:
        return
    assert sum(step.seconds for step in found if isinstance(step, Pause)) < timeout
    assert sum(isinstance(step, Attempt) for step in found) <= retries + 1
    assert all(step.seconds > 0 for step in found if isinstance(step, Attempt))


@given(st.text())
def test_a_retry_after_that_says_nothing_is_none(given: str) -> None:
    seconds = retry_after_seconds(given, TODAY)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "unauthenticated", NotAuthorised),
        (403, "forbidden", NotAuthorised),
        (404, "not_found", NotFound),
        (408, "too_slow", DeadlinePassed),
        (422, "quarantined", Quarantined),
        (429, "rate_limited", Overloaded),
        (500, "internal", ServerFailed),
        (504, "deadline_passed", DeadlinePassed),
        (413, "too_many_rows", InvalidRequest),
    ],
)
def test_a_refusal_has_its_type(status: int, code: str, kind: type[Refused]) -> None:
    told = {"code": code, "message": "why", "field": "km", "quarantine": "trips-1", "violations": []}
    error = refusal(status, json.dumps({"error": told}).encode(), "id-1", None)
    assert type(error) is kind
    assert (error.status, error.kind, error.message, error.field, error.request_id) == (
        status,
        code,
        "why",
        "km",
        "id-1",
    )
    assert not isinstance(error, Quarantined) or error.quarantine == "trips-1"
    assert str(error) == f"{status} {code}: why (request id-1)"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (kind, str(error), error.__dict__)


@given(st.lists(st.binary(max_size=40)), st.integers(1, 7), st.integers(1, 100))
def test_rows_are_cut_into_calls_that_are_neither_long_nor_large(
    rows: list[bytes], most_rows: int, most_bytes: int
) -> None:
    parts = list(cut(rows, most_rows, most_bytes))
    assert [row for part in parts for row in part] == rows
    assert all(0 < len(part) <= most_rows for part in parts)
    assert all(len(part) == 1 or sum(map(len, part)) <= most_bytes for part in parts)


def test_values_of_python_become_json() -> None:
    row = {"day": date(2013, 4, 1), "at": datetime(2013, 4, 1, 6, 30), "x": float("nan"), "y": float("inf"), "n": None}
    assert json.loads(many(encoded([row]))) == {
        "rows": [{"day": "2013-04-01T00:00:00Z", "at": "2013-04-01T06:30:00", "x": None, "y": None, "n": None}]
    }


def transport(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    return httpx.MockTransport(answer)


def test_all_attempts_of_a_call_are_one_call_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARKHA_API_KEY", "secret-of-the-environment")
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if len(seen) == 1:
            raise httpx.ReadError("the connection was reset")
        return (
            httpx.Response(429, headers={"retry-after": "0"})
            if len(seen) == 2
            else httpx.Response(200, json=PREDICTION)
        )

    client = ck.Client("http://server/", transport=transport(answer))
    with client:
        assert client.predict("m", {"km": 1.0}).score == 0.5
    assert "secret" not in repr(client)
    assert [request.url.path for request in seen] == ["/v1/models/m/predict"] * 3
    for name in ("idempotency-key", "x-request-id"):
        assert len({request.headers[name] for request in seen}) == 1
    assert {request.headers["authorization"] for request in seen} == {"Bearer secret-of-the-environment"}
    left = [int(request.headers["x-request-timeout-ms"]) for request in seen]
    assert 9000 < left[2] <= left[1] <= left[0] <= 10_000


def test_a_server_that_is_too_slow_is_given_up_in_time() -> None:
    async def ask() -> None:
        async def answer(request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(60)
            raise AssertionError

        slow = httpx.MockTransport(answer)
        async with ck.AsyncClient("http://server", timeout=0.05, transport=slow) as client:
            await client.predict("m", {"km": 1.0})

    with pytest.raises(Unreachable, match=r"within 0\.05 s, got TimeoutError"):
        asyncio.run(ask())


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        client = ck.Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.3)
        with client, pytest.raises(Unreachable, match="got ReadTimeout"):
            client.push("trips", {"trip": 1})
        assert 0.25 < time.monotonic() - began < 2.0


@pytest.mark.parametrize("body", [b"<html>", b"\xff", b"{}", b""])
def test_an_answer_of_something_else_is_told(body: bytes) -> None:
    client = ck.Client("http://server", transport=transport(lambda _: httpx.Response(200, content=body)))
    with client, pytest.raises(Unreachable, match="expected the answer of a Charkha server"):
        client.predict("m", {"km": 1.0})
    client = ck.Client("http://server", retries=0, transport=transport(lambda _: httpx.Response(502, content=body)))
    with client, pytest.raises(Unavailable):
        client.models()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url": "server:8000"}, "url: expected the address"),
        ({"timeout": 0}, "timeout: expected"),
        ({"retries": -1}, "retries: expected"),
        ({"rows_per_call": 1001}, "rows_per_call: expected 1 to 1000"),
        ({"in_flight": 0}, "in_flight: expected"),
    ],
)
def test_a_setting_that_makes_no_sense_is_told(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ck.Client(**{"url": "http://server", **wrong})
