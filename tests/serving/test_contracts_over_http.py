"""Contracts as clients meet them: pushes that are refused whole and kept, requests refused by field; over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import polars as pl
import pytest
from app_client import AppClient, app_client
from hypothesis import given, settings
from hypothesis import strategies as st
from server_process import server
from serving_project import DEFINITION, NOW_US, champion, deploy, write_bundle, write_project

import charkha as ck
from charkha.clock import SimulatedClock, SystemClock
from charkha.features.contracts import violations
from charkha.features.data_decisions import Word
from charkha.features.feed import Feed
from charkha.features.quarantine import release_batch
from charkha.features.rows import pushed_rows
from charkha.serving.contracts import ContractBroken, request_check
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.schemas import request_frame
from charkha.serving.service import Service
from charkha.spec.project import Project, load_project
from charkha.storage.home import Home, open_home

CONTRACT = """
    contract=ck.Contract(
        fields={
            "km": ck.Expect(low=0, high=500, nulls=0),
            "city": ck.Expect(allowed=["Pune", "Delhi"], nulls=0.5),
            "asked_at": ck.Expect(low=datetime(2013, 1, 1)),
        },
        where={
            "more than a metre a stop": pl.col("km") > 0.001 * pl.col("stops"),
            "an end after the beginning": pl.col("ended_at") >= pl.col("asked_at"),
        },
    ),
