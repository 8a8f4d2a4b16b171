"""What makes no call is said by one type, before anything is sent; what must not be answered twice is sent once."""

import asyncio
import json
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

import charkha as ck
from charkha.client.answers import Reason
from charkha.client.errors import CallFailed, Overloaded, Refused, Unavailable, Unreachable, WrongCall, refusal

ROW = {"km": 1.5}
WRONG: list[tuple[Callable[[Any], object], str | None, str]] = [
    (lambda c: c.predict("m", "abc"), "rows", "a row, as a mapping of names to values, or many of them, got 'abc'"),
    (lambda c: c.predict("m", 5), "rows", "expected a row"),
    (lambda c: c.predict("m", None), "rows", "expected a row"),
    (lambda c: c.predict("m", pl.DataFrame([ROW])), "rows", r"got a polars.DataFrame. Pass frame.to_dicts\(\)"),
    (lambda c: c.predict("m", [ROW, "abc"]), "rows[1]", "expected a mapping of names to values, got 'abc'"),
    (lambda c: c.predict("m", [ROW, {"km": 1j}]), "rows[1].km", "expected a value that JSON has"),
    (lambda c: c.predict("m", {"km": object}), "km", "expected a value that JSON has"),
    (lambda c: c.predict(5, ROW), "model", "expected the name of a model, got 5"),
    (lambda c: c.predict("m", ROW, reasons=-1), "reasons", "0 or more, got -1"),
    (lambda c: c.predict("m", ROW, reasons=True), "reasons", "got True"),
    (lambda c: c.predict("m", ROW, reasons=1, idempotency_key="k"), "idempotency_key", "no key beside reasons"),
    (lambda c: c.push("", ROW), "source", "expected the name of a source"),
    (lambda c: c.push("s", "abc"), "rows", "expected a row"),
    (lambda c: c.label("m", "id", True), "ids", "expected a list, of one for each prediction, got 'id'"),
    (lambda c: c.label("m", ["id"], True), "labels", "expected a list"),
    (lambda c: c.label("m", ["id"], [True, False]), "labels", "one label for each of 1 ids, got 2 labels"),
    (lambda c: c.label("m", ["id"]), "labels", "expected labels, metrics or both, got neither"),
    (lambda c: c.label("m", ["id"], metrics=[1.0]), "metrics", "expected names with a list for each"),
    (lambda c: c.label("m", ["id"], metrics={"margin": 1.0}), "metrics.margin", "expected a list"),
    (lambda c: c.label("m", ["id"], metrics={"margin": [1.0, 2.0]}), "metrics.margin", "one value of 'margin'"),
]  # fmt: skip


def transport(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    return httpx.MockTransport(answer)


def never(request: httpx.Request) -> httpx.Response:
    raise AssertionError("nothing was to be sent")


@pytest.mark.parametrize(("call", "field", "said"), WRONG)
def test_what_makes_no_call_is_said(call: Callable[[Any], Any], field: str, said: str) -> None:
    async def asked() -> None:
        async with ck.AsyncClient("http://app", transport=transport(never)) as client:
            await call(client)

    with ck.Client("http://app", transport=transport(never)) as client, pytest.raises(WrongCall, match=said) as one:
        call(client)
    with pytest.raises(WrongCall, match=said) as other:
        asyncio.run(asked())
    assert one.value.field == other.value.field == field
    assert isinstance(one.value, CallFailed)
    assert str(pickle.loads(pickle.dumps(one.value))) == str(one.value)


def test_a_closed_client_says_so() -> None:
    async def asked() -> None:
        client = ck.AsyncClient("http://app", transport=transport(never))
        await client.close()
        await client.predict("m", ROW)

    client = ck.Client("http://app", transport=transport(never))
    client.close()
    with pytest.raises(WrongCall, match="a client that is open"):
        client.predict("m", ROW)
    with pytest.raises(WrongCall, match="a client that is open"):
        asyncio.run(asked())


def test_labels_may_be_arrays() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.content == b'{"rows":[{"id":"a","label":true},{"id":"b","label":false}]}'
        return httpx.Response(200, json={"accepted": 2})

    with ck.Client("http://app", transport=transport(answer)) as client:
        assert client.label("m", (each for each in "ab"), np.array([True, False])).accepted == 2


def test_what_is_not_known_of_metrics_is_left_out() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        rows = json.loads(request.content)["rows"]
        assert rows == [
            {"id": "a", "label": True, "metrics": {"margin": 12.5, "complaints": 0}},
            {"id": "b", "metrics": {"complaints": 1}},
            {"id": "c", "label": False},
        ]
        return httpx.Response(200, json={"accepted": 3})

    told: dict[str, Any] = {"margin": np.array([12.5, np.nan, np.nan]), "complaints": [0, 1, None]}
    with ck.Client("http://app", transport=transport(answer)) as client:
        assert client.label("m", ["a", "b", "c"], [True, None, False], metrics=told).accepted == 3


def test_reasons_are_typed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        why = {"feature": "now.km", "value": 1.5, "contribution": -0.25, "text": None}
        told = {"id": "i", "score": 0.5, "decision": None, "rules": [], "model": "m", "version": "v1", "time": "t"}
        return httpx.Response(200, json={**told, "role": "champion", "fallback": None, "reasons": [why]})

    with ck.Client("http://app", transport=transport(answer)) as client:
        assert client.predict("m", ROW, reasons=1).reasons == [Reason("now.km", 1.5, -0.25, None)]


TOLD = {"error": {"code": "overloaded", "message": "full"}}


@pytest.mark.parametrize(
    ("failure", "kind", "times"),
    [
        (httpx.ConnectError("refused"), Unreachable, 3),
        (httpx.ReadError("broke off"), Unreachable, 1),
        (httpx.RemoteProtocolError("no answer"), Unreachable, 1),
        (httpx.Response(429, json=TOLD), Overloaded, 3),
        (httpx.Response(503, content=b"a proxy"), Unavailable, 1),
    ],
)
def test_reasons_are_asked_again_only_where_no_answer_may_have_been_made(
    failure: httpx.Response | Exception, kind: type[CallFailed], times: int
) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        if isinstance(failure, Exception):
            raise failure
        return failure

    with ck.Client("http://app", retries=2, transport=transport(answer)) as client, pytest.raises(kind):
        client.predict("m", ROW, reasons=3)
    assert len(sent) == times
    assert all("idempotency-key" not in each.headers and each.url.query == b"reasons=3" for each in sent)


def test_a_row_is_counted_from_where_its_call_begins() -> None:
    body = b'{"error": {"code": "invalid", "message": "`rows[7].km`: expected less", "field": "rows[7].km"}}'
    error: Refused = refusal(422, body, "id", None)
    error.count_rows_from(2000)
    assert (error.field, error.message) == ("rows[2007].km", "`rows[2007].km`: expected less")
