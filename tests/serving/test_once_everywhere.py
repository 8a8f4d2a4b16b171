"""A call that comes again gets the answer it had over every protocol, in the form of that, and is logged once."""

import asyncio
import io
import json
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import polars as pl
import pytest
from app_client import AppClient, app_client
from attrs import frozen
from server_process import free_port, start_server
from serving_project import MODEL, NOW_US, Stage
from test_every_protocol import ARROW, CONTENTS, INVOCATIONS, PREDICT, ROW, TYPES, V2
from test_once import logged

from charkha.serving import desk as desks
from charkha.serving.body import Limits
from charkha.serving.desk import Desk
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.once import Once
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.protocols.described import Described
from charkha.serving.protocols.grpc_service import InferenceService
from charkha.serving.protocols.inference_messages import ModelInferRequest, ModelInferResponse
from charkha.serving.refusals import DeadlinePassed
from charkha.serving.service import Service
from charkha.spec.project import Project
from charkha.storage.home import open_home

KEY = {"idempotency-key": "order-4711"}
REUSED = "expected the body that this Idempotency-Key came with before, got another one. Make a key for each call"
LIVES, ROWS = 4, 60_000
Call = tuple[str, bytes, dict[str, str]]


def infer(km: float) -> Call:
    given = {**ROW, "km": km}
    inputs = [{"name": n, "shape": [1], "datatype": kind, "data": [given[n]]} for n, kind in TYPES.items()]
    return V2, json.dumps({"inputs": inputs}).encode(), {"content-type": "application/json"}


def binary(km: float) -> Call:
    path, body, headers = infer(km)
    document = json.loads(body) | {"parameters": {"binary_data_output": True}}
    body = json.dumps(document).encode()
    return path, body, {**headers, "inference-header-content-length": str(len(body))}


def invoke(km: float) -> Call:
    return INVOCATIONS, json.dumps({"instances": [{**ROW, "km": km}]}).encode(), {"content-type": "application/json"}


def details(km: float) -> Call:
    body = {"instances": [{**ROW, "km": km}], "params": {"details": True}}
    return INVOCATIONS, json.dumps(body).encode(), {"content-type": "application/json"}


def invoke_csv(km: float) -> Call:
    return INVOCATIONS, f"city,km,stops,pooled\nPune,{km},2,true\n".encode(), {"content-type": "text/csv"}


def arrow(km: float, rows: int = 1) -> Call:
    sink = io.BytesIO()
    pl.DataFrame([{**ROW, "km": km}] * rows).write_ipc_stream(sink)
    return PREDICT, sink.getvalue(), ARROW


HTTP: dict[str, Callable[[float], Call]] = {
    "infer": infer,
    "binary": binary,
    "invoke": invoke,
    "details": details,
    "csv": invoke_csv,
    "arrow": arrow,
}


@frozen(eq=False)
class Worker:
    """One worker: its desk, which has the keys of all, and a client."""

    desk: Desk
    client: AppClient

    def post(self, call: Call, **headers: str) -> httpx.Response:
        path, body, own = call
        return self.client.post(path, content=body, headers={**own, **KEY, **headers})


@pytest.fixture
def worker(stage: Stage) -> Iterator[Worker]:
    yield from opened_worker(stage, stage.service)


def opened_worker(stage: Stage, service: Service) -> Iterator[Worker]:
    once = Once(service, stage.clock, stage.project.home / "serving" / "answered")
    desk = Desk(service, once=once)
    with app_client(build_router(service, ServingMetrics(), stage.clock, desk=desk)) as client:
        yield Worker(desk, client)
    once.close()


@pytest.fixture
def other(stage: Stage) -> Iterator[Worker]:
    service = Service(stage.project, stage.home, stage.clock, "w1")
    service.refresh()
    yield from opened_worker(stage, service)
    service.close()


