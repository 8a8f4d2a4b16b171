"""gRPC in one process: what becomes of overload, deadlines and typed contents that do not fit."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from serving_project import Stage

from charkha.serving.body import Limits
from charkha.serving.deadline import Deadline
from charkha.serving.desk import Desk
from charkha.serving.metrics import ServingMetrics
from charkha.serving.protocols.described import Described
from charkha.serving.protocols.grpc_service import InferenceService
from charkha.serving.protocols.inference_messages import ModelInferRequest, ModelInferResponse
from charkha.serving.refusals import Overloaded

INFER = "/inference.GRPCInferenceService/ModelInfer"
Ask = Callable[[Any], Awaitable[bytes]]


@pytest.fixture
def desk(stage: Stage) -> Desk:
    return Desk(stage.service, 50)


def asked(desk: Desk, metrics: ServingMetrics, use: Ask) -> bytes:
    """Serve, and return what the use of the method ends with. Raises AioRpcError."""

    async def served() -> bytes:
        server = grpc.aio.server()
        described = Described(desk.service, lambda: False)
        server.add_generic_rpc_handlers((InferenceService(desk, described, Limits(rows=50), metrics).handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                return await use(channel.unary_unary(INFER))
        finally:
            await server.stop(None)

    return asyncio.run(served())


def row(**changed: Any) -> ModelInferRequest:
    request = ModelInferRequest(model_name="late_trip", id="mine")
    contents: dict[str, Any] = {
        "city": {"bytes_contents": [b"Pune"]},
        "km": {"fp32_contents": [1.5]},
        "stops": {"int_contents": [2]},
    }
    contents |= {"pooled": {"bool_contents": [True]}}
    types = {"city": "BYTES", "km": "FP32", "stops": "INT8", "pooled": "BOOL"}
    for name, given in (contents | changed).items():
        tensor = request.inputs.add(name=name, datatype=types[name], shape=[1])
        for field, values in given.items():
            getattr(tensor.contents, field).extend(values)
    return request


def ask(request: ModelInferRequest, timeout: float | None = 10.0) -> Ask:
    async def called(method: Any) -> bytes:
        answer: bytes = await method(request.SerializeToString(), timeout=timeout)
        return answer

    return called


def refusal(desk: Desk, metrics: ServingMetrics, use: Ask) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        asked(desk, metrics, use)
    return refused.value.code(), str(refused.value.details())


def test_typed_contents_are_answered_by_typed_contents(desk: Desk, metrics: ServingMetrics) -> None:
    response = ModelInferResponse.FromString(asked(desk, metrics, ask(row())))
    found = {output.name: output.contents for output in response.outputs}
    assert (response.id, response.model_version, list(found["role"].bytes_contents)) == ("mine", "v1", [b"champion"])
    assert len(found["score"].fp64_contents) == len(found["decision"].bool_contents) == 1
    assert not response.raw_output_contents


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"km": {"fp64_contents": [1.5]}}, "input 'km': expected fp32_contents for FP32, got fp64_contents"),
        ({"km": {"fp32_contents": [1.5, 2.5]}}, "input 'km': expected 1 values"),
        ({"km": {}}, "input 'km': expected 1 values"),
        ({"km": {"fp32_contents": [float("inf")]}}, "field 'rows[0].km': expected a number or null, got inf"),
        ({"city": {"bytes_contents": [b"\xff"]}}, "input 'city': expected text in UTF-8"),
        ({"city": {"bytes_contents": [b"a\x00"]}}, "field 'rows[0].city': expected text without NUL"),
        ({"city": {"bytes_contents": [b"x" * 5000]}}, "field 'rows[0].city': expected text"),
    ],
)
def test_contents_that_do_not_fit_are_refused(
    desk: Desk, metrics: ServingMetrics, changed: dict[str, Any], said: str
) -> None:
    code, details = refusal(desk, metrics, ask(row(**changed)))
    assert (code, details[: len(said)]) == (grpc.StatusCode.INVALID_ARGUMENT, said)


def test_raw_contents_are_one_for_each_input(desk: Desk, metrics: ServingMetrics) -> None:
    request = row()
    request.raw_input_contents.append(b"")
    code, details = refusal(desk, metrics, ask(request))
    assert (code, "one for each of 4 inputs, got 1" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    request.raw_input_contents.extend([b""] * 3)
    assert "either contents or raw_input_contents" in refusal(desk, metrics, ask(request))[1]


def test_overload_is_told_and_counted(desk: Desk, metrics: ServingMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str) -> None:
        raise Overloaded(0.2, "calls")

    monkeypatch.setattr(desk, "admit", full)
    code, details = refusal(desk, metrics, ask(row()))
    assert (code, "expected fewer calls at a time" in details) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
    counted = metrics.exposition().decode()
    assert f'charkha_http_requests_total{{route="{INFER}",status="429"}} 1.0' in counted


def test_the_deadline_of_a_client_is_that_of_its_call(
    desk: Desk, metrics: ServingMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    real = desk.predictions

    async def predictions(name: str, rows: Any, deadline: Deadline, *, is_many: bool = True) -> Any:
        waited.append(deadline.left_seconds)
        return await real(name, rows, Deadline.within(-1.0) if waited[-1] < 100 else deadline, is_many=is_many)

    monkeypatch.setattr(desk, "predictions", predictions)
    code, details = refusal(desk, metrics, ask(row(), timeout=5.0))
    assert (code, "had waited" in details) == (grpc.StatusCode.DEADLINE_EXCEEDED, True)
    asked(desk, metrics, ask(row(), timeout=None))
    assert 0 < waited[0] <= 5.01
    assert waited[1] == pytest.approx(3600, abs=5)


def test_what_nobody_foresaw_is_internal_and_keeps_its_secrets(
    desk: Desk, metrics: ServingMetrics, stage: Stage
) -> None:
    stage.service.line_ups()["late_trip"].champion.bundle.predictor._state = None  # type: ignore[attr-defined]
    code, details = refusal(desk, metrics, ask(row()))
    assert (code, "NoneType" in details) == (grpc.StatusCode.INTERNAL, False)