"""
PREDICT, EVENTS = "/v1/models/late_trip/predict", "/v1/sources/trips/events"
ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}
EVENT = {
    "trip": 1, "city": "Pune", "driver": "ann", "km": 4.0, "stops": 2, "pooled": False,
    "asked_at": "2013-04-01T09:00:00Z", "ended_at": "2013-04-01T10:00:00Z", "late": None,
}  # fmt: skip


def bound_project(folder: Path, **replaced: str) -> Project:
    """Write the project of the serving tests with a contract on its trips."""
    write_project(folder)
    contract = CONTRACT
    for old, new in replaced.items():
        contract = contract.replace(old, new)
    (folder / "definition.py").write_text(DEFINITION.replace('    key=["trip"],\n', f'    key=["trip"],{contract}'))
    return load_project(folder)


@contextmanager
def asking(project: Project, home: Home) -> Iterator[AppClient]:
    clock, metrics = SimulatedClock(NOW_US), ServingMetrics()
    Feed(project.sources, project.views, home.log, home.online, clock).materialise(project.root, NOW_US)
    write_bundle(project, home, "v1")
    deploy(home, champion("v1"))
    service = Service(project, home, clock, "w0", metrics)
    service.refresh()
    with app_client(build_router(service, metrics, clock)) as client:
        yield client
    service.close()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return bound_project(tmp_path)


@pytest.fixture
def client(project: Project, home: Home) -> Iterator[AppClient]:
    with asking(project, home) as opened:
        yield opened


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"km": -4.0}, "km", "field 'km': expected from 0 to 500, got -4.0"),
        ({"km": None}, "km", "field 'km': expected a value in every row (nulls=0), got null"),
        ({"city": "Pnue"}, "city", "field 'city': expected one of 'Pune', 'Delhi', or null, got 'Pnue'"),
        ({"km": 0.001}, None, "body: expected more than a metre a stop, got values that are not so"),
        ({"city": "x" * 4000}, "city", f"field 'city': expected one of 'Pune', 'Delhi', or null, got '{'x' * 56}…"),
    ],
)
def test_a_request_that_breaks_the_contract_is_refused_by_field(
    client: AppClient, changes: dict[str, object], field: str | None, message: str
) -> None:
    refused = client.post(PREDICT, json={**ROW, **changes})
    assert refused.status_code == 422
    assert refused.json() == {"error": {"code": "contract_broken", "message": message, "field": field}}
    many = client.post(PREDICT, json={"rows": [ROW, {**ROW, **changes}]}).json()["error"]
    assert many["field"] == (f"rows[1].{field}" if field else "rows[1]")


def test_a_rule_that_cannot_be_computed_of_a_request_refuses_it() -> None:
    fields = {"code": str}
    contract = ck.Contract(where={"a code of digits": pl.col("code").cast(pl.Int64) > 0})
    source = ck.Source("codes", {**fields, "at": datetime}, time="at", key="code", contract=contract)
    model = ck.Model(
        "m", label=ck.Label(source, pl.col("code") == "1", at="at", delay="1h"), request=["code"], features=[],
        estimator=ck.Linear(), purpose="a test", owner="us",
    )  # fmt: skip
    check = request_check(model)
    assert check is not None
    check.refuse([("12",)], request_frame(fields, [("12",)]), is_many=False)
    with pytest.raises(ContractBroken, match="body: expected a code of digits"):
        check.refuse([("x",)], request_frame(fields, [("x",)]), is_many=False)


def test_a_request_that_keeps_it_is_answered(client: AppClient) -> None:
    for changes in ({}, {"km": 0.5}, {"km": 500}, {"city": None}, {"stops": None}):
        assert client.post(PREDICT, json={**ROW, **changes}).status_code == 200


def test_requests_may_be_accepted_as_they_are(tmp_path: Path) -> None:
    project = bound_project(tmp_path, **{"        where=": '        requests="accept",\n        where='})
    with open_home(project.home) as home, asking(project, home) as client:
        assert client.post(PREDICT, json={**ROW, "km": -4.0}).status_code == 200
        assert client.post(EVENTS, json={**EVENT, "km": -4.0}).status_code == 422


def test_a_model_without_a_contract_is_not_checked(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    assert request_check(project.models["late_trip"]) is None
    only_whole = ck.Contract(max_age="1h", fields={"late": ck.Expect(nulls=0.5)})
    model = project.models["late_trip"]
    assert request_check(bound(model, only_whole)) is None


def bound(model: ck.Model, contract: ck.Contract) -> ck.Model:
    source = attrs.evolve(model.label.source, contract=contract)
    return attrs.evolve(model, label=attrs.evolve(model.label, source=source))


def test_a_push_that_breaks_the_contract_is_kept_and_not_applied(client: AppClient, home: Home) -> None:
    before = client.post(PREDICT, json=ROW).json()["score"]
    end = home.log.end("events/trips")
    refused = client.post(EVENTS, json={"rows": [EVENT, {**EVENT, "trip": 2, "km": -4.0}, {**EVENT, "trip": 3}]})
    assert refused.status_code == 422
    error = refused.json()["error"]
    assert (error["code"], error["field"]) == ("quarantined", "rows[1].km")
    assert error["message"].startswith("source 'trips': expected km from 0 to 500, got 1 of 3 rows that are not so")
    assert error["violations"] == [
        {
            "rule": rule,
            "column": column,
            "broken": 1,
            "rows": [1],
            "message": f"expected {rule}, got 1 of 3 rows that are not so, such as {such}",
        }
        for rule, column, such in (
            ("km from 0 to 500", "km", "-4.0 in row 1"),
            ("more than a metre a stop", None, "row 1"),
        )
    ]
    assert home.quarantine.rows(error["quarantine"]).height == 3
    assert (home.log.end("events/trips"), client.post(PREDICT, json=ROW).json()["score"]) == (end, before)
    assert client.post(EVENTS, json=EVENT).json()["accepted"] == 1
    assert client.post(PREDICT, json=ROW).json()["score"] > before
    shown = client.get("/metrics").text
    assert 'charkha_events_total{outcome="quarantined",source="trips"} 3.0' in shown
    assert 'charkha_events_total{outcome="accepted",source="trips"} 1.0' in shown


def test_shares_and_the_past_are_not_asked_of_a_push(client: AppClient) -> None:
    assert client.post(EVENTS, json={**EVENT, "city": None}).json()["accepted"] == 1


def test_the_document_shows_both_refusals(client: AppClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    either = paths[EVENTS]["post"]["responses"]["422"]["content"]["application/json"]["schema"]["anyOf"]
    assert [one["$ref"].rpartition("/")[2] for one in either] == ["Error", "EventsRefused"]


def test_over_a_real_server_a_push_is_kept_released_and_then_taken(project: Project, home: Home) -> None:
    write_bundle(project, home, "v1")
    deploy(home, champion("v1"))
    rows = {"rows": [EVENT, {**EVENT, "trip": 2, "km": 501}]}
    with server(project.root) as running:
        client = running.client()
        status, answer = client.post(EVENTS, rows)
        assert (status, answer["error"]["code"]) == (422, "quarantined")
        name = answer["error"]["quarantine"]
        assert client.post(EVENTS, rows)[1]["error"]["quarantine"] == name
        assert pushed_rows(project.sources["trips"], home.log).is_empty()
        assert client.post(PREDICT, {**ROW, "km": 501})[0] == 422
        source, clock = project.sources["trips"], SystemClock()
        feed = Feed(project.sources, project.views, home.log, home.online, clock)
        release_batch(home, feed, source, name, Word("asha", "a long way, but true", clock.now()))
        assert pushed_rows(source, home.log)["trip"].to_list() == [1, 2]
        status, answer = client.post(EVENTS, rows)
        assert (status, answer["accepted"], answer["duplicates"]) == (200, 0, 2)
        assert client.post(EVENTS, {**EVENT, "trip": 3})[0] == 200
        client.close()
    actions = [decision.action for decision in home.ledger.decisions() if decision.model == "source trips"]
    assert actions == ["quarantine", "release"]


values = st.tuples(
    st.sampled_from(["Pune", "Delhi", "Goa", None]),
    st.none() | st.sampled_from([-1.0, 0.0, 0.001, 500.0, 500.5]) | st.floats(-10, 600),
    st.none() | st.integers(-3, 2000),
    st.none() | st.booleans(),
)


@settings(deadline=None)
@given(st.lists(values, min_size=1, max_size=5))
def test_requests_are_judged_as_rows_are(rows: list[tuple[Any, ...]]) -> None:
    """The check by field, which is plain Python, agrees with that of tables, which is Polars."""
    fields = {"city": str, "km": float, "stops": int, "pooled": bool}
    expected = {"km": ck.Expect(low=0, high=500, nulls=0), "city": ck.Expect(allowed=["Pune", "Delhi"])}
    contract = ck.Contract(fields=expected, where={"far": pl.col("km") > 0.001 * pl.col("stops")})
    source = ck.Source("trips", {**fields, "at": datetime}, time="at", key="stops", contract=contract)
    model = ck.Model(
        "late", label=ck.Label(source, pl.col("pooled"), at="at", delay="1h"), request=list(fields), features=[],
        estimator=ck.Linear(), purpose="a test", owner="us",
    )  # fmt: skip
    check, frame = request_check(model), request_frame(fields, rows)
    assert check is not None
    broken = violations(frame.with_columns(at=pl.lit(datetime(2024, 1, 1, tzinfo=UTC))), source)
    if not broken:
        check.refuse(rows, frame, is_many=True)
        return
    with pytest.raises(ContractBroken) as error:
        check.refuse(rows, frame, is_many=True)
    of_fields = [place for violation in broken if violation.column for place in violation.places]
    first = min(of_fields or broken[0].places)
    assert str(error.value.refusal.field).startswith(f"rows[{first}]")