@pytest.mark.parametrize("asked", HTTP.values(), ids=HTTP)
def test_a_repetition_gets_the_very_answer_also_of_another_worker(
    worker: Worker, other: Worker, stage: Stage, asked: Callable[[float], Call]
) -> None:
    first, second, third = (one.post(asked(1.5)) for one in (worker, worker, other))
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 200)
    assert first.content == second.content == third.content
    replayed = {**dict(first.headers), "idempotent-replayed": "true"}
    for again in (second, third):
        assert {**dict(again.headers), "x-request-id": ""} == {**replayed, "x-request-id": ""}
    assert "idempotent-replayed" not in first.headers
    assert len(logged(stage.home)) == 1


@pytest.mark.parametrize("asked", HTTP.values(), ids=HTTP)
def test_another_body_is_refused_in_the_form_of_its_protocol(worker: Worker, asked: Callable[[float], Call]) -> None:
    assert worker.post(asked(1.5)).status_code == 200
    refused = worker.post(asked(2.5))
    told = refused.json()
    if asked in (infer, binary):
        assert (refused.status_code, told) == (400, {"error": REUSED})
    elif asked is arrow:
        assert (refused.status_code, told["error"]["code"]) == (422, "key_reused")
    else:
        assert (refused.status_code, told) == (400, {"error_code": "BAD_REQUEST", "message": REUSED})


def test_one_key_is_of_one_protocol_and_of_one_way_to_read_its_body(worker: Worker, stage: Stage) -> None:
    path, body, headers = infer(1.5)
    assert worker.post((path, body, headers)).status_code == 200
    versioned = path.replace("/infer", "/versions/v1/infer")
    for asked in (arrow(1.5), invoke(1.5), (versioned, body, headers)):
        assert worker.post(asked).status_code in {400, 422}
    assert worker.client.post(PREDICT, json=ROW, headers=KEY).json()["error"]["code"] == "key_reused"
    assert len(logged(stage.home)) == 1


@pytest.mark.parametrize("asked", HTTP.values(), ids=HTTP)
def test_a_refused_call_and_one_with_no_key_at_all_are_not_remembered(
    worker: Worker, asked: Callable[[float], Call]
) -> None:
    path, _, headers = asked(1.5)
    assert worker.post((path, b"nothing of the kind", headers)).status_code in {400, 422}
    assert worker.post(asked(1.5)).status_code == 200
    refused = worker.post(asked(1.5), **{"idempotency-key": "a\tb"})
    assert (refused.status_code, "printable ASCII" in refused.text) == (400, True)


def request(km: float, *, raw: bool = False) -> bytes:
    asked = ModelInferRequest(model_name=MODEL, id="mine")
    for name, kind in TYPES.items():
        value = {**ROW, "km": km}[name]
        tensor = asked.inputs.add(name=name, datatype=kind, shape=[1])
        getattr(tensor.contents, CONTENTS[kind]).append(value.encode() if kind == "BYTES" else value)
    return asked.SerializeToString()


Answered = tuple[grpc.StatusCode, str, bytes, dict[str, Any]]


