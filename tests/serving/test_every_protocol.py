"""What happens to all predictions happens to those of every protocol: a full disk, the kill switch, a deadline."""

import asyncio
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import pytest
from app_client import AppClient, app_client
from serving_project import MODEL, Stage, open_stage

from charkha.operations.kill import kill, revive
from charkha.serving.body import Limits
from charkha.serving.desk import Desk
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.protocols.described import Described
from charkha.serving.protocols.grpc_service import InferenceService
from charkha.serving.protocols.inference_messages import ModelInferRequest, ModelInferResponse
from charkha.spec.policies import Fallback

ROW: dict[str, Any] = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}
TYPES = {"city": "BYTES", "km": "FP64", "stops": "INT64", "pooled": "BOOL"}
CONTENTS = {"BYTES": "bytes_contents", "FP64": "fp64_contents", "INT64": "int64_contents", "BOOL": "bool_contents"}
INFER = {"inputs": [{"name": n, "shape": [1], "datatype": kind, "data": [ROW[n]]} for n, kind in TYPES.items()]}
INVOCATIONS, V2, PREDICT = (
    "/v1/models/late_trip/invocations",
    "/v2/models/late_trip/infer",
    "/v1/models/late_trip/predict",
)
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
Opened = tuple[Stage, AppClient]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    metrics = ServingMetrics()
    with (
        open_stage(tmp_path, metrics, fallback=Fallback(decision=True, score=0.9)) as stage,
        app_client(build_router(stage.service, metrics, stage.clock)) as client,
    ):
        yield stage, client


def arrow(client: AppClient) -> Any:
    sink = io.BytesIO()
    pl.DataFrame([ROW] * 3).write_ipc_stream(sink)
    return client.post(PREDICT, content=sink.getvalue(), headers=ARROW)


def over_grpc(stage: Stage, timeout: float = 10.0) -> ModelInferResponse:
    """Ask over gRPC. Raises AioRpcError."""
    request = ModelInferRequest(model_name=MODEL)
    for name, kind in TYPES.items():
        value = ROW[name].encode() if kind == "BYTES" else ROW[name]
        getattr(request.inputs.add(name=name, datatype=kind, shape=[1]).contents, CONTENTS[kind]).append(value)

    async def asked() -> bytes:
        server, desk = grpc.aio.server(), Desk(stage.service)
        service = InferenceService(desk, Described(desk.service, lambda: False), Limits(), ServingMetrics())
        server.add_generic_rpc_handlers((service.handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                method: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
                answer: bytes = await method(request.SerializeToString(), timeout=timeout)
                return answer
        finally:
            await server.stop(None)

    return ModelInferResponse.FromString(asyncio.run(asked()))


def roles_of(response: ModelInferResponse) -> list[bytes]:
    return next(list(each.contents.bytes_contents) for each in response.outputs if each.name == "role")


def full(descriptor: int, data: bytes, position: int) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_in_every_protocol(opened: Opened) -> None:
    stage, client = opened
    end = stage.home.log.end(prediction_stream(MODEL))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        for path, body, field in ((V2, INFER, "error"), (INVOCATIONS, {"instances": [ROW]}, "message")):
            reply = client.post(path, json=body)
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
            assert "No space left on device" in reply.json()[field]
        assert client.post(INVOCATIONS, json={"instances": [ROW]}).json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
        told = arrow(client)
        assert (told.status_code, told.json()["error"]["code"]) == (503, "log_full")
        with pytest.raises(grpc.aio.AioRpcError, match="No space left on device") as refused:
            over_grpc(stage)
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert dict(refused.value.trailing_metadata() or ())["retry-after"] == "5"
        assert client.get("/v2/health/ready").status_code == client.get("/ping").status_code == 503
        assert stage.home.log.end(prediction_stream(MODEL)) == end
    stage.service.refresh()
    assert client.post(V2, json=INFER).status_code == arrow(client).status_code == 200
    assert roles_of(over_grpc(stage)) == [b"champion"]


def test_a_killed_model_is_on_its_fallback_in_every_protocol(opened: Opened) -> None:
    stage, client = opened
    kill(stage.home, stage.clock, MODEL, actor="ann", reason="nonsense")
    stage.service.refresh()
    outputs = {each["name"]: each["data"] for each in client.post(V2, json=INFER).json()["outputs"]}
    assert (outputs["role"], outputs["score"], outputs["decision"]) == (["fallback"], [0.9], [True])
    named = client.post(V2, json={**INFER, "outputs": [{"name": "fallback"}]}).json()["outputs"]
    assert [each["data"] for each in named] == [["killed"]]
    assert roles_of(over_grpc(stage)) == [b"fallback"]
    bulk = pl.read_ipc_stream(io.BytesIO(arrow(client).content))
    assert (bulk["role"].to_list(), bulk["fallback"].to_list()) == (["fallback"] * 3, ["killed"] * 3)
    details = client.post(INVOCATIONS, json={"instances": [ROW], "params": {"details": True}}).json()["predictions"]
    assert [(each["role"], each["fallback"]) for each in details] == [("fallback", "killed")]
    revive(stage.home, stage.clock, MODEL, actor="ann", reason="mended")
    stage.service.refresh()
    assert roles_of(over_grpc(stage)) == [b"champion"]
