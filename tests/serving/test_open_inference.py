"""The Open Inference Protocol over HTTP: what it says of models, tensors in JSON and as bytes, and what it refuses."""

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from app_client import AppClient, app_client
from serving_project import Stage, champion, deploy, write_bundle

from charkha.serving.body import Limits
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.protocols.tensors import OUTPUTS
from charkha.storage.ledger import Assignment

MODEL = "/v2/models/late_trip"
INFER = f"{MODEL}/infer"
PREDICT = "/v1/models/late_trip/predict"
ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}
TYPES = {"city": "BYTES", "km": "FP64", "stops": "INT64", "pooled": "BOOL"}
EVENT = {
    "trip": 1, "city": "Pune", "driver": "ann", "km": 4.0, "stops": 2, "pooled": False,
    "asked_at": "2013-04-01T09:00:00Z", "ended_at": "2013-04-01T12:00:00Z", "late": None,
}  # fmt: skip


@pytest.fixture
def client(stage: Stage, metrics: ServingMetrics) -> Iterator[AppClient]:
    router = build_router(stage.service, metrics, stage.clock, limits=Limits(rows=50, body_seconds=0.2))
    with app_client(router) as opened:
        opened.post("/v1/sources/trips/events", json=EVENT)
        yield opened


def tensor(name: str, *values: Any, **others: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(values)], "datatype": TYPES[name], "data": list(values), **others}


def asked(*rows: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"inputs": [tensor(name, *(row[name] for row in rows)) for name in TYPES], **others}


def outputs(document: dict[str, Any]) -> dict[str, list[Any]]:
    return {output["name"]: output["data"] for output in document["outputs"]}


def test_a_server_says_what_it_is(client: AppClient) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}


def test_a_model_says_what_it_takes_and_answers(client: AppClient) -> None:
    described = client.get(MODEL).json()
    assert (described["name"], described["versions"], described["platform"]) == ("late_trip", ["v1"], "charkha")
    assert described["inputs"] == [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in TYPES.items()]
    assert [output["name"] for output in described["outputs"]] == [*OUTPUTS, "rules", "fallback"]
    assert client.get(f"{MODEL}/versions/v1").json() == described
    assert client.get(f"{MODEL}/ready").json() == {"name": "late_trip", "ready": True}
    unready = client.get("/v2/models/how_far/ready")
    assert (unready.status_code, unready.json()["ready"]) == (503, False)


def test_the_answers_are_those_of_plain_json_and_are_logged(client: AppClient, stage: Stage) -> None:
    rows = [ROW, {**ROW, "city": "Delhi"}, {**ROW, "city": None, "km": None, "stops": 3, "pooled": True}]
    plain = client.post(PREDICT, json={"rows": rows}).json()["predictions"]
    answer = client.post(INFER, json=asked(*rows, id="mine")).json()
    found = outputs(answer)
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", "late_trip", "v1")
    assert found["score"] == [each["score"] for each in plain]
    assert found["decision"] == [each["decision"] for each in plain]
    assert (found["version"], found["role"]) == (["v1"] * 3, ["champion"] * 3)
    assert len({*found["id"], *(each["id"] for each in plain)}) == 6
    assert len(list(stage.home.log.read(prediction_stream("late_trip")))) == 2


def test_rules_and_fallback_are_told_where_they_are_named(client: AppClient) -> None:
    named = asked(ROW, outputs=[{"name": "rules"}, {"name": "fallback"}])
    rules, fallback = client.post(INFER, json=named).json()["outputs"]
    plain = client.post("/v1/models/late_trip/predict", json=ROW).json()
    assert (rules["datatype"], [json.loads(each) for each in rules["data"]]) == ("BYTES", [plain["rules"]])
    assert (fallback["datatype"], fallback["data"]) == ("BYTES", [""])
    assert [each["name"] for each in client.post(INFER, json=asked(ROW)).json()["outputs"]] == list(OUTPUTS)


