"""Clients that others wrote, against a real server: whatever the protocol, the scores are those of the service."""

import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pandas as pd
import polars as pl
import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_process import ServerProcess, free_port, start_server
from serving_project import champion, deploy, write_bundle, write_project
from tritonclient import grpc as over_grpc
from tritonclient import http as over_http
from tritonclient.utils import InferenceServerException

from charkha.bundles.store import BundleStore
from charkha.clock import SystemClock
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.service import Service
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow's, of its own types
    from mlflow.pyfunc.scoring_server import client as mlflow_client

MODEL = "late_trip"
SCHEMA = {"city": pl.String, "km": pl.Float64, "stops": pl.Int64, "pooled": pl.Boolean}
TYPES = {"city": "BYTES", "km": "FP64", "stops": "INT64", "pooled": "BOOL"}
EVENT = {
    "trip": 1, "city": "Pune", "driver": "ann", "km": 4.0, "stops": 2, "pooled": False,
    "asked_at": "2013-04-01T09:00:00Z", "ended_at": "2013-04-01T12:00:00Z", "late": None,
}  # fmt: skip
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=9)
# Tensors have no null but NaN: text, whole numbers and booleans are there.
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "city": st.sampled_from(["Pune", "Delhi", "दिल्ली", ""]) | TEXTS,
            "km": st.none() | st.floats(-1e6, 1e6),
            "stops": st.integers(-(2**31), 2**31),
            "pooled": st.booleans(),
        }
    ),
    min_size=1,
    max_size=100,
)  # fmt: skip


