"""Calls that come together are answered together, each with what is its own; and no more of them than can be soon."""

import asyncio
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from app_client import AppClient, app_client
from hypothesis import given
from hypothesis import strategies as st
from serving_project import Stage, open_stage

from charkha.serving.batcher import MOST_ROWS, Batcher, _Recent
from charkha.serving.deadline import Deadline
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.observer import Quiet
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.refusals import DeadlinePassed, Overloaded
from charkha.serving.slots import Slots

PREDICT = "/v1/models/late_trip/predict"
ROW: dict[str, Any] = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}


@pytest.fixture
def client(stage: Stage) -> Iterator[AppClient]:
    with app_client(build_router(stage.service, ServingMetrics(), stage.clock)) as opened:
        yield opened


def records(stage: Stage) -> int:
    return sum(1 for _ in stage.home.log.read(prediction_stream("late_trip")))


def test_calls_that_come_together_are_one_batch(client: AppClient, stage: Stage) -> None:
    bodies = [ROW, {"rows": [ROW, {**ROW, "city": "Delhi"}]}, {**ROW, "km": "far"}, {**ROW, "city": "Agra"}]
    one, two, wrong, last = client.together(*bodies, path=PREDICT)
    assert (one.status_code, two.status_code, wrong.status_code, last.status_code) == (200, 200, 422, 200)
    ids = [one.json()["id"], *(each["id"] for each in two.json()["predictions"]), last.json()["id"]]
    assert len(set(ids)) == 4
    assert ids == sorted(ids)
    assert records(stage) == 1


def test_many_calls_are_cut_into_batches(client: AppClient, stage: Stage) -> None:
    replies = client.together(*([{"rows": [ROW] * 10}] * 20), path=PREDICT)
    assert [len(reply.json()["predictions"]) for reply in replies] == [10] * 20
    assert records(stage) == -(-20 // (MOST_ROWS // 10))


def test_a_call_does_not_fail_for_what_another_asked(
    client: AppClient, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = stage.service.answer

    def refusing(questions: Any, **how: Any) -> Any:
        if any(row[0] == "Gone" for question in questions for row in question.rows):
            raise RuntimeError("no such city")
        return answer(questions, **how)

    monkeypatch.setattr(stage.service, "answer", refusing)
    replies = client.together(ROW, {**ROW, "city": "Gone"}, ROW, path=PREDICT)
    assert [reply.status_code for reply in replies] == [200, 500, 200]
    assert records(stage) == 2


def test_a_call_of_the_next_batch_is_refused_once_batches_have_long_been_slow(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher, answer = Batcher(stage.service, "late_trip"), stage.service.answer
    rows = [("Pune", 1.0, 2, True)] * 30

    def held_up(questions: Any, **how: Any) -> Any:
        time.sleep(0.002 * sum(len(question.rows) for question in questions))
        return answer(questions, **how)

    async def asked() -> None:
        for _ in range(40):
            await batcher.predict(rows)
        monkeypatch.setattr(stage.service, "answer", held_up)
        monkeypatch.setattr("charkha.serving.batcher._SLOW_SECONDS", math.inf)
        for _ in range(20):
            waiting = batcher.predict(rows)
            batcher.admit()  # however slow the batches are by now
            await waiting
        more_than_a_batch = [batcher.predict(rows) for _ in range(3)]
        with pytest.raises(Overloaded):
            batcher.admit()
        await asyncio.gather(*more_than_a_batch)
        monkeypatch.setattr("charkha.serving.batcher._SLOW_SECONDS", 0)
        first = batcher.predict(rows)
        with pytest.raises(Overloaded):
            batcher.admit()
        await first
        monkeypatch.setattr(stage.service, "answer", answer)
        for _ in range(60):
            await batcher.predict(rows[:10])
        batcher.predict(rows)
        batcher.admit()

    asyncio.run(asked())


def test_who_would_wait_too_long_is_refused_at_once(stage: Stage) -> None:
    batcher, rows = Batcher(stage.service, "late_trip", most_wait_seconds=0), [("Pune", 1.0, 2, True)] * MOST_ROWS

    async def flooded() -> None:
        await batcher.predict(rows)  # from which it knows how long a row takes
        batcher.admit()
        waiting = batcher.predict(rows)
        with pytest.raises(Overloaded, match="expected fewer calls at a time") as error:
            batcher.admit()
        assert (error.value.status, error.value.headers) == (429, {"retry-after": "1"})
        await waiting
        batcher.admit()

    asyncio.run(flooded())


class Told(Quiet):
    """Writes down how many rows were said to wait, and how many calls to be shed."""

    def __init__(self) -> None:
        self.queue: list[int] = []
        self.sheds = 0

    def queued(self, model: str, rows: int) -> None:
        self.queue.append(rows)

    def shed(self, model: str) -> None:
        self.sheds += 1


def test_the_queue_and_what_is_shed_are_told(tmp_path: Path) -> None:
    told, row = Told(), ("Pune", 1.0, 2, True)
    with open_stage(tmp_path, told) as stage:

        async def flooded(most_wait_seconds: float) -> None:
            batcher = Batcher(stage.service, "late_trip", most_wait_seconds)
            await batcher.predict([row])
            waiting = [batcher.predict([row] * 30) for _ in range(5)]
            if most_wait_seconds == 0:
                batcher.admit()
            await asyncio.gather(*waiting)

        asyncio.run(flooded(1e9))
        assert (told.queue, told.sheds) == ([90, 30, 0], 0)
        with pytest.raises(Overloaded):
            asyncio.run(flooded(0.0))
        assert told.sheds == 1


def test_one_batch_that_was_held_up_is_no_overload() -> None:
    usual = _Recent()
    for _ in range(50):
        usual = usual.with_one(10, 0.001)
    assert usual.row_seconds == pytest.approx(0.0001)
    assert usual.with_one(1, 0.2).row_seconds < 0.00011
    assert usual.with_one(64, 0.2).batch_seconds(64) < 0.03
    slower = usual
    for _ in range(20):
        slower = slower.with_one(64, 0.2)
    assert slower.batch_seconds(64) == pytest.approx(0.2, rel=0.2)


def test_what_each_batch_takes_is_told_from_what_each_row_takes() -> None:
    recent = _Recent()
    for _ in range(50):
        recent = recent.with_one(1, 0.031)
    assert recent.row_seconds * 4 == pytest.approx(0.031)
    for rows in (4, 1, 30):
        recent = recent.with_one(rows, 0.03 + rows * 0.001)
    assert recent.row_seconds == pytest.approx(0.001)
    assert recent.batch_seconds(64) == pytest.approx(0.094)


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(1e-6, 10)), min_size=1, max_size=30), st.integers(0, 64))
def test_no_batch_is_expected_to_take_less_than_no_time(batches: list[tuple[int, float]], rows: int) -> None:
    recent = _Recent()
    for each in batches:
        recent = recent.with_one(*each)
    assert recent.batch_seconds(rows) >= -1e-9
    assert recent.row_seconds >= 0