def over_grpc(desk: Desk, *calls: tuple[bytes, str]) -> list[Answered]:
    """Return code, details, answer and trailing metadata of calls with keys, which come together."""

    async def answered(channel: Any, body: bytes, key: str) -> Answered:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(
            body, metadata=(("idempotency-key", key),), timeout=10
        )
        code = await call.code()
        answer = await call if code == grpc.StatusCode.OK else b""
        return code, await call.details() or "", answer, dict(await call.trailing_metadata())

    async def served() -> list[Answered]:
        server = grpc.aio.server()
        described = Described(desk.service, lambda: False)
        server.add_generic_rpc_handlers((InferenceService(desk, described, Limits(), ServingMetrics()).handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                return list(await asyncio.gather(*(answered(channel, *call) for call in calls)))
        finally:
            await server.stop(None)

    return asyncio.run(served())


def test_grpc_calls_have_keys_too(worker: Worker, other: Worker, stage: Stage) -> None:
    together = over_grpc(worker.desk, *[(request(1.5), "a")] * 4, (request(1.5), "b"))
    answers = [answer for _, _, answer, _ in together]
    assert len({*answers[:4]}) == 1
    assert sorted(trailing.get("idempotent-replayed", "") for *_, trailing in together) == [
        "",
        "",
        "true",
        "true",
        "true",
    ]
    ids = [
        next(o.contents.bytes_contents[0] for o in ModelInferResponse.FromString(a).outputs if o.name == "id")
        for a in answers
    ]
    assert logged(stage.home) == sorted({each.decode() for each in ids})
    ((code, _, again, trailing),) = over_grpc(other.desk, (request(1.5), "a"))
    assert (code, again, trailing["idempotent-replayed"]) == (grpc.StatusCode.OK, answers[0], "true")
    for body, key, said in (
        (request(2.5), "a", REUSED),
        (request(1.5), "x" * 256, "expected 1 to 255 printable ASCII"),
    ):
        ((code, told, _, trailing),) = over_grpc(worker.desk, (body, key))
        assert (code, said in told, "x-request-id" in trailing) == (grpc.StatusCode.INVALID_ARGUMENT, True, True)
    assert len(logged(stage.home)) == 2


def test_a_bulk_call_goes_on_behind_the_rows_that_are_in_the_log(
    worker: Worker, other: Worker, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desks, "BULK_ROWS", 10)
    call, answer, parts = arrow(1.5, rows=35), stage.service.answer, 0

    def cut_off(*given: Any, **how: Any) -> Any:
        nonlocal parts
        parts += 1
        if parts > 2:
            raise DeadlinePassed(1.0)
        return answer(*given, **how)

    with monkeypatch.context() as broken:
        broken.setattr(stage.service, "answer", cut_off)
        assert worker.post(call).status_code == 504
    before = logged(stage.home)
    assert len(before) == 20
    stage.clock.advance_to(NOW_US + 5_000_000)
    whole, again, elsewhere = worker.post(call), worker.post(call), other.post(call)
    assert "idempotent-replayed" not in whole.headers
    assert again.headers["idempotent-replayed"] == elsewhere.headers["idempotent-replayed"] == "true"
    assert whole.content == again.content == elsewhere.content
    ids = pl.read_ipc_stream(io.BytesIO(whole.content))["id"].to_list()
    assert sorted(ids[:20]) == before
    assert sorted(ids) == logged(stage.home)


def test_a_bulk_call_is_forgotten_as_a_whole(worker: Worker, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "BULK_ROWS", 10)
    first = worker.post(arrow(1.5, rows=25))
    stage.clock.advance_to(NOW_US + 11 * 60_000_000)
    second = worker.post(arrow(2.5, rows=25))
    assert (second.status_code, "idempotent-replayed" in second.headers) == (200, False)
    assert second.content != first.content
    assert len(logged(stage.home)) == 50


@pytest.mark.slow
def test_a_bulk_call_is_logged_once_whenever_its_server_is_killed(project: Project) -> None:
    """A client asks for 60,000 rows with the same key until it is answered; its server dies in the middle of it."""
    random.seed(20130402)
    port, (path, body, headers) = free_port(), arrow(1.5, rows=ROWS)
    rows_left, answered = [], list[str]()

    def ask() -> list[str]:
        url, asking = f"http://127.0.0.1:{port}{path}", {**headers, **KEY}
        try:
            reply = httpx.post(url, content=body, headers=asking, timeout=60)
        except httpx.TransportError:
            return []
        assert reply.status_code == 200
        return pl.read_ipc_stream(io.BytesIO(reply.content))["id"].to_list()

    with ThreadPoolExecutor(1) as threads, open_home(project.home) as home:
        for life in range(LIVES):
            running = start_server(project.root, port, workers=2)
            asking = threads.submit(ask)
            if is_last := life == LIVES - 1:
                answered += asking.result()
            else:
                begun = home.log.end(prediction_stream(MODEL))
                while home.log.end(prediction_stream(MODEL)) == begun and not asking.done():
                    time.sleep(0.001)
                time.sleep(random.uniform(0, 0.02))
            running.kill()
            if not is_last:
                asking.result()
            rows_left.append(len(logged(home)) % ROWS)
        assert logged(home) == sorted(answered)
    assert len(answered) == ROWS
    assert any(rows_left), rows_left
