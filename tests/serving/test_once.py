"""A call that comes again gets the answer it had, and is logged once: at once, later, elsewhere, after a death."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx
import pytest
from app_client import AppClient, app_client
from server_process import free_port, server, start_server
from serving_project import NOW_US, Stage

from charkha.bundles.store import BundleStore
from charkha.serving.batcher import MOST_ROWS
from charkha.serving.desk import Desk
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.once import WINDOW_SECONDS, Once
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.service import Service
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home

MODEL = "late_trip"
PREDICT = f"/v1/models/{MODEL}/predict"
ROW: dict[str, Any] = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}
LIVES = 12
KEY = {"idempotency-key": "order-4711"}


@pytest.fixture
def client(stage: Stage) -> Iterator[AppClient]:
    with opened_client(stage, stage.service) as opened:
        yield opened


def opened_client(stage: Stage, service: Service) -> Any:
    once = Once(service, stage.clock, stage.project.home / "serving" / "answered")
    return app_client(build_router(service, ServingMetrics(), stage.clock, desk=Desk(service, once=once)))


def logged(home: Home) -> list[str]:
    frame = decode_predictions(home.log.read(prediction_stream(MODEL)), BundleStore(home.bundles))
    return sorted(frame["id"].to_list())


@pytest.mark.parametrize(
    "body", [ROW, {"rows": [ROW]}, {"rows": [ROW] * 3}, {"rows": [ROW] * (MOST_ROWS + 1)}], ids=str
)
def test_a_repetition_gets_the_very_answer(client: AppClient, stage: Stage, body: Any) -> None:
    first, second = (client.post(PREDICT, json=body, headers=KEY) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    answered = first.json().get("predictions", [first.json()])
    assert logged(stage.home) == sorted(each["id"] for each in answered)


def test_repetitions_that_come_together_are_answered_once(client: AppClient, stage: Stage) -> None:
    together = client.together_with([(ROW, "a"), (ROW, "b"), (ROW, "a"), (ROW, "a"), (ROW, None)], path=PREDICT)
    ids = [reply.json()["id"] for reply in together]
    assert ids[0] == ids[2] == ids[3]
    assert logged(stage.home) == sorted({*ids})
    assert len({*ids}) == 3


def test_a_key_is_of_one_body_one_model_and_one_caller(client: AppClient, stage: Stage) -> None:
    first = client.post(PREDICT, json=ROW, headers=KEY)
    other = client.post(PREDICT, json={**ROW, "km": 2.0}, headers=KEY)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "key_reused")
    someone = client.post(PREDICT, json=ROW, headers={**KEY, "authorization": "Bearer else"})
    other_key = client.post(PREDICT, json=ROW, headers={**KEY, "x-api-key": "mine"})
    third_key = client.post(PREDICT, json=ROW, headers={**KEY, "x-api-key": "yours"})
    assert len({reply.json()["id"] for reply in (first, someone, other_key, third_key)}) == 4
    assert client.post("/v1/models/how_far/predict", json={"city": "Pune", "stops": 1}, headers=KEY).status_code == 503
    assert len(logged(stage.home)) == 4


def test_a_call_that_was_refused_may_come_again_otherwise(client: AppClient, stage: Stage) -> None:
    assert client.post(PREDICT, json={**ROW, "km": "far"}, headers=KEY).status_code == 422
    assert client.post(PREDICT, json=ROW, headers=KEY).status_code == 200


def test_a_key_is_forgotten_after_its_window(client: AppClient, stage: Stage) -> None:
    ids = []
    for minutes in (0, 9, 10, 11):
        stage.clock.advance_to(NOW_US + minutes * 60_000_000)
        ids.append(client.post(PREDICT, json=ROW, headers=KEY).json()["id"])
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert WINDOW_SECONDS == 600


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\xe9", "a\tb"])
def test_what_is_no_key_is_refused(client: AppClient, key: str) -> None:
    reply = client.post(PREDICT, json=ROW, headers={"idempotency-key": key.encode("latin-1")})
    assert (reply.status_code, reply.json()["error"]["field"]) == (400, "idempotency-key")


def test_an_answer_that_never_came_into_the_log_is_made_anew(
    client: AppClient, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = stage.service._predictions[MODEL]
    with monkeypatch.context() as broken:
        broken.setattr(log, "append", lambda batches: (_ for _ in ()).throw(OSError("the disk is full")))
        assert client.post(PREDICT, json=ROW, headers=KEY).status_code == 500
    assert logged(stage.home) == []
    first, second = (client.post(PREDICT, json=ROW, headers=KEY) for _ in range(2))
    assert logged(stage.home) == [first.json()["id"]] == [second.json()["id"]]


def test_another_worker_knows_the_answer(client: AppClient, stage: Stage) -> None:
    first = client.post(PREDICT, json=ROW, headers=KEY)
    other = Service(stage.project, stage.home, stage.clock, "w1")
    other.refresh()
    with opened_client(stage, other) as second:
        assert second.post(PREDICT, json=ROW, headers=KEY).content == first.content
    other.close()
    assert len(logged(stage.home)) == 1


def asked(port: int, key: str) -> str | None:
    """Ask on a connection of its own, again where the call was shed; return the id, None where no answer came."""
    url = f"http://127.0.0.1:{port}{PREDICT}"
    try:
        while True:
            reply = httpx.post(url, json=ROW, headers={"idempotency-key": key}, timeout=20, verify=False)
            if reply.status_code != 429:
                break
            time.sleep(0.02)
    except httpx.TransportError:
        return None
    assert reply.status_code == 200, reply.text
    return str(reply.json()["id"])


def test_workers_of_one_port_answer_a_key_once(project: Project) -> None:
    with server(project.root, workers=2) as running, ThreadPoolExecutor(8) as threads:
        keys = [f"key-{number // 8}" for number in range(240)]
        ids = list(threads.map(lambda key: asked(running.port, key), keys))
    assert len({*ids}) == len({*keys}) == len({*zip(keys, ids, strict=True)})
    with open_home(project.home) as home:
        assert logged(home) == sorted(each for each in {*ids} if each)


@pytest.mark.slow
def test_a_call_is_logged_once_whenever_its_server_is_killed(project: Project) -> None:
    """Clients ask again with the same key until they are answered, and the server dies at any instant meanwhile."""
    random.seed(20130401)
    port, over = free_port(), Event()

    def ask_on(client: int) -> list[str]:
        answered: list[str] = []
        while not over.is_set():
            while (answer := asked(port, f"{client}/{len(answered)}")) is None:
                time.sleep(0.02)
            answered.append(answer)
        return answered

    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(ask_on, client) for client in range(4)]
        for _ in range(LIVES):
            running = start_server(project.root, port, workers=2)
            time.sleep(random.uniform(0.05, 0.4))
            running.kill()
        with start_server(project.root, port).process as last:
            over.set()
            ids = [answer for each in asking for answer in each.result(timeout=60)]
            last.kill()
    with open_home(project.home) as home:
        assert logged(home) == sorted(ids)
    assert len(ids) > LIVES
