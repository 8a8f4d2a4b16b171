"""Errors that the OpenAPI document tells of: each has the schema of its protocol's error, and real ones have it too."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from app_client import AppClient, app_client
from serving_project import Stage, open_stage

from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.protocols.mlflow_scoring import InvocationError
from charkha.serving.protocols.open_inference import InferenceError
from charkha.serving.responses import Error

# Answers that are no errors: what asks has asked whether it is so.
READINESS = {("/readyz", "503"), ("/v2/health/ready", "503"), ("/ping", "503"), ("/health", "503")}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("project")) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(stage: Stage) -> Iterator[AppClient]:
    with app_client(build_router(stage.service, ServingMetrics(), stage.clock)) as opened:
        yield opened


def error_of(path: str) -> type[Any]:
    if path.startswith("/v2"):
        return InferenceError
    return InvocationError if path.endswith("/invocations") else Error


def test_every_documented_error_has_the_schema_of_an_error(client: AppClient) -> None:
    found = 0
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method in operations.keys() - {"parameters"}:
            for status, told in operations[method]["responses"].items():
                ready = path.endswith("/ready") and status == "503"
                if status == "200" or ready or (path, status) in READINESS:
                    continue
                schema = told["content"]["application/json"]["schema"]
                wanted = {"$ref": f"#/components/schemas/{error_of(path).__name__}"}
                assert wanted in (schema, *schema.get("anyOf", ())), (path, status)
                found += 1
    assert found > 50


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v2/models/early", None, 404),
        ("GET", "/v2/models/late_trip/versions/v9", None, 404),
        ("GET", "/v2/models/late_trip/versions/v9/ready", None, 404),
        ("POST", "/v2/models/late_trip/versions/v9/infer", {}, 404),
        ("POST", "/v2/models/late_trip/infer", {}, 400),
        ("POST", "/v2/models/how_far/infer", {"inputs": []}, 400),
        ("POST", "/v1/models/late_trip/invocations", {}, 400),
        ("POST", "/v1/models/early/invocations", {}, 404),
        ("POST", "/v1/models/how_far/invocations", {"instances": [{"city": "Pune", "stops": 2}]}, 503),
        ("POST", "/v1/models/late_trip/predict", {}, 422),
        ("POST", "/v1/models/how_far/predict", {"city": "Pune", "stops": 2}, 503),
        ("POST", "/v1/models/late_trip/labels", {}, 422),
        ("POST", "/v1/sources/trips/events", {}, 422),
    ],
)
def test_an_error_is_what_its_protocol_has(
    client: AppClient, method: str, path: str, body: object, status: int
) -> None:
    response = client.request(method, path, content=json.dumps(body), headers={"content-type": "application/json"})
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    told = msgspec.json.decode(response.content, type=error_of(path))
    assert "expected" in str(told)
    kind = msgspec.json.schema(error_of(path))["$defs"][error_of(path).__name__]
    assert set(response.json()) == set(kind["required"])
