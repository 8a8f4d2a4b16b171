"""The clients at real servers: what they ask is answered, typed; overload, deaths, slowness and faults are met."""

import asyncio
import math
import re
import threading
import time
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from server_process import ServerProcess, free_port, server, start_server

import charkha as ck
from charkha.bundles.store import BundleStore
from charkha.client import answers
from charkha.client.errors import (
    InvalidRequest,
    KeyReused,
    Overloaded,
    Unavailable,
    UnknownModel,
    UnknownSource,
    Unreachable,
    WrongCall,
)
from charkha.serving import responses
from charkha.serving.labels import decode_labels, label_stream
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home

MODEL = "late_trip"
ROW: dict[str, Any] = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}


def event(number: int) -> dict[str, Any]:
    times = {"asked_at": datetime(2013, 4, 1, 9), "ended_at": date(2013, 4, 1)}
    told = {"trip": np.int64(number), "city": "Pune", "driver": "ann", "km": math.nan, "stops": 2, "pooled": False}
    return {**told, "late": None, **times}


@pytest.fixture
def running(project: Project) -> Iterator[ServerProcess]:
    with server(project.root) as started:
        yield started


def address(running: ServerProcess) -> str:
    return f"http://127.0.0.1:{running.port}"


def logged(home: Home) -> list[str]:
    frame = decode_predictions(home.log.read(prediction_stream(MODEL)), BundleStore(home.bundles))
    return sorted(frame["id"].to_list())


def test_everything_that_can_be_asked(running: ServerProcess, project: Project) -> None:
    with ck.Client(address(running)) as client:
        assert client.ready() == answers.Ready(
            True,
            {MODEL: "v1", "how_far": None},
            {},
            notices=["model how_far has no champion: train one with charkha train"],
        )
        assert [(model.model, len(model.versions)) for model in client.models()] == [(MODEL, 1), ("how_far", 0)]
        pushed = client.push("trips", [event(1), event(2), event(1)])
        assert (pushed.accepted, pushed.duplicates) == (2, 1)
        assert client.push("trips", event(2)).duplicates == 1
        one = client.predict(MODEL, {**ROW, "km": np.float64("nan"), "stops": np.int32(3)})
        assert (one.model, one.version, one.role, one.decision) == (MODEL, "v1", "champion", True)
        assert client.predict(MODEL, []) == []
        many = client.predict(MODEL, (ROW for _ in range(3)))
        assert client.label(MODEL, [one.id, many[2].id], [True, False]) == answers.Labelled(2)
    with open_home(project.home) as home:
        assert logged(home) == sorted([one.id, *(each.id for each in many)])
        assert decode_labels(home.log.read(label_stream(MODEL)))["id"].to_list() == [one.id, many[2].id]


def test_the_example_of_the_page_runs(running: ServerProcess) -> None:
    """With the fields of the project that is here."""
    page = (Path(__file__).parents[2] / "docs" / "client.md").read_text("utf-8")
    code = page.split("```python sketch\n")[1].split("```")[0]
    code = re.sub(r'"late", \{.*?\}', f'"late_trip", {ROW}', code).replace('"late"', '"late_trip"')
    code = code.replace("http://127.0.0.1:8000", address(running)).replace('"flights", rows', '"trips", events')
    told: dict[str, Any] = {"ck": ck, "rows": [ROW] * 3, "events": [event(1)]}
    exec(code, told)
    assert isinstance(told["one"], answers.Prediction)
    assert len(told["many"]) == 3


def test_many_rows_are_cut_into_calls_and_answered_in_order(running: ServerProcess, project: Project) -> None:
    async def ask(rows: list[dict[str, Any]]) -> list[answers.Prediction]:
        async with ck.AsyncClient(address(running), rows_per_call=100) as client:
            return await client.predict(MODEL, rows)

    with ck.Client(address(running), rows_per_call=100) as client:
        client.push("trips", [event(number) for number in range(250)])
        rows = [{**ROW, "city": "Pune" if number % 3 else "Delhi"} for number in range(1050)]
        for found in (client.predict(MODEL, rows), asyncio.run(ask(rows))):
            assert len({each.id for each in found}) == 1050
            scores = {row["city"]: each.score for row, each in zip(rows, found, strict=True)}
            assert [each.score for each in found] == [scores[row["city"]] for row in rows]
            assert len({*scores.values()}) == 2


def test_what_is_refused_says_why(running: ServerProcess) -> None:
    with ck.Client(address(running), retries=0) as client:
        with pytest.raises(InvalidRequest, match=r"rows\[1\].km.: expected a number or null, got text") as wrong:
            client.predict(MODEL, [ROW, {**ROW, "km": "far"}])
        assert (wrong.value.status, wrong.value.kind, wrong.value.field) == (422, "invalid", "rows[1].km")
        assert len(wrong.value.request_id) == 32
        with pytest.raises(UnknownModel, match="how_far"):
            client.predict("late", ROW)
        with pytest.raises(UnknownSource):
            client.push("buses", event(1))
        with pytest.raises(Unavailable, match="none serves"):
            client.predict("how_far", {"city": "Pune", "stops": 1})
        with pytest.raises(WrongCall, match="`km`: expected a value that JSON has"):
            client.predict(MODEL, {**ROW, "km": object()})
        client.predict(MODEL, ROW, idempotency_key="order-1")
        with pytest.raises(KeyReused, match="Make a key for each call"):
            client.predict(MODEL, {**ROW, "km": 2.0}, idempotency_key="order-1")