def test_rows_may_be_columns_of_one_and_outputs_are_chosen(client: AppClient) -> None:
    nested = asked(ROW, ROW, outputs=[{"name": "role"}, {"name": "score"}])
    for given in nested["inputs"]:
        given["shape"], given["data"] = [2, 1], [[value] for value in given["data"]]
    answer = client.post(INFER, json=nested).json()
    assert [(each["name"], each["shape"], each["datatype"]) for each in answer["outputs"]] == [
        ("role", [2], "BYTES"),
        ("score", [2], "FP64"),
    ]


def binary(arrays: dict[str, tuple[str, bytes, int]], **others: Any) -> tuple[bytes, dict[str, str]]:
    """Return a body with every tensor as bytes, and its headers. arrays: name → datatype, bytes, rows."""
    inputs = [
        {"name": name, "shape": [count], "datatype": kind, "parameters": {"binary_data_size": len(raw)}}
        for name, (kind, raw, count) in arrays.items()
    ]
    document = json.dumps({"inputs": inputs, **others}).encode()
    headers = {"inference-header-content-length": str(len(document)), "content-type": "application/octet-stream"}
    return document + b"".join(raw for _, raw, _ in arrays.values()), headers


def texts(*values: str) -> bytes:
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


def raw_arrays() -> dict[str, tuple[str, bytes, int]]:
    return {
        "city": ("BYTES", texts("Pune", "दिल्ली"), 2),
        "km": ("FP32", np.array([1.5, np.nan], "<f4").tobytes(), 2),
        "stops": ("INT32", np.array([2, -3], "<i4").tobytes(), 2),
        "pooled": ("BOOL", b"\x00\x01", 2),
    }


def test_tensors_may_be_bytes_both_ways(client: AppClient) -> None:
    rows: list[dict[str, Any]] = [{**ROW, "pooled": False}, {"city": "दिल्ली", "km": None, "stops": -3, "pooled": True}]
    plain = client.post(PREDICT, json={"rows": rows}).json()["predictions"]
    body, headers = binary(raw_arrays(), parameters={"binary_data_output": True})
    response = client.post(INFER, content=body, headers=headers)
    length = int(response.headers["inference-header-content-length"])
    document, rest = json.loads(response.content[:length]), response.content[length:]
    sizes = [output["parameters"]["binary_data_size"] for output in document["outputs"]]
    assert sum(sizes) == len(rest)
    assert np.frombuffer(rest[:16], "<f8").tolist() == [each["score"] for each in plain]
    assert rest[16:18] == bytes(each["decision"] for each in plain)
    mixed = asked(*rows, outputs=[{"name": "score", "parameters": {"binary_data": True}}, {"name": "role"}])
    response = client.post(INFER, json=mixed)
    document = json.loads(response.content[: int(response.headers["inference-header-content-length"])])
    assert [sorted(output.keys()) for output in document["outputs"]] == [
        ["datatype", "name", "parameters", "shape"],
        ["data", "datatype", "name", "shape"],
    ]


def test_a_decision_that_is_null_is_json_even_where_bytes_were_wished(client: AppClient, stage: Stage) -> None:
    write_bundle(stage.project, stage.home, "v1", name="how_far")
    deploy(stage.home, champion("v1"), model="how_far")
    stage.service.refresh()
    arrays = {"city": ("BYTES", texts("Pune"), 1), "stops": ("UINT8", b"\x07", 1)}
    body, headers = binary(arrays, outputs=[{"name": "decision", "parameters": {"binary_data": True}}])
    assert outputs(client.post("/v2/models/how_far/infer", content=body, headers=headers).json()) == {
        "decision": [None]
    }


def test_only_versions_that_serve_are_there(client: AppClient, stage: Stage) -> None:
    write_bundle(stage.project, stage.home, "v2", intercept=2.0)
    for path in ("", "/ready"):
        response = client.get(f"{MODEL}/versions/v2{path}")
        assert (response.status_code, list(response.json())) == (404, ["error"])
    assert client.post(f"{MODEL}/versions/v2/infer", json=asked(ROW)).status_code == 404
    assert client.post(f"{MODEL}/versions/v1/infer", json=asked(ROW)).status_code == 200
    deploy(stage.home, Assignment("v1", "champion", 0.5), Assignment("v2", "challenger", 0.5))
    stage.service.refresh()
    assert client.get(f"{MODEL}/versions/v2/ready").status_code == 200
    refused = client.post(f"{MODEL}/versions/v2/infer", json=asked(ROW))
    assert (refused.status_code, "share its calls" in refused.json()["error"]) == (409, True)


