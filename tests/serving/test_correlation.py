"""Calls are found again: by the id that their client gave them, or one of ours; and by the trace they belong to."""

import json
import logging
from collections.abc import Iterator

import pytest
from app_client import AppClient, app_client
from hypothesis import given
from hypothesis import strategies as st
from serving_project import Stage

from charkha.serving.correlation import trace_of
from charkha.serving.http import build_router
from charkha.serving.logs import JsonLines
from charkha.serving.metrics import ServingMetrics

PREDICT = "/v1/models/late_trip/predict"
ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def client(stage: Stage) -> Iterator[AppClient]:
    with app_client(build_router(stage.service, ServingMetrics(), stage.clock)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "body", "status"), [(PREDICT, ROW, 200), (PREDICT, {}, 422), ("/nowhere", {}, 404), ("/healthz", {}, 405)]
)
def test_every_answer_carries_the_id_of_its_call(client: AppClient, path: str, body: object, status: int) -> None:
    reply = client.post(path, json=body, headers={"x-request-id": "order 4711/a"})
    assert (reply.status_code, reply.headers["x-request-id"]) == (status, "order 4711/a")


@pytest.mark.parametrize("given", [None, "", "x" * 129, "caf\xe9", "a\tb"])
def test_an_id_is_made_where_none_came_that_can_be_sent_back(client: AppClient, given: str | None) -> None:
    headers = {} if given is None else {"x-request-id": given.encode("latin-1")}
    made = [client.request("GET", "/healthz", headers=headers).headers["x-request-id"] for _ in range(2)]
    assert len({*made, given}) == 3
    assert all(each.isascii() and len(each) < 40 for each in made)


def test_a_failure_is_logged_with_the_ids_of_its_call(
    client: AppClient, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.service.line_ups()["late_trip"].champion.bundle.predictor._state = None  # type: ignore[attr-defined]
    headers = {"x-request-id": "order-1", "traceparent": f"00-{TRACE}-{SPAN}-01"}
    assert client.post(PREDICT, json=ROW, headers=headers).status_code == 500
    assert client.post(PREDICT, json=ROW, headers={"traceparent": "nonsense"}).status_code == 500
    first, second = (json.loads(JsonLines().format(record)) for record in caplog.records)
    assert (first["request_id"], first["trace_id"]) == ("order-1", TRACE)
    assert second["request_id"]
    assert "trace_id" not in second


def test_a_line_about_no_call_names_none() -> None:
    record = logging.LogRecord("charkha", logging.INFO, __file__, 1, "up", None, None)
    assert set(json.loads(JsonLines().format(record))) == {"time", "level", "logger", "message", "process"}


@pytest.mark.parametrize(
    ("given", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-00-what comes later", False),
    ],
)
def test_a_trace_is_read(given: str, sampled: bool) -> None:
    trace = trace_of(given)
    assert trace is not None
    assert (trace.trace_id, trace.span_id, trace.sampled) == (TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01\n",
        f"cc-{TRACE}-{SPAN}-01x",
    ],
)
def test_what_breaks_the_rules_is_no_trace(given: str | None) -> None:
    assert trace_of(given) is None


@given(st.text())
def test_no_text_is_too_strange_to_be_no_trace(given: str) -> None:
    assert trace_of(given) is None
