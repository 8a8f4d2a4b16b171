"""MLflow's scoring protocol: its four forms, CSV, and errors as its own server says them."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from app_client import AppClient, app_client
from attrs import evolve
from serving_project import Stage, open_stage

from charkha.serving.body import Limits
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.protocols.mlflow_bodies import read_csv
from charkha.serving.service import Service

INVOCATIONS = "/v1/models/late_trip/invocations"
ROWS: list[dict[str, Any]] = [
    {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None},
    {"city": None, "km": None, "stops": 3, "pooled": True},
]
FIELDS = list(ROWS[0])
VALUES = [list(row.values()) for row in ROWS]
COLUMNS = {name: [row[name] for row in ROWS] for name in FIELDS}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("project")) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(stage: Stage) -> Iterator[AppClient]:
    limits = Limits(rows=20, body_bytes=300_000, body_seconds=0.2)
    with app_client(build_router(stage.service, ServingMetrics(), stage.clock, limits=limits)) as opened:
        yield opened


def scores(client: AppClient) -> list[float]:
    plain = client.post("/v1/models/late_trip/predict", json={"rows": ROWS}).json()["predictions"]
    return [each["score"] for each in plain]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": FIELDS, "data": VALUES}},
        {"dataframe_split": {"columns": FIELDS, "data": VALUES, "index": [7, 8]}},
        {"dataframe_records": ROWS},
        {"instances": ROWS},
        {"instances": COLUMNS},
        {"inputs": ROWS},
        {"inputs": COLUMNS},
        {"inputs": ROWS, "params": {}},
        {"inputs": ROWS, "params": None},
        {"inputs": [{**row, "stops": float(row["stops"])} for row in ROWS]},
    ],
    ids=str,
)
def test_every_form_has_the_scores_of_plain_json(client: AppClient, body: dict[str, Any]) -> None:
    response = client.post(INVOCATIONS, json=body)
    assert (response.status_code, response.json()) == (200, {"predictions": scores(client)})


def test_details_are_whole_predictions(client: AppClient) -> None:
    body = {"inputs": ROWS, "params": {"details": True}}
    first, second = client.post(INVOCATIONS, json=body).json()["predictions"]
    assert ([first["score"], second["score"]], first["version"]) == (scores(client), "v1")
    assert {"id", "decision", "rules", "role", "time"} <= first.keys()


@pytest.mark.parametrize(
    "text",
    [
        "city,km,stops,pooled\nPune,1.5,2,\n,,3,true\n",
        'stops,pooled,km,city\r\n2,,1.5,"Pune"\r\n3,True,,\r\n',
        "\ufeffcity,km,stops,pooled\nPune,1.50,2.0,\n,,3,TRUE",
    ],
)
def test_csv_is_read_by_the_types_of_the_definition(client: AppClient, text: str) -> None:
    for kind in ("text/csv", "text/csv; charset=utf-8"):
        response = client.post(INVOCATIONS, content=text.encode(), headers={"content-type": kind})
        assert (response.status_code, response.json()) == (200, {"predictions": scores(client)})


def test_times_in_csv_may_be_written_as_pandas_does() -> None:
    read = read_csv(b"at,n\n2013-04-01 06:30:00,1\n,2\n", {"at": datetime, "n": int}, 10)
    assert read.records == [{"at": "2013-04-01T06:30:00", "n": 1}, {"at": None, "n": 2}]


WRONG: dict[str, tuple[Any, int, str]] = {
    "nothing": ({}, 400, "expected one of dataframe_split"),
    "a list": (ROWS, 400, "expected one of dataframe_split"),
    "two forms": ({"inputs": ROWS, "instances": ROWS}, 400, "expected one of dataframe_split"),
    "an unknown field": ({"inputs": ROWS, "x": 1}, 400, "got the fields inputs, x"),
    "plain rows": ({"rows": ROWS}, 400, "got the fields rows"),
    "no rows": ({"inputs": []}, 400, "rows"),
    "a scalar": ({"inputs": 7}, 400, "'inputs'"),
    "scalars": ({"inputs": [7]}, 400, "'inputs': expected an object for each row"),
    "split without columns": ({"dataframe_split": {"data": VALUES}}, 400, "columns"),
    "split of other widths": ({"dataframe_split": {"columns": FIELDS, "data": [[1]]}}, 400, "4 values"),
    "a column twice": ({"dataframe_split": {"columns": ["km"] * 4, "data": VALUES}}, 400, "each column once"),
    "columns of other lengths": ({"inputs": {**COLUMNS, "km": [1.0]}}, 400, "arrays of one length"),
    "no columns": ({"inputs": {}}, 400, "rows"),
    "a missing field": ({"inputs": [{"city": "Pune"}]}, 400, "rows[0].km"),
    "text for a number": ({"inputs": [{**ROWS[0], "km": "1.5"}]}, 400, "rows[0].km"),
    "a fraction": ({"inputs": [{**ROWS[0], "stops": 2.5}]}, 400, "rows[0].stops"),
    "unknown params": ({"inputs": ROWS, "params": {"x": 1}}, 400, "x"),
    "params of another type": ({"inputs": ROWS, "params": {"details": 1}}, 400, "details"),
    "too many rows": ({"inputs": ROWS * 11}, 413, "at most 20 rows"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_as_mlflow_does(client: AppClient, case: str) -> None:
    body, status, said = WRONG[case]
    response = client.post(INVOCATIONS, json=body)
    told = response.json()
    assert (response.status_code, told.keys(), told["error_code"]) == (
        status,
        {"error_code", "message"},
        "BAD_REQUEST",
    )
    assert said in told["message"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b'{"inputs": [{"km": Infinity}]}', "application/json", 400),
        (b'{"inputs": [], "inputs": []}', "application/json", 400),
        (b"city,km,stops,pooled\n\xff,1,2,true", "text/csv", 400),
        (b'city,km,stops,pooled\n"a"b,1,2,true', "text/csv", 400),
        (b"city,km,stops,pooled\na,1", "text/csv", 400),
        (b"city,km,stops,pooled\na,x,2,true", "text/csv", 400),
        (b"city,km,stops,pooled\na,nan,2,true", "text/csv", 400),
        (b"city,km,stops,pooled\na,1,2,yes", "text/csv", 400),
        (b"city,km,stops,pooled\na,1,1e400,true", "text/csv", 400),
        (b"city,km,km,pooled\na,1,1,true", "text/csv", 400),
        (b"city,km\na,1", "text/csv", 400),
        (b"city,km,stops,pooled\n", "text/csv", 400),
        (b"", "text/csv", 400),
        (b"city,km,stops,pooled\n" + b"a,1,2,true\n" * 21, "text/csv", 413),
        (b'city,km,stops,pooled\n"' + b"a" * 200_000, "text/csv", 400),
        (json.dumps({"inputs": ROWS}).encode(), "application/x-parquet", 415),
        (json.dumps({"inputs": ROWS}).encode(), "", 415),
    ],
)
def test_bodies_that_cannot_be_read_are_refused(client: AppClient, body: bytes, kind: str, status: int) -> None:
    response = client.post(INVOCATIONS, content=body, headers={"content-type": kind})
    assert (response.status_code, response.json()["error_code"]) == (status, "BAD_REQUEST"), response.text


def test_a_model_nobody_serves_and_one_that_is_none(client: AppClient) -> None:
    body = {"inputs": [{"city": "Pune", "stops": 1}]}
    response = client.post("/v1/models/how_far/invocations", json=body)
    assert (response.status_code, response.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert client.post("/v1/models/nobody/invocations", json=body).status_code == 404


def test_health_is_readiness(client: AppClient, stage: Stage) -> None:
    for path in ("/ping", "/health"):
        assert (client.get(path).status_code, client.get(path).text) == (200, "\n")
    assert client.get("/version").text
    router = build_router(stage.service, ServingMetrics(), stage.clock, ends=lambda: True)
    with app_client(router) as ending:
        assert ending.get("/ping").status_code == 503


def test_invocations_has_no_model_in_its_path_only_where_there_is_one(client: AppClient, stage: Stage) -> None:
    assert client.post("/invocations", json={"inputs": ROWS}).status_code == 404
    project = evolve(stage.project, models={"late_trip": stage.project.models["late_trip"]})
    service = Service(project, stage.home, stage.clock, "w1")
    service.refresh()
    with app_client(build_router(service, ServingMetrics(), stage.clock)) as alone:
        assert alone.post("/invocations", json={"inputs": ROWS}).json() == {"predictions": scores(client)}
        assert "/invocations" in alone.get("/openapi.json").json()["paths"]
    service.close()
