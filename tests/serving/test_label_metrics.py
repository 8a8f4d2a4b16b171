"""Business metrics beside labels: what the route takes and refuses, and what the log keeps of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from app_client import AppClient, app_client
from hypothesis import given
from hypothesis import strategies as st
from serving_project import MODEL, NOW_US, Stage, open_stage

from charkha.serving.http import build_router
from charkha.serving.labels import LABEL_SCHEMA, UndeclaredMetric, decode_labels, encode_labels, label_stream
from charkha.serving.metrics import ServingMetrics
from charkha.serving.prediction_ids import pack_ids
from charkha.storage.log import Record

LABELS = f"/v1/models/{MODEL}/labels"
ID, OTHER = "013dc2cb-b400-7000-8000-000000000000", "013dc2cb-b400-7000-8000-000000000001"
NUMBERS = st.none() | st.floats(-1e12, 1e12)
RECORDS = st.lists(
    st.tuples(
        st.sampled_from([(), ("margin",), ("margin", "complaints")]), st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS))
    ),
    max_size=5,
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path, business={"margin": "higher", "complaints": "lower"}) as opened:
        yield opened


@pytest.fixture
def client(stage: Stage, metrics: ServingMetrics) -> Iterator[AppClient]:
    with app_client(build_router(stage.service, metrics, stage.clock)) as opened:
        yield opened


def logged(stage: Stage) -> list[dict[str, Any]]:
    return decode_labels(stage.home.log.read(label_stream(MODEL))).drop("_label_known_us").to_dicts()


def test_metrics_come_beside_a_label_or_in_place_of_it(client: AppClient, stage: Stage) -> None:
    rows = [
        {"id": ID, "label": True, "metrics": {"margin": 12.5, "complaints": 0}},
        {"id": OTHER, "metrics": {"margin": -3}},
        {"id": OTHER, "label": 0},
    ]
    assert client.post(LABELS, json={"rows": rows}).json() == {"accepted": 3}
    assert client.post(LABELS, json={"metrics": {"complaints": 1}, "id": ID}).json() == {"accepted": 1}
    nothing = {"_metric.margin": None, "_metric.complaints": None}
    assert logged(stage) == [
        {"id": ID, "label": 1.0, "_metric.margin": 12.5, "_metric.complaints": 0.0},
        {"id": OTHER, "label": None, "_metric.margin": -3.0, "_metric.complaints": None},
        {"id": OTHER, "label": 0.0, **nothing},
        {"id": ID, "label": None, **nothing, "_metric.complaints": 1.0},
    ]


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        ({"id": ID}, None, "body: expected a label, metrics or both, got only an id"),
        ({"id": ID, "metrics": {}}, None, "body: expected a label, metrics or both, got only an id"),
        (
            {"id": ID, "metrics": {"margins": 1}},
            "metrics.margins",
            "field 'metrics.margins': expected one of the model's business metrics, margin, complaints, got an unknown",
        ),
        (
            {"id": ID, "metrics": {"margin": 2e12}},
            "metrics.margin",
            "expected a number of at most 1e+12, whichever sign",
        ),
        ({"id": ID, "metrics": {"margin": "12"}}, "metrics.margin", "expected a number of at most 1e+12"),
        ({"id": ID, "metrics": {"margin": True}}, "metrics.margin", "got a boolean"),
        ({"id": ID, "label": True, "metrics": {"margin": None}}, "metrics.margin", "got null"),
        ({"id": ID, "label": True, "metrics": [1]}, "metrics", "expected an object with any of margin, complaints"),
        ({"id": ID, "label": True, "metrics": None}, "metrics", "expected an object with any of margin, complaints"),
        ({"id": ID, "label": None, "metrics": {"margin": 1}}, "label", "expected true, false, 1 or 0, got null"),
        ({"label": True, "metrics": {"margin": 1}}, "id", "expected the id of a prediction, got nothing"),
        ({"id": ID, "truth": True}, "truth", "expected one of id, label, metrics, got an unknown field"),
    ],
)
def test_what_does_not_fit_is_refused_by_field(
    client: AppClient, stage: Stage, row: dict[str, Any], field: str | None, said: str
) -> None:
    for body, at in ((row, field), ({"rows": [{"id": OTHER, "label": True}, row]}, f"rows[1].{field}")):
        refused = client.post(LABELS, json=body)
        assert refused.status_code == 422
        error = refused.json()["error"]
        assert error["field"] == (at if field else None if body is row else "rows[1]")
        assert said.rsplit(": ", maxsplit=1)[-1] in error["message"]
    assert logged(stage) == []


@pytest.mark.parametrize(
    "body",
    [
        f'{{"id": "{ID}", "metrics": {{"margin": 1, "margin": 2}}}}',
        f'{{"id": "{ID}", "label": true, "metrics": {{"margin": 1}}, "metrics": {{"margin": 1}}}}',
        f'{{"id": "{ID}", "id": "{ID}", "metrics": {{"margin": 1}}}}',
    ],
)
def test_a_field_twice_is_refused(client: AppClient, stage: Stage, body: str) -> None:
    refused = client.post(LABELS, content=body, headers={"content-type": "application/json"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "duplicate_field")
    assert logged(stage) == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400"])
def test_numbers_that_json_has_not_are_refused(client: AppClient, number: str) -> None:
    body = f'{{"id": "{ID}", "metrics": {{"margin": {number}}}}}'
    refused = client.post(LABELS, content=body, headers={"content-type": "application/json"})
    assert refused.status_code in (400, 422)
    assert "margin" in refused.json()["error"]["message"]


def test_a_model_that_declares_none_says_how_to(client: AppClient) -> None:
    refused = client.post("/v1/models/how_far/labels", json={"id": ID, "label": 2.5, "metrics": {"margin": 1}})
    assert refused.status_code == 422
    error = refused.json()["error"]
    assert error["field"] == "metrics"
    assert "model 'how_far' declares no business metrics. Declare them: ck.Model(" in error["message"]
    assert client.post("/v1/models/how_far/labels", json={"id": ID, "label": 2.5}).json() == {"accepted": 1}


def test_the_service_refuses_what_is_not_declared(stage: Stage) -> None:
    with pytest.raises(UndeclaredMetric, match="one of the business metrics margin, complaints"):
        stage.service.label(MODEL, [ID], [1.0], {"sales": [1.0]})
    with pytest.raises(UndeclaredMetric, match="none, for it declares none"):
        stage.service.label("how_far", [ID], [1.0], {"margin": [1.0]})


def test_the_document_and_its_example_are_what_is_taken(client: AppClient, stage: Stage) -> None:
    document = client.get("/openapi.json").json()
    example = document["paths"][LABELS]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert example["metrics"] == {"margin": 12.5}
    assert client.post(LABELS, json=example).status_code == 200
    row = document["components"]["schemas"][f"{MODEL}_label"]
    assert row["required"] == ["id"]
    assert document["components"]["schemas"]["how_far_label"]["required"] == ["id", "label"]
    assert set(document["components"]["schemas"][f"{MODEL}_metrics"]["properties"]) == {"margin", "complaints"}


@given(RECORDS)
def test_what_was_told_comes_back(batches: list[tuple[tuple[str, ...], list[tuple[float | None, ...]]]]) -> None:
    payloads, expected, names = [], list[tuple[float | None, ...]](), set[str]()
    for metrics, drawn in batches:
        rows = [row for row in drawn if any(value is not None for value in row[: 1 + len(metrics)])]
        columns = {name: [row[place] for row in rows] for place, name in enumerate(metrics, 1)}
        payloads.append(encode_labels([ID] * len(rows), [row[0] for row in rows], 5, columns))
        names |= {name for name, values in columns.items() if any(value is not None for value in values)}
        expected += [(*row[: 1 + len(metrics)], None, None)[:3] for row in rows]
    frame = decode_labels([Record("w0", place, place + 1, payload) for place, payload in enumerate(payloads)])
    assert set(frame.columns) == {*LABEL_SCHEMA.names(), *(f"_metric.{name}" for name in names)}
    told = [frame[column].to_list() if column in frame.columns else [None] * frame.height
            for column in ("label", "_metric.margin", "_metric.complaints")]  # fmt: skip
    assert list(zip(*told, strict=True)) == expected


def test_records_of_before_are_read_beside_newer_ones() -> None:
    label = msgspec.msgpack.encode([1, 7, pack_ids([ID]), b"\x00\x00\x00\x00\x00\x00\xf0?"])
    newer = encode_labels([OTHER], [None], 9, {"margin": [2.5]})
    frame = decode_labels([Record("w0", 0, 1, label), Record("w0", 1, 2, newer)])
    assert frame.rows() == [(ID, 1.0, 7, None), (OTHER, None, 9, 2.5)]
    assert decode_labels([Record("w0", 0, 1, label)]).schema == LABEL_SCHEMA


@pytest.mark.parametrize(
    ("labels", "metrics", "said"),
    [
        ([None], {}, "expected a label, or a business metric, of each id"),
        ([None], {"margin": [None]}, "expected a label, or a business metric, of each id"),
        ([1.0], {"margin": [1.0, 2.0]}, "expected one metric 'margin' for each of 1 ids, got 2"),
        ([1.0], {"margin": [float("nan")]}, "metric 'margin': expected finite numbers"),
        ([1.0], {"margin": [-1.1e12]}, "metric 'margin': expected values of at most 1e[+]12"),
    ],
)
def test_what_is_nothing_to_log(labels: list[float | None], metrics: dict[str, list[float | None]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encode_labels([ID], labels, NOW_US, metrics)


def test_metrics_survive_a_restart(tmp_path: Path, client: AppClient, stage: Stage) -> None:
    assert client.post(LABELS, json={"id": ID, "metrics": {"margin": 7.5}}).json() == {"accepted": 1}
    before = logged(stage)
    stage.service.close()
    with open_stage(tmp_path, business={"margin": "higher"}) as again:
        assert logged(again) == before == [{"id": ID, "label": None, "_metric.margin": 7.5}]
        assert json.dumps(before)