@frozen(eq=False)
class World:
    """A server, and the same project opened beside it."""

    server: ServerProcess
    grpc_port: int
    project: Project
    home: Home
    service: Service

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    @property
    def grpc_url(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("project")
    project = write_project(folder)
    with open_home(project.home) as home:
        write_bundle(project, home, "v1")
        write_bundle(project, home, "v1", name="how_far")
        deploy(home, champion("v1"))
        deploy(home, champion("v1"), model="how_far")
        grpc_port = free_port()
        server = start_server(folder, free_port(), workers=2, grpc_port=grpc_port)
        assert server.ready_line.endswith(f"; gRPC at 127.0.0.1:{grpc_port}\n")
        httpx.post(f"http://127.0.0.1:{server.port}/v1/sources/trips/events", json=EVENT).raise_for_status()
        service = Service(project, home, SystemClock(), "beside")
        service.refresh()
        yield World(server, grpc_port, project, home, service)
        service.close()
        server.kill()


def arrays(rows: list[dict[str, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    kinds: dict[str, Any] = {"city": np.object_, "km": np.float64, "stops": np.int64, "pooled": np.bool_}
    nan = {"km": float("nan")}
    return {
        name: np.array([nan.get(name) if row[name] is None else row[name] for row in rows], kind)
        for name, kind in kinds.items()
    }


def triton_http(world: World, rows: list[dict[str, Any]], *, binary: bool) -> list[float]:
    with over_http.InferenceServerClient(world.url) as client:
        inputs = []
        for name, array in arrays(rows).items():
            tensor = over_http.InferInput(name, list(array.shape), TYPES[name])
            tensor.set_data_from_numpy(array, binary_data=binary)
            inputs.append(tensor)
        wanted = None if binary else [over_http.InferRequestedOutput("score", binary_data=False)]
        result = client.infer(MODEL, inputs, outputs=wanted, request_id="mine")
        assert result.get_response()["id"] == "mine"
        return list(result.as_numpy("score"))


def triton_grpc(world: World, rows: list[dict[str, Any]]) -> list[float]:
    with over_grpc.InferenceServerClient(world.grpc_url) as client:
        inputs = []
        for name, array in arrays(rows).items():
            tensor = over_grpc.InferInput(name, list(array.shape), TYPES[name])
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        result = client.infer(MODEL, inputs, request_id="mine")
        assert result.get_response().id == "mine"
        assert result.as_numpy("version").tolist() == [b"v1"] * len(rows)
        return list(result.as_numpy("score"))


def typed_grpc(world: World, rows: list[dict[str, Any]]) -> list[float]:
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    contents = {"city": "bytes_contents", "km": "fp64_contents", "stops": "int64_contents", "pooled": "bool_contents"}
    request = service_pb2.ModelInferRequest(model_name=MODEL)
    for name, array in arrays(rows).items():
        tensor = request.inputs.add(name=name, datatype=TYPES[name], shape=[len(rows), 1])
        values = [value.encode() for value in array] if name == "city" else array.tolist()
        getattr(tensor.contents, contents[name]).extend(values)
    with grpc.insecure_channel(world.grpc_url) as channel:
        response = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
    found = {output.name: output.contents for output in response.outputs}
    return list(found["score"].fp64_contents)


def plain(world: World, rows: list[dict[str, Any]]) -> list[float]:
    answer = httpx.post(f"http://{world.url}/v1/models/{MODEL}/predict", json={"rows": rows}).json()
    return [each["score"] for each in answer["predictions"]]


def arrow(world: World, rows: list[dict[str, Any]]) -> list[float]:
    sink = io.BytesIO()
    pl.DataFrame(rows, schema=SCHEMA).write_ipc_stream(sink)
    headers = {"content-type": "application/vnd.apache.arrow.stream"}
    response = httpx.post(f"http://{world.url}/v1/models/{MODEL}/predict", content=sink.getvalue(), headers=headers)
    return pl.read_ipc_stream(io.BytesIO(response.content))["score"].to_list()


def scoring_client(world: World, path: str = "") -> Any:
    """Return MLflow's own client. path: what a proxy would put before its paths."""
    made: Any = mlflow_client.ScoringServerClient("127.0.0.1", world.server.port)  # type: ignore[no-untyped-call]
    made.url_prefix += path
    return made


def mlflow(world: World, rows: list[dict[str, Any]]) -> list[float]:
    frame = scoring_client(world, f"/v1/models/{MODEL}").invoke(pd.DataFrame(rows)).get_predictions()
    return [float(score) for score in frame.iloc[:, 0]]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=ROWS)
def test_every_protocol_has_the_scores_of_the_service(world: World, rows: list[dict[str, Any]]) -> None:
    expected = world.service.predict(MODEL, pl.DataFrame(rows, schema=SCHEMA)).scores.tolist()
    assert plain(world, rows) == expected
    assert triton_http(world, rows, binary=True) == expected
    assert triton_http(world, rows, binary=False) == expected
    assert triton_grpc(world, rows) == expected
    assert typed_grpc(world, rows) == expected
    assert arrow(world, rows) == expected
    assert mlflow(world, rows) == expected


def test_triton_clients_find_what_they_look_for(world: World) -> None:
    http, rpc = over_http.InferenceServerClient(world.url), over_grpc.InferenceServerClient(world.grpc_url)
    for client in (http, rpc):
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(MODEL)
        assert client.is_model_ready(MODEL, "v1")
    assert http.get_server_metadata()["name"] == rpc.get_server_metadata().name == "charkha"
    described, message = http.get_model_metadata(MODEL), rpc.get_model_metadata(MODEL, "v1")
    assert {each["name"]: each["datatype"] for each in described["inputs"]} == TYPES
    assert {each.name: each.datatype for each in message.inputs} == TYPES
    assert list(message.versions) == described["versions"] == ["v1"]
    http.close()
    rpc.close()


def test_triton_clients_are_told_what_is_wrong(world: World) -> None:
    with over_http.InferenceServerClient(world.url) as http:
        with pytest.raises(InferenceServerException, match="'city': expected a tensor for every request field"):
            http.infer(MODEL, [])
        with pytest.raises(InferenceServerException, match="expected one of the models"):
            http.get_model_metadata("nobody")
    with over_grpc.InferenceServerClient(world.grpc_url) as rpc:
        with pytest.raises(InferenceServerException, match="expected one of the models") as missing:
            rpc.get_model_metadata("nobody")
        assert missing.value.status() == "StatusCode.NOT_FOUND"
        with pytest.raises(InferenceServerException, match="expected one of the versions that serve") as missing:
            rpc.get_model_metadata(MODEL, "v9")
        assert missing.value.status() == "StatusCode.NOT_FOUND"
        tensor = over_grpc.InferInput("km", [1], "BYTES").set_data_from_numpy(np.array(["x"], np.object_))
        with pytest.raises(InferenceServerException, match="'km': expected the datatype FP64") as wrong:
            rpc.infer(MODEL, [tensor])
        assert wrong.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_regression_has_no_decision_over_grpc(world: World) -> None:
    with over_grpc.InferenceServerClient(world.grpc_url) as rpc:
        city = over_grpc.InferInput("city", [1], "BYTES").set_data_from_numpy(np.array(["Pune"], np.object_))
        stops = over_grpc.InferInput("stops", [1], "INT64").set_data_from_numpy(np.array([1]))
        result = rpc.infer("how_far", [city, stops])
    assert result.as_numpy("decision") is None
    assert result.as_numpy("score").shape == (1,)


def test_bytes_that_are_no_message_are_refused(world: World) -> None:
    with grpc.insecure_channel(world.grpc_url) as channel:
        method: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        missing: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelStreamInfer")
        for body in (b"\xff", b"\x2a\xff\xff\xff\xff\x07", os.urandom(200)):
            with pytest.raises(grpc.RpcError) as refused:
                method(body, timeout=10)
            assert refused.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
        with pytest.raises(grpc.RpcError) as refused:
            method(b"\x00" * (5 << 20), timeout=10)
        assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as refused:
            missing(b"", timeout=10)
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_mlflows_client_knows_the_server(world: World) -> None:
    client = scoring_client(world)
    client.wait_server_ready(timeout=5)
    client.ping()  # raises where the server does not say that it is ready
    assert client.get_version()
    with pytest.raises(Exception, match=r"rows\[0\].city': expected text or null"):
        scoring_client(world, f"/v1/models/{MODEL}").invoke(
            pd.DataFrame([{"city": 7, "km": 1.0, "stops": 1, "pooled": True}])
        )


def test_what_was_answered_over_grpc_is_in_the_log_and_in_the_metrics(world: World) -> None:
    row = {"city": "Pune", "km": 1.25, "stops": 77, "pooled": True}
    with over_grpc.InferenceServerClient(world.grpc_url) as rpc:
        inputs = [
            over_grpc.InferInput(name, [1], TYPES[name]).set_data_from_numpy(array)
            for name, array in arrays([row]).items()
        ]
        (id_,) = rpc.infer(MODEL, inputs).as_numpy("id")
    logged = decode_predictions(world.home.log.read(prediction_stream(MODEL)), BundleStore(world.home.bundles))
    assert id_.decode() in set(logged["id"])
    counted = httpx.get(f"http://{world.url}/metrics").text
    assert 'charkha_http_requests_total{route="/inference.GRPCInferenceService/ModelInfer",status="200"}' in counted


def test_calls_in_progress_end_when_the_server_does(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    with open_home(project.home) as home:
        write_bundle(project, home, "v1")
        deploy(home, champion("v1"))
    grpc_port = free_port()
    server = start_server(tmp_path, free_port(), grpc_port=grpc_port)
    with over_grpc.InferenceServerClient(f"127.0.0.1:{grpc_port}") as rpc:
        assert rpc.is_server_ready()
        assert server.terminate() == 0
        with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
            rpc.is_server_live()
    server.kill()