def test_a_call_that_waited_too_long_is_not_answered(stage: Stage) -> None:
    async def late() -> None:
        batcher = Batcher(stage.service, "late_trip")
        first, second = (batcher.predict([("Pune", 1.0, 2, True)], Deadline.within(each)) for each in (1e-9, 60))
        with pytest.raises(DeadlinePassed):
            await first
        await second

    asyncio.run(late())
    assert records(stage) == 1


def test_a_call_that_was_given_up_is_not_logged(stage: Stage) -> None:
    async def given_up() -> None:
        batcher = Batcher(stage.service, "late_trip")
        batcher.predict([("Pune", 1.0, 2, True)]).cancel()
        await asyncio.sleep(0.01)

    asyncio.run(given_up())
    assert records(stage) == 0


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "soon", "9" * 10, ""])
def test_a_timeout_is_a_whole_number(client: AppClient, given: str) -> None:
    reply = client.post(PREDICT, json=ROW, headers={"x-request-timeout-ms": given})
    assert (reply.status_code, reply.json()["error"]["field"]) == (400, "x-request-timeout-ms")


def test_a_timeout_is_kept(client: AppClient) -> None:
    assert client.post(PREDICT, json=ROW, headers={"x-request-timeout-ms": "1000"}).status_code == 200


def test_slots_refuse_whom_they_cannot_hold() -> None:
    slots = Slots(1, "calls of many rows")
    with slots.slot(), pytest.raises(Overloaded, match="expected fewer calls of many rows at a time"), slots.slot():
        pass
    with slots.slot():
        pass
