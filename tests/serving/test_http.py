"""The routes: what goes in and out, and that the page and the document stand on their own."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from app_client import AppClient, app_client
from serving_project import HOUR_US, NOW_US, Stage, champion, deploy, write_bundle

from charkha.bundles.store import BundleStore
from charkha.serving.batcher import MOST_ROWS
from charkha.serving.body import Limits
from charkha.serving.calls import Call, Disconnected
from charkha.serving.http import build_router
from charkha.serving.labels import decode_labels, label_stream
from charkha.serving.metrics import ServingMetrics
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.router import Router
from charkha.spec.project import load_project
from charkha.storage.ledger import Assignment

PREDICT = "/v1/models/late_trip/predict"
LABELS = "/v1/models/late_trip/labels"
EVENTS = "/v1/sources/trips/events"
ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}
EVENT = {
    "trip": 1, "city": "Pune", "driver": "ann", "km": 4.0, "stops": 2, "pooled": False,
    "asked_at": "2013-04-01T09:00:00Z", "ended_at": "2013-04-01T10:00:00Z", "late": None,
}  # fmt: skip


@pytest.fixture
def router(stage: Stage, metrics: ServingMetrics) -> Router:
    return build_router(stage.service, metrics, stage.clock, limits=Limits(body_seconds=0.2))


@pytest.fixture
def client(router: Router) -> Iterator[AppClient]:
    with app_client(router) as opened:
        yield opened


def test_one_object_is_answered_by_one(client: AppClient, stage: Stage) -> None:
    answer = client.post(PREDICT, json=ROW).json()
    frame = decode_predictions(stage.home.log.read(prediction_stream("late_trip")), BundleStore(stage.home.bundles))
    assert answer == {
        "id": frame["id"].item(),
        "score": frame["score"].item(),
        "decision": False,
        "rules": [],
        "model": "late_trip",
        "version": "v1",
        "role": "champion",
        "fallback": None,
        "time": "2013-04-01T12:00:00Z",
    }


@pytest.mark.parametrize("count", [1, 3, MOST_ROWS + 1])
def test_many_rows_are_answered_in_their_order(client: AppClient, count: int) -> None:
    client.post(EVENTS, json=EVENT)
    rows = [{**ROW, "city": "Pune" if number % 2 else "Delhi"} for number in range(count)]
    answers = client.post(PREDICT, json={"rows": rows}).json()["predictions"]
    assert [answer["score"] > 0.3 for answer in answers] == [row["city"] == "Pune" for row in rows]
    assert len({answer["id"] for answer in answers}) == count


def test_events_change_the_next_prediction_and_count_once(client: AppClient) -> None:
    before = client.post(PREDICT, json=ROW).json()["score"]
    told = client.post(EVENTS, json={"rows": [EVENT, {**EVENT, "trip": 2}, EVENT]}).json()
    assert told == {"accepted": 2, "corrections": 0, "duplicates": 1, "known": "2013-04-01T12:00:00Z"}
    after = client.post(PREDICT, json=ROW).json()["score"]
    assert after > before
    assert client.post(EVENTS, json={**EVENT, "km": 5.0}).json()["corrections"] == 1
    assert client.post(PREDICT, json=ROW).json()["score"] == after


def test_labels_go_by_the_ids_of_predictions(client: AppClient, stage: Stage) -> None:
    ids = [answer["id"] for answer in client.post(PREDICT, json={"rows": [ROW, ROW]}).json()["predictions"]]
    rows = [{"id": ids[0], "label": True}, {"id": ids[1].upper(), "label": 0}]
    assert client.post(LABELS, json={"rows": rows}).json() == {"accepted": 2}
    assert client.post(LABELS, json={"id": ids[1], "label": 1}).json() == {"accepted": 1}
    frame = decode_labels(stage.home.log.read(label_stream("late_trip")))
    assert frame.rows() == [(ids[0], 1.0, NOW_US), (ids[1], 0.0, NOW_US), (ids[1], 1.0, NOW_US)]


def test_a_model_nobody_serves_says_when_to_come_again(client: AppClient) -> None:
    response = client.post("/v1/models/how_far/predict", json={"city": "Pune", "stops": 1})
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert response.json()["error"]["code"] == "no_champion"


def test_models_tells_who_serves(client: AppClient, stage: Stage) -> None:
    write_bundle(stage.project, stage.home, "v2")
    deploy(stage.home, Assignment("v1", "champion", 0.9), Assignment("v2", "challenger", 0.1))
    stage.service.refresh()
    late, far = client.get("/v1/models").json()["models"]
    assert late["generation"] == 2
    assert late["versions"] == [
        {"version": "v1", "role": "champion", "share": 0.9, "rules": []},
        {"version": "v2", "role": "challenger", "share": 0.1, "rules": []},
    ]
    assert (far["versions"], far["problem"], far["task"]) == ([], None, "regression")


def test_readiness_follows_the_deployment(client: AppClient, stage: Stage) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["champions"]) == (200, {"late_trip": "v1", "how_far": None})
    deploy(stage.home, champion("v9"))
    stage.service.refresh()
    still = client.get("/readyz")
    assert (still.status_code, still.json()["ready"]) == (200, True)
    assert "generation 2 could not be loaded: UnknownBundle" in still.json()["problems"]["late_trip"]
    assert client.post(PREDICT, json=ROW).status_code == 200


def test_an_error_nobody_foresaw_is_a_500_without_its_secrets(
    client: AppClient, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.service.line_ups()["late_trip"].champion.bundle.predictor._state = None  # type: ignore[attr-defined]
    response = client.post(PREDICT, json=ROW)
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal")
    assert "NoneType" not in response.text
    assert "NoneType" in caplog.text


def test_metrics_count_what_happened(client: AppClient, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    write_bundle(stage.project, stage.home, "v2")
    deploy(stage.home, champion("v1"), Assignment("v2", "shadow", 1.0))
    stage.service.refresh()
    (shadow,) = stage.service.line_ups()["late_trip"].shadows
    shadow.bundle.predictor._state = None  # type: ignore[attr-defined]
    client.post(EVENTS, json={"rows": [EVENT, EVENT]})
    stage.clock.advance_to(NOW_US + HOUR_US)
    ids = [
        answer["id"]
        for _ in range(2)
        for answer in client.post(PREDICT, json={"rows": [ROW] * 3}).json()["predictions"]
    ]
    client.post(LABELS, json={"id": ids[0], "label": 1})
    client.post(PREDICT, json={})
    client.get("/secret/path")
    text = client.get("/metrics").text
    for line in (
        'charkha_http_requests_total{route="/v1/models/{model}/predict",status="200"} 2.0',
        'charkha_http_requests_total{route="/v1/models/{model}/predict",status="422"} 1.0',
        'charkha_http_requests_total{route="none",status="404"} 1.0',
        'charkha_prediction_rows_sum{model="late_trip"} 6.0',
        'charkha_prediction_seconds_count{model="late_trip"} 2.0',
        'charkha_events_total{outcome="accepted",source="trips"} 1.0',
        'charkha_events_total{outcome="duplicates",source="trips"} 1.0',
        'charkha_labels_total{model="late_trip"} 1.0',
        'charkha_version_failures_total{model="late_trip",role="shadow",version="v2"} 2.0',
        'charkha_version_share{model="late_trip",role="champion",version="v1"} 1.0',
        'charkha_deployment_generation{model="late_trip"} 2.0',
        'charkha_source_age_seconds{source="trips"} 3600.0',
    ):
        assert line in text
    assert "secret" not in text
    assert caplog.text.count("shadow v2 of model late_trip failed") == 1


def test_a_feature_that_cannot_be_evaluated_is_counted_and_never_loses_a_request(
    client: AppClient, stage: Stage, metrics: ServingMetrics, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    definition = (tmp_path / "definition.py").read_text()
    changed = definition.replace('pl.col("asked_at").dt.hour()', 'pl.col("city").cast(pl.Int8), defaults={"hour": 12}')
    (tmp_path / "definition.py").write_text(changed)
    write_bundle(load_project(tmp_path), stage.home, "v2")
    deploy(stage.home, champion("v2"))
    stage.service.refresh()
    rows = [{**ROW, "city": city} for city in ("Pune", "7", None, "999")]
    for body in ({"rows": rows}, rows[0], rows[1]):
        assert client.post(PREDICT, json=body).status_code == 200
    stage.clock.advance_to(NOW_US + 59_999_999)
    assert client.post(PREDICT, json=rows[0]).status_code == 200
    frame = decode_predictions(stage.home.log.read(prediction_stream("late_trip")), BundleStore(stage.home.bundles))
    assert frame["ask.hour"].to_list() == [12.0, 7.0, None, 12.0, 12.0, 7.0, 12.0]
    counted = 'charkha_request_feature_failures_total{feature="ask.hour",model="late_trip"} 4.0'
    assert counted in client.get("/metrics").text
    assert caplog.text.count("ask.hour could not be evaluated for 2 of 4 rows") == 1
    assert caplog.text.count("could not be evaluated") == 1
    stage.clock.advance_to(NOW_US + 60_000_000)
    client.post(PREDICT, json=rows[0])
    assert caplog.text.count("could not be evaluated") == 2


def test_every_reference_of_the_document_resolves(client: AppClient) -> None:
    document = client.get("/openapi.json").json()
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    references = re.findall(r'"\$ref":"([^"]+)"', client.get("/openapi.json").text)
    assert set(references) <= known
    assert {path for path in document["paths"] if path.startswith("/v1/")} == {
        "/v1/models",
        PREDICT,
        LABELS,
        "/v1/models/late_trip/invocations",
        "/v1/models/how_far/predict",
        "/v1/models/how_far/labels",
        "/v1/models/how_far/invocations",
        EVENTS,
    }
    ids = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
        if "operationId" in operation
    ]
    assert len(ids) == len(set(ids)) == 11


def test_the_document_has_the_types_of_the_definition(client: AppClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    row = schemas["late_trip_request"]
    assert (row["required"], row["additionalProperties"]) == (["city", "km", "stops", "pooled"], False)
    assert row["properties"]["km"] == {"anyOf": [{"type": "number"}, {"type": "null"}]}
    assert row["properties"]["stops"]["anyOf"][0]["type"] == "integer"
    event = schemas["trips_event"]["properties"]
    assert event["ended_at"] == {"type": "string", "format": "date-time"}
    assert event["trip"]["type"] == "integer"


def test_every_example_of_the_document_is_accepted(client: AppClient, stage: Stage) -> None:
    write_bundle(stage.project, stage.home, "v1", name="how_far")
    deploy(stage.home, champion("v1"), model="how_far")
    stage.service.refresh()
    document = client.get("/openapi.json").json()
    posts = {path: methods["post"] for path, methods in document["paths"].items() if "post" in methods}
    for path, operation in posts.items():
        example = operation["requestBody"]["content"]["application/json"]["example"]
        assert client.post(path.replace("{version}", "v1"), json=example).status_code == 200, path


def test_the_docs_page_shows_all_and_loads_nothing(client: AppClient) -> None:
    response = client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    page = response.text
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in page
    assert "<td>integer or null</td>" in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert "<link" not in page
    assert "@import" not in page


class SlowBody:
    """A body whose second part never comes."""

    async def whole(self) -> bytes:
        return b"".join([part async for part in self.parts()])

    async def parts(self) -> AsyncIterator[bytes]:
        yield b'{"city"'
        await asyncio.sleep(60)


class CutBody(SlowBody):
    """A body whose client goes away."""

    async def parts(self) -> AsyncIterator[bytes]:
        yield b'{"city"'
        raise Disconnected


@pytest.mark.parametrize(("body", "status"), [(SlowBody(), 408), (CutBody(), 400)])
@pytest.mark.parametrize("headers", [{}, {"content-length": "50"}])
def test_a_body_that_does_not_come_makes_room(
    router: Router, body: SlowBody, status: int, headers: dict[str, str]
) -> None:
    call = Call("POST", PREDICT, {"content-type": "application/json", **headers}, body)
    assert asyncio.run(router.reply(call)).status == status


def test_a_body_in_many_parts_is_one_body(client: AppClient) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for character in b'{"city": "Pune", "km": 1, "stops": 2, "pooled": null}':
            yield bytes((character,))

    assert client.post(PREDICT, content=parts(), headers={"content-type": "application/json"}).status_code == 200
