"""`X-Request-Timeout-Ms` on calls that are worked on beside the loop: as for small ones, refused or on the fallback."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from app_client import AppClient, app_client
from serving_project import Stage, open_stage
from test_arrow_bulk import ARROW, polars_stream
from test_hostile_requests import EVENT

from charkha.features.events import event_stream
from charkha.serving import desk
from charkha.serving.http import build_router
from charkha.serving.labels import label_stream
from charkha.serving.metrics import ServingMetrics
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.scoring import Row
from charkha.serving.threads import Threads
from charkha.spec.policies import Fallback

PREDICT = "/v1/models/late_trip/predict"
ROW: dict[str, Any] = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}
LONG: dict[str, dict[str, Any]] = {
    "many rows": {"json": {"rows": [ROW] * 65}},
    "reasons": {"json": ROW, "params": {"reasons": 2}},
    "arrow": {"content": polars_stream(pl.DataFrame([ROW] * 65))},
}


@pytest.fixture
def client(stage: Stage) -> Iterator[AppClient]:
    with app_client(build_router(stage.service, ServingMetrics(), stage.clock)) as opened:
        yield opened


def post(client: AppClient, kind: str, timeout_ms: str) -> httpx.Response:
    headers = {"x-request-timeout-ms": timeout_ms, **(ARROW if kind == "arrow" else {})}
    return client.post(PREDICT, headers=headers, **LONG[kind])


def slow_to_get_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Threads.run

    async def later(self: Any, *args: Any, **how: Any) -> Any:
        time.sleep(0.03)
        return await run(self, *args, **how)

    monkeypatch.setattr(Threads, "run", later)


@pytest.mark.parametrize("kind", LONG)
def test_a_call_that_is_too_late_is_refused_and_not_logged(
    client: AppClient, stage: Stage, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    slow_to_get_a_thread(monkeypatch)
    reply = post(client, kind, "10")
    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "deadline_passed")
    assert not list(stage.home.log.read(prediction_stream("late_trip")))
    assert post(client, kind, "10000").status_code == 200


@pytest.mark.parametrize("kind", LONG)
def test_the_fallback_answers_a_call_that_is_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with (
        open_stage(tmp_path, fallback=Fallback(decision=True)) as stage,
        app_client(build_router(stage.service, ServingMetrics(), stage.clock)) as client,
    ):
        slow_to_get_a_thread(monkeypatch)
        assert roles(post(client, kind, "10")) == {"fallback"}
        assert roles(post(client, kind, "10000")) == {"champion"}


def roles(reply: httpx.Response) -> set[str]:
    assert reply.status_code == 200, reply.text
    if reply.headers["content-type"] == ARROW["content-type"]:
        return set(pl.read_ipc_stream(io.BytesIO(reply.content))["role"])
    return {each["role"] for each in reply.json().get("predictions", [reply.json()])}


@pytest.mark.parametrize(
    ("path", "body", "stream"),
    [
        (
            "/v1/models/late_trip/labels",
            {"id": "01a1fc82-76df-75ef-900b-de98288af9bc", "label": True},
            label_stream("late_trip"),
        ),
        ("/v1/sources/trips/events", EVENT, event_stream("trips")),
    ],
)
def test_what_is_told_too_late_is_not_taken(
    client: AppClient, stage: Stage, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any], stream: str
) -> None:
    slow_to_get_a_thread(monkeypatch)
    before = stage.home.log.end(stream)
    reply = client.post(path, json=body, headers={"x-request-timeout-ms": "10"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "deadline_passed")
    assert stage.home.log.end(stream) == before
    assert client.post(path, json=body, headers={"x-request-timeout-ms": "10000"}).status_code == 200
    assert stage.home.log.end(stream) != before


def slow_parts(ask_rows: Callable[..., Any]) -> Callable[..., Any]:
    def slow(name: str, rows: list[Row], *args: Any, **how: Any) -> Any:
        question = ask_rows(name, rows, *args, **how)
        time.sleep(0.2)
        return question

    return slow


def test_a_bulk_call_is_ended_between_its_parts(
    client: AppClient, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "BULK_ROWS", 30)
    monkeypatch.setattr(stage.service, "ask_rows", slow_parts(stage.service.ask_rows))
    assert post(client, "arrow", "300").status_code == 504
    assert len(list(stage.home.log.read(prediction_stream("late_trip")))) == 2


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        *((PREDICT, {**how, "headers": ARROW if kind == "arrow" else {}}) for kind, how in LONG.items()),
        ("/v1/models/late_trip/invocations", {"json": {"dataframe_records": [ROW]}}),
        ("/v2/models/late_trip/infer", {"json": {"inputs": []}}),
        ("/v1/models/late_trip/labels", {"json": {"id": "1", "label": True}}),
        ("/v1/sources/trips/events", {"json": {}}),
    ],
)
@pytest.mark.parametrize("given", ["0", "x", "1.5"])
def test_a_timeout_is_a_whole_number_everywhere(client: AppClient, path: str, sent: dict[str, Any], given: str) -> None:
    reply = client.post(path, **{**sent, "headers": {**sent.get("headers", {}), "x-request-timeout-ms": given}})
    assert reply.status_code == 400
    assert "expected a whole number of milliseconds" in reply.text
