"""Hostile input: whatever comes, the answer is a 4xx that names the field, at once, and nothing is logged."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from app_client import AppClient, app_client
from serving_project import NOW_US, Stage, open_stage

from charkha.serving.body import Limits
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.prediction_log import prediction_stream

PREDICT = "/v1/models/late_trip/predict"
LABELS = "/v1/models/late_trip/labels"
EVENTS = "/v1/sources/trips/events"
ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}
GOOD = json.dumps(ROW)
EVENT = {
    "trip": 1, "city": "Pune", "driver": "ann", "km": 4.0, "stops": 2, "pooled": False,
    "asked_at": "2013-04-01T09:00:00Z", "ended_at": "2013-04-01T10:00:00Z", "late": False,
}  # fmt: skip
ID = "013dc2cb-b400-7000-8000-000000000000"
LIMITS = Limits(rows=50, body_bytes=300_000, body_seconds=0.2)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("project")) as opened:
        yield opened


@pytest.fixture(scope="module")
def client(stage: Stage) -> Iterator[AppClient]:
    app = build_router(stage.service, ServingMetrics(), stage.clock, limits=LIMITS)
    with app_client(app) as client:
        yield client


def with_value(field: str, value: str) -> str:
    """Return a body with a raw piece of JSON, or of something else, as the value of a field."""
    return "{" + ", ".join(f'"{name}": {value if name == field else json.dumps(v)}' for name, v in ROW.items()) + "}"


def without(field: str) -> str:
    return json.dumps({name: value for name, value in ROW.items() if name != field})


# What it is → (body, status, field to blame)
BODIES: dict[str, tuple[str | bytes, int, str | None]] = {
    "empty": (b"", 400, None),
    "spaces": (b"   ", 400, None),
    "null": ("null", 422, None),
    "array": (f"[{GOOD}]", 422, None),
    "string": ('"city"', 422, None),
    "number": ("7", 422, None),
    "truncated": (GOOD[:-5], 400, None),
    "truncated in a string": (GOOD[:10], 400, None),
    "trailing junk": (f"{GOOD} x", 400, None),
    "two documents": (GOOD + GOOD, 400, None),
    "single quotes": (GOOD.replace('"', "'"), 400, None),
    "trailing comma": (GOOD.replace("}", ",}"), 400, None),
    "comment": (f"/* hello */ {GOOD}", 400, None),
    "form": ("city=Pune&km=1", 400, None),
    "xml": ("<city>Pune</city>", 400, None),
    "duplicate field": (with_value("city", '"Pune", "city": "Delhi"'), 400, "city"),
    "duplicate field, escaped": (with_value("city", '"Pune", "\\u0063ity": "Delhi"'), 400, "city"),
    "duplicate rows": (f'{{"rows": [{GOOD}], "rows": [{GOOD}]}}', 400, "rows"),
    "deep arrays as a field": (with_value("city", "[" * 100_000), 422, "city"),
    "deep objects as a field": (with_value("km", '{"a":' * 40_000), 422, "km"),
    "deep unknown field": ('{"x":' + "[" * 100_000, 422, "x"),
    "deep body": ("[" * 100_000, 422, None),
    "deep rows": ('{"rows":' + "[" * 100_000, 422, "rows[0]"),
    "too many rows": (json.dumps({"rows": [ROW] * 51}), 413, "rows"),
    "array of many nulls": (f'{{"rows": [{",".join(["null"] * 10_000)}]}}', 422, "rows[0]"),
    "no rows": ('{"rows": []}', 422, "rows"),
    "rows is null": ('{"rows": null}', 422, "rows"),
    "rows is an object": (f'{{"rows": {GOOD}}}', 422, "rows"),
    "rows and more": (f'{{"rows": [{GOOD}], "city": "Pune"}}', 422, "city"),
    "a bad row among good ones": (f'{{"rows": [{GOOD}, {with_value("km", "[]")}]}}', 422, "rows[1].km"),
    "NaN": (with_value("km", "NaN"), 400, "km"),
    "Infinity": (with_value("km", "Infinity"), 400, "km"),
    "minus Infinity": (with_value("km", "-Infinity"), 400, "km"),
    "1e999": (with_value("km", "1e999"), 422, "km"),
    "5000 digits for a decimal": (with_value("km", "1" * 5000), 422, "km"),
    "5000 digits for an integer": (with_value("stops", "1" * 5000), 422, "stops"),
    "2**63": (with_value("stops", str(2**63)), 422, "stops"),
    "-2**63-1": (with_value("stops", str(-(2**63) - 1)), 422, "stops"),
    "5411.7 for an integer": (with_value("stops", "5411.7"), 422, "stops"),
    "5411.0 for an integer": (with_value("stops", "5411.0"), 422, "stops"),
    "1e3 for an integer": (with_value("stops", "1e3"), 422, "stops"),
    "hexadecimal": (with_value("stops", "0x10"), 400, None),
    "leading zero": (with_value("stops", "012"), 400, None),
    "boolean for an integer": (with_value("stops", "true"), 422, "stops"),
    "boolean for a decimal": (with_value("km", "false"), 422, "km"),
    "quoted number": (with_value("km", '"1.5"'), 422, "km"),
    "quoted boolean": (with_value("pooled", '"true"'), 422, "pooled"),
    "number for a boolean": (with_value("pooled", "1"), 422, "pooled"),
    "number for text": (with_value("city", "411001"), 422, "city"),
    "object for a scalar": (with_value("city", '{"name": "Pune"}'), 422, "city"),
    "array for a scalar": (with_value("city", '["Pune"]'), 422, "city"),
    "long text": (with_value("city", f'"{"x" * 5000}"'), 422, "city"),
    "missing field": (without("stops"), 422, "stops"),
    "unknown field": (with_value("city", '"Pune", "late": true'), 422, "late"),
    "field in capitals": (with_value("city", '"Pune"').replace("city", "City"), 422, "City"),
    "empty field name": (with_value("city", '"Pune", "": 1'), 422, ""),
    "prototype": (with_value("city", '"Pune", "__proto__": {}'), 422, "__proto__"),
    "endless field name": (f'{{"{"x" * 200_000}": 1}}', 422, "x" * 200 + "…" + "x" * 200),
    "bad UTF-8": (GOOD.encode().replace(b"Pune", b"P\xffne"), 400, "city"),
    "bad UTF-8 in a field name": (GOOD.encode().replace(b"city", b"c\xffty"), 400, None),
    "overlong UTF-8": (GOOD.encode().replace(b"Pune", b"\xc0\xaf"), 400, "city"),
    "UTF-16": (GOOD.encode("utf-16"), 400, None),
    "BOM": (b"\xef\xbb\xbf" + GOOD.encode(), 400, None),
    "lone surrogate": (with_value("city", '"\\ud800"'), 400, "city"),
    "lone surrogate as bytes": (GOOD.encode().replace(b"Pune", b"\xed\xa0\x80"), 400, "city"),
    "NUL in text": (with_value("city", '"Pu\\u0000ne"'), 400, "city"),
    "raw NUL": (GOOD.encode().replace(b"Pune", b"Pu\x00ne"), 400, None),
    "raw newline in text": (GOOD.replace("Pune", "Pu\nne"), 400, None),
    "gzip bytes": (b"\x1f\x8b\x08\x00" + b"\x00" * 20, 400, None),
    "oversize": (with_value("city", f'"{"x" * 400_000}"'), 413, None),
}


@pytest.mark.parametrize("what", BODIES)
def test_a_hostile_body_is_refused(client: AppClient, stage: Stage, what: str) -> None:
    body, status, field = BODIES[what]
    end = stage.home.log.end(prediction_stream("late_trip"))
    started = time.perf_counter()
    response = client.post(PREDICT, content=body, headers={"content-type": "application/json"})
    assert time.perf_counter() - started < 2
    assert response.status_code == status
    error = response.json()["error"]
    assert error["field"] == field
    assert error["code"]
    assert "expected" in error["message"]
    if field:
        assert field[:100] in error["message"]
    assert len(response.content) < 2000
    assert stage.home.log.end(prediction_stream("late_trip")) == end


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        (EVENTS, {**EVENT, "trip": None}, 422, "trip"),
        (EVENTS, {**EVENT, "ended_at": None}, 422, "ended_at"),
        (EVENTS, {**EVENT, "ended_at": "9999-99-99T00:00:00Z"}, 422, "ended_at"),
        (EVENTS, {**EVENT, "ended_at": 1_364_774_400}, 422, "ended_at"),
        (EVENTS, {**EVENT, "ended_at": "0001-01-01T00:00:00+23:59"}, 422, "ended_at"),
        (EVENTS, {"rows": [EVENT, {**EVENT, "asked_at": "9999-12-31T23:59:59-00:01"}]}, 422, "rows[1].asked_at"),
        (EVENTS, {"rows": [EVENT, {**EVENT, "km": "far"}]}, 422, "rows[1].km"),
        (EVENTS, {**EVENT, "tip": 1}, 422, "tip"),
        (LABELS, {"id": ID}, 422, "label"),
        (LABELS, {"id": "../../etc/passwd", "label": True}, 422, "id"),
        (LABELS, {"id": 5, "label": True}, 422, "id"),
        (LABELS, {"id": ID, "label": "yes"}, 422, "label"),
        (LABELS, {"id": ID, "label": 0.5}, 422, "label"),
        (LABELS, {"rows": [{"id": ID, "label": 1}, {"id": None, "label": 1}]}, 422, "rows[1].id"),
    ],
)
def test_hostile_events_and_labels_are_refused(
    client: AppClient, stage: Stage, path: str, body: object, status: int, field: str
) -> None:
    ends = {stream: stage.home.log.end(stream) for stream in stage.home.log.streams()}
    response = client.post(path, json=body)
    assert (response.status_code, response.json()["error"]["field"]) == (status, field)
    assert {stream: stage.home.log.end(stream) for stream in stage.home.log.streams()} == ends


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 415, "unsupported_type"),
        ({"content-type": "text/plain"}, 415, "unsupported_type"),
        ({"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported_type"),
        ({"content-type": "multipart/form-data; boundary=x"}, 415, "unsupported_type"),
        ({"content-type": "application/json; charset=latin-1"}, 415, "unsupported_type"),
        ({"content-type": "application/jsonp"}, 415, "unsupported_type"),
        ({"content-type": ";;;=,"}, 415, "unsupported_type"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415, "unsupported_type"),
        ({"content-type": "application/json", "content-encoding": "br, gzip"}, 415, "unsupported_type"),
        ({"content-type": "application/json", "content-length": "9" * 30}, 413, "body_too_large"),
    ],
)
def test_hostile_headers_are_refused(client: AppClient, headers: dict[str, str], status: int, code: str) -> None:
    response = client.post(PREDICT, content=GOOD, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf8"']
)
def test_json_may_be_named_in_its_usual_ways(client: AppClient, kind: str) -> None:
    assert client.post(PREDICT, content=GOOD, headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", PREDICT, 405, "method_not_allowed"),
        ("PUT", PREDICT, 405, "method_not_allowed"),
        ("DELETE", EVENTS, 405, "method_not_allowed"),
        ("PATCH", LABELS, 405, "method_not_allowed"),
        ("OPTIONS", PREDICT, 405, "method_not_allowed"),
        ("TRACE", "/healthz", 405, "method_not_allowed"),
        ("POST", "/readyz", 405, "method_not_allowed"),
        ("POST", "/v1/models/early/predict", 404, "unknown_model"),
        ("POST", "/v1/models/early/labels", 404, "unknown_model"),
        ("POST", "/v1/models/..%2f..%2fetc%2fpasswd/predict", 404, "not_found"),
        ("POST", "/v1/models/..%5c..%5cetc/predict", 404, "unknown_model"),
        ("POST", "/v1/models/../../../etc/passwd", 404, "not_found"),
        ("POST", "/v1/models/%2e%2e/predict", 404, "unknown_model"),
        ("POST", "/v1/models/late_trip%00/predict", 404, "unknown_model"),
        ("POST", "/v1/models/%ff%fe/predict", 404, "unknown_model"),
        ("POST", "/v1/models/" + "a" * 5000 + "/predict", 404, "unknown_model"),
        ("POST", "/v1/models//predict", 404, "not_found"),
        ("POST", "/v1/models/late_trip/predict/", 404, "not_found"),
        ("POST", "/v1/sources/flights/events", 404, "unknown_source"),
        ("POST", "/v1/sources/weather/events", 409, "not_pushable"),
        ("GET", "/docs/../../etc/passwd", 404, "not_found"),
        ("GET", "/.env", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
    ],
)
def test_hostile_paths_and_methods_are_refused(
    client: AppClient, method: str, path: str, status: int, code: str
) -> None:
    weather = {"city": "Pune", "rain": 1.0, "seen_at": "2013-04-01T10:00:00Z"}
    response = client.request(method, path, json=weather if "weather" in path else ROW)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert len(response.content) < 1000


def test_a_body_that_never_ends_is_cut(client: AppClient) -> None:
    async def endless() -> Any:
        while True:
            yield b" " * 10_000

    response = client.post(PREDICT, content=endless(), headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


def test_after_all_that_it_still_answers(client: AppClient) -> None:
    response = client.post(PREDICT, json=ROW)
    assert (response.status_code, response.json()["version"]) == (200, "v1")
    assert response.json()["time"] == "2013-04-01T12:00:00Z"
    assert NOW_US