def test_nan_is_null_as_clients_write_it(client: AppClient) -> None:
    null = client.post(INFER, json=asked({**ROW, "km": None}))
    body = json.dumps(asked(ROW)).replace("1.5", "NaN").encode()
    response = client.post(INFER, content=body, headers={"content-type": "application/json"})
    assert outputs(response.json())["score"] == outputs(null.json())["score"]


def changed(of: str, **values: Any) -> dict[str, Any]:
    document = asked(ROW)
    (given,) = (each for each in document["inputs"] if each["name"] == of)
    given.update(values)
    return document


WRONG: dict[str, tuple[Any, int, str]] = {
    "no inputs": ({}, 400, "inputs"),
    "inputs is no array": ({"inputs": 7}, 400, "inputs"),
    "an array": ([], 400, "body"),
    "empty inputs": ({"inputs": []}, 400, "'city': expected a tensor for every request field"),
    "a missing input": ({"inputs": asked(ROW)["inputs"][:2]}, 400, "none for stops, pooled"),
    "an unknown input": (changed("km", name="x"), 400, "'x': expected one of the inputs city, km"),
    "an input twice": ({"inputs": [*asked(ROW)["inputs"], tensor("km", 1.0)]}, 400, "'km': expected each input once"),
    "another datatype": (changed("km", datatype="BYTES"), 400, "'km': expected the datatype FP64"),
    "text for a number": (changed("km", data=["x"]), 400, "rows[0].km"),
    "a decimal for an integer": (changed("stops", data=[2.5]), 400, "'stops': expected whole numbers"),
    "a boolean for an integer": (changed("stops", data=[True]), 400, "'stops': expected whole numbers"),
    "a number for a boolean": (changed("pooled", data=[1]), 400, "rows[0].pooled"),
    "too wide for its datatype": (changed("stops", datatype="INT8", data=[128]), 400, "INT8"),
    "a large UINT64": (changed("stops", datatype="UINT64", data=[2**63]), 400, "rows[0].stops"),
    "a matrix": (changed("km", shape=[1, 2], data=[1, 2]), 400, "'km': expected the shape [n] or [n, 1]"),
    "no dimension": (changed("km", shape=[]), 400, "'km': expected the shape"),
    "no rows": (changed("km", shape=[0], data=[]), 400, "'km': expected the shape"),
    "a negative shape": (changed("km", shape=[-1]), 400, "'km': expected the shape"),
    "an endless shape": (changed("km", shape=[10**15]), 413, "at most 50 rows"),
    "too many rows": (asked(*[ROW] * 51), 413, "at most 50 rows"),
    "other lengths": (changed("km", shape=[2], data=[1.0, 2.0]), 400, "as many rows"),
    "shape and data differ": (changed("km", shape=[2]), 400, "'km': expected 2 values"),
    "nested twice": (changed("km", data=[[[1.0]]]), 400, "rows[0].km"),
    "no data": ({"inputs": [{"name": "km", "shape": [1], "datatype": "FP64"}]}, 400, "'km': expected data"),
    "bytes that are not there": (changed("km", parameters={"binary_data_size": 8}), 400, "either data or"),
    "an unknown output": (asked(ROW, outputs=[{"name": "reason"}]), 400, "outputs: expected some of"),
    "long text": (changed("city", data=["x" * 5000]), 400, "rows[0].city"),
    "a NUL": (changed("city", data=["a\x00"]), 400, "NUL"),
    "a number for the id": (asked(ROW, id=7), 400, "field 'id'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_the_protocols_form(client: AppClient, case: str) -> None:
    document, status, said = WRONG[case]
    response = client.post(INFER, json=document)
    assert (response.status_code, list(response.json())) == (status, ["error"]), response.text
    assert said in response.json()["error"]
    assert len(response.content) < 1000


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "expected one JSON document"),
        (b'{"inputs": [', "expected one JSON document"),
        (b'{"inputs": [], "inputs": []}', "'inputs': expected once"),
        (json.dumps(asked(ROW)).replace("1.5", "Infinity").encode(), "got inf"),
        (json.dumps(asked(ROW, ROW)).replace("1.5, 1.5", "NaN, -Infinity").encode(), "got -inf"),
        (b'{"inputs": [NaN', "expected one JSON document"),
        (b'{"inputs": [NaN], "inputs": []}', "'inputs': expected once"),
        (b"[" * 100_000, "expected one JSON document"),
    ],
)
def test_what_is_no_json_is_refused(client: AppClient, body: bytes, said: str) -> None:
    response = client.post(INFER, content=body, headers={"content-type": "application/json"})
    assert (response.status_code, said in response.json()["error"]) == (400, True), response.text


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("km", ("FP64", b"\x00" * 12, 2), "'km': expected 16 bytes"),
        ("km", ("FP64", np.array([np.inf, 1.0]).tobytes(), 2), "rows[0].km"),
        ("pooled", ("BOOL", b"\x00\x02", 2), "'pooled': expected bytes of 0 or 1"),
        ("city", ("BYTES", texts("a"), 2), "'city': expected 2 texts"),
        ("city", ("BYTES", texts("a", "b", "c"), 2), "5 bytes more"),
        ("city", ("BYTES", b"\xff\xff\xff\xff" + b"a" * 9, 2), "as many bytes of a text"),
        ("city", ("BYTES", texts("a") + b"\x01\x00\x00\x00\xff", 2), "'city': expected text in UTF-8"),
    ],
)
def test_bytes_that_are_no_tensor_are_refused(
    client: AppClient, name: str, raw: tuple[str, bytes, int], said: str
) -> None:
    body, headers = binary({**raw_arrays(), name: raw})
    response = client.post(INFER, content=body, headers=headers)
    assert (response.status_code, said in response.json()["error"]) == (400, True), response.text


