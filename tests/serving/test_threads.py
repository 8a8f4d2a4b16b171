"""Long work beside the loop: what one kind waits for holds up no other, and what is too much is refused."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import polars as pl
import pytest
from app_client import RouterTransport
from serving_project import Stage
from test_arrow_bulk import ARROW, polars_stream

from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.refusals import Overloaded
from charkha.serving.threads import Threads

PREDICT = "/v1/models/late_trip/predict"
EVENTS = "/v1/sources/trips/events"
ROW: dict[str, Any] = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}
EVENT: dict[str, Any] = {
    "trip": 1, "city": "Pune", "driver": "ann", "km": 4.0, "stops": 2, "pooled": False,
    "asked_at": "2013-04-01T10:00:00Z", "ended_at": "2013-04-01T11:00:00Z", "late": False,
}  # fmt: skip
PUSHES = 20  # more than asyncio has threads of its own
Asked = Callable[[httpx.AsyncClient], Coroutine[Any, Any, httpx.Response]]


def held(work: Callable[..., Any], until: threading.Event) -> Callable[..., Any]:
    """Return work that begins when it may."""

    def waiting(*args: Any, **how: Any) -> Any:
        until.wait(20)
        return work(*args, **how)

    return waiting


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.post(PREDICT, json=ROW),
        lambda client: client.post(PREDICT, json={"rows": [ROW] * 65}),
        lambda client: client.post(PREDICT, json=ROW, params={"reasons": 2}),
        lambda client: client.post(PREDICT, content=polars_stream(pl.DataFrame([ROW])), headers=ARROW),
        lambda client: client.get("/metrics"),
    ],
    ids=["one row", "many rows", "reasons", "arrow", "metrics"],
)
def test_nobody_waits_behind_pushes_that_wait(stage: Stage, monkeypatch: pytest.MonkeyPatch, ask: Asked) -> None:
    free = threading.Event()
    monkeypatch.setattr(stage.service, "push", held(stage.service.push, free))
    router = build_router(stage.service, ServingMetrics(), stage.clock)

    async def asked() -> None:
        async with httpx.AsyncClient(transport=RouterTransport(router), base_url="http://app") as client:
            pushes = [asyncio.create_task(client.post(EVENTS, json={**EVENT, "trip": n})) for n in range(PUSHES)]
            await asyncio.sleep(0.05)
            try:
                assert (await asyncio.wait_for(ask(client), 10)).status_code == 200
            finally:
                free.set()
            assert {reply.status_code for reply in await asyncio.gather(*pushes)} == {200}

    asyncio.run(asked())


def test_what_finds_no_place_is_refused_and_what_does_waits_for_a_thread() -> None:
    free, threads = threading.Event(), Threads("calls with events", 1, places=3)

    async def worked() -> None:
        tasks = [asyncio.create_task(threads.run(held(lambda number=number: number, free))) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="expected fewer calls with events at a time"):
            await threads.run(int)
        free.set()
        assert await asyncio.gather(*tasks) == [0, 1, 2]
        assert await threads.run(int, "7") == 7

    asyncio.run(worked())
    threads.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("charkha calls with events")]


def test_the_end_waits_for_what_is_worked_on_and_begins_nothing() -> None:
    done: list[int] = []
    begun, free, threads = threading.Event(), threading.Event(), Threads("calls of many rows", 1, places=2)

    def first() -> None:
        begun.set()
        free.wait(20)
        done.append(1)

    async def left() -> None:
        tasks = [asyncio.create_task(threads.run(work)) for work in (first, lambda: done.append(2))]
        await asyncio.to_thread(begun.wait, 20)
        threading.Timer(0.1, free.set).start()
        await asyncio.to_thread(threads.close)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[1], asyncio.CancelledError)

    asyncio.run(left())
    assert done == [1]


def test_labels_that_wait_for_the_disk_hold_up_nobody(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(stage.service, "label", held(stage.service.label, free))
    router = build_router(stage.service, ServingMetrics(), stage.clock)
    label = {"id": "013dc2cb-b400-7000-8000-000000000000", "label": True}

    async def asked() -> None:
        async with httpx.AsyncClient(transport=RouterTransport(router), base_url="http://app") as client:
            labelled = [client.post("/v1/models/late_trip/labels", json=label) for _ in range(PUSHES)]
            tasks = [asyncio.create_task(each) for each in labelled]
            await asyncio.sleep(0.05)
            try:
                assert (await asyncio.wait_for(client.post(PREDICT, json=ROW), 5)).status_code == 200
                assert not any(task.done() for task in tasks)
            finally:
                free.set()
            assert {reply.status_code for reply in await asyncio.gather(*tasks)} == {200}

    asyncio.run(asked())