def test_reasons_may_be_asked_for(running: ServerProcess, project: Project) -> None:
    async def ask() -> list[answers.Prediction]:
        async with ck.AsyncClient(address(running), batch_ms=5, rows_per_call=2) as client:
            return [await client.predict(MODEL, ROW, reasons=1), *await client.predict(MODEL, [ROW] * 3, reasons=1)]

    with ck.Client(address(running)) as client:
        one = client.predict(MODEL, ROW, reasons=2)
        found = [one, *client.predict(MODEL, [ROW] * 3, reasons=1), *asyncio.run(ask())]
        with pytest.raises(InvalidRequest, match="from 1 to 50, got '51'"):
            client.predict(MODEL, ROW, reasons=51)
    assert len(found) == 8
    with open_home(project.home) as home:
        assert {each.id for each in found} == {*logged(home)}


def test_a_bad_row_is_counted_as_the_caller_counts(running: ServerProcess) -> None:
    rows = [ROW] * 250 + [{**ROW, "km": "far"}]
    with ck.Client(address(running), rows_per_call=100) as client:
        with pytest.raises(InvalidRequest, match=r"'rows\[250\].km': expected a number or null") as wrong:
            client.predict(MODEL, rows)
        assert wrong.value.field == "rows[250].km"


def test_single_predictions_of_an_event_loop_become_one_call(running: ServerProcess, project: Project) -> None:
    async def ask() -> list[answers.Prediction | BaseException]:
        async with ck.AsyncClient(address(running), batch_ms=20) as client:
            rows = [ROW, ROW, {**ROW, "km": "far"}, *[ROW] * 97]
            return await asyncio.gather(*(client.predict(MODEL, row) for row in rows), return_exceptions=True)

    found = asyncio.run(ask())
    assert isinstance(found[2], InvalidRequest)
    assert found[2].field == "rows[0].km"
    ids = [each.id for each in found if isinstance(each, answers.Prediction)]
    assert len({*ids}) == 99
    with open_home(project.home) as home:
        assert logged(home) == sorted(ids)


def test_a_restart_in_the_middle_is_not_noticed(project: Project) -> None:
    port = free_port()
    running, over = start_server(project.root, port, workers=2), threading.Event()
    found: list[answers.Prediction] = []

    def ask() -> None:
        with ck.Client(f"http://127.0.0.1:{port}", timeout=60, retries=1000) as client:
            while not over.is_set():
                found.append(client.predict(MODEL, ROW))
                client.push("trips", event(len(found)))

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    for _ in range(3):
        answered, patience = len(found), time.monotonic() + 60
        while len(found) < answered + 10:
            assert time.monotonic() < patience
            time.sleep(0.005)
        running.kill()
        running = start_server(project.root, port, workers=2)
    over.set()
    for thread in asking:
        thread.join()
    running.kill()
    with open_home(project.home) as home:
        assert logged(home) == sorted(each.id for each in found)


def test_overload_is_waited_out(running: ServerProcess, project: Project) -> None:
    """Calls of many rows have eight places: of forty at once most are refused, told to come again, and do."""
    rows = [ROW] * 1000

    async def ask(retries: int) -> list[list[answers.Prediction] | BaseException]:
        client = ck.AsyncClient(address(running), timeout=60, retries=retries, in_flight=100)
        async with client:
            return await asyncio.gather(*(client.predict(MODEL, rows) for _ in range(40)), return_exceptions=True)

    refused = [each for each in asyncio.run(ask(0)) if isinstance(each, BaseException)]
    assert refused
    assert all(isinstance(each, Overloaded) and (each.retry_after or 0) >= 1 for each in refused)
    found = asyncio.run(ask(50))
    assert [len(each) for each in found if not isinstance(each, BaseException)] == [1000] * 40
    with open_home(project.home) as home:
        assert len(logged(home)) == 1000 * (80 - len(refused))


def test_nobody_there_is_said_after_the_deadline() -> None:
    began = time.monotonic()
    client = ck.Client(f"http://127.0.0.1:{free_port()}", timeout=0.5, retries=1000)
    with client, pytest.raises(Unreachable, match=r"expected an answer within 0\.5 s, got ConnectError"):
        client.predict(MODEL, ROW)
    assert time.monotonic() - began < 1.5


def test_the_types_of_the_client_are_those_of_the_server() -> None:
    pairs: list[tuple[type[msgspec.Struct], type[msgspec.Struct]]] = [
        (answers.Prediction, responses.Prediction),
        (answers.Predictions, responses.Predictions),
        (answers.Pushed, responses.EventsTaken),
        (answers.Labelled, responses.LabelsTaken),
        (answers.ServedModel, responses.ServedModel),
        (answers.ServedVersion, responses.ServedVersion),
        (answers.ServedRule, responses.ServedRule),
        (answers.Models, responses.Models),
        (answers.Ready, responses.Ready),
    ]
    for ours, theirs in pairs:
        assert ours.__struct_fields__ == theirs.__struct_fields__