@pytest.mark.parametrize("given", ["-1", "x", "", "99999999999", "100000"])
def test_a_wrong_length_of_the_header_is_refused(client: AppClient, given: str) -> None:
    body, headers = binary(raw_arrays())
    response = client.post(INFER, content=body, headers={**headers, "inference-header-content-length": given})
    assert (response.status_code, list(response.json())) == (400, ["error"])


def test_bytes_left_over_or_lacking_are_refused(client: AppClient) -> None:
    body, headers = binary(raw_arrays())
    for wrong in (body + b"x", body[:-1]):
        assert client.post(INFER, content=wrong, headers=headers).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/nobody", 404),
        ("POST", "/v2/models/nobody/infer", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/late_trip/versions/", 404),
        ("GET", "/v2/models/late_trip/explain", 404),
        ("GET", INFER, 405),
        ("POST", MODEL, 405),
        ("POST", "/v2/models/how_far/infer", 503),
    ],
)
def test_paths_that_are_none_answer_in_the_protocols_form(
    client: AppClient, method: str, path: str, status: int
) -> None:
    document = asked(ROW) if "how_far" not in path else {"inputs": [tensor("city", "Pune"), tensor("stops", 1)]}
    response = client.request(method, path, json=document)
    assert (response.status_code, list(response.json())) == (status, ["error"])


def test_metrics_count_patterns_and_no_names(client: AppClient) -> None:
    client.post(INFER, json=asked(ROW))
    client.get(f"{MODEL}/versions/v9")
    client.get("/v2/strange")
    counted = client.get("/metrics").text
    assert 'charkha_http_requests_total{route="/v2/models/{model}/infer",status="200"} 1.0' in counted
    assert 'route="/v2/models/{model}/versions/{version}",status="404"' in counted
    assert "strange" not in counted
