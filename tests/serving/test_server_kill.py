"""`kill -9` at random instants under load: nothing acknowledged is lost or there twice, and the state is the log."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from server_process import Client, free_port, start_server
from serving_project import champion, deploy, write_bundle, write_project

from charkha.bundles.store import BundleStore
from charkha.clock import SystemClock, to_datetime
from charkha.engines.local import LocalEngine
from charkha.features.feed import Feed
from charkha.features.offline import offline_features
from charkha.features.online import online_features
from charkha.features.plan import plan_features
from charkha.features.rows import pushed_rows, read_rows
from charkha.serving.labels import decode_labels, label_stream
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.fields import TIME
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home

INSTANTS = 20
MODEL = "late_trip"
CITIES = ("Pune", "Delhi", "Kochi")
ROW = {"km": 1.5, "stops": 2, "pooled": None}


class Load:
    """Three clients that write down what was acknowledged. Nothing is ever sent twice."""

    def __init__(self) -> None:
        self.predicted: list[str] = []
        self.labelled: list[str] = []
        self.pushed: list[int] = []
        self._unlabelled: list[str] = []
        self._trip = 0

    def run_until_killed(self, port: int, kill: Callable[[], None], seconds: float) -> None:
        """Load a server, kill it after a while, and wait for the clients to notice."""
        killed = threading.Event()
        steps = (self._predict, self._push, self._label)
        threads = [threading.Thread(target=repeat, args=(step, port, killed)) for step in steps]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        kill()
        killed.set()
        for thread in threads:
            thread.join()

    def _predict(self, client: Client) -> None:
        rows = [{**ROW, "city": city} for city in random.sample(CITIES, random.randint(1, 3))]
        status, answer = client.post(f"/v1/models/{MODEL}/predict", {"rows": rows})
        assert status == 200
        ids = [row["id"] for row in answer["predictions"]]
        self.predicted += ids
        self._unlabelled += ids

    def _push(self, client: Client) -> None:
        trips = list(range(self._trip, self._trip + random.randint(1, 3)))
        self._trip = trips[-1] + 1
        status, answer = client.post("/v1/sources/trips/events", {"rows": [trip_row(trip) for trip in trips]})
        assert (status, answer["accepted"]) == (200, len(trips))
        self.pushed += trips

    def _label(self, client: Client) -> None:
        if not self._unlabelled:
            time.sleep(0.002)
            return
        ids = [self._unlabelled.pop() for _ in range(min(2, len(self._unlabelled)))]
        status, _ = client.post(f"/v1/models/{MODEL}/labels", {"rows": [{"id": i, "label": True} for i in ids]})
        assert status == 200
        self.labelled += ids


def repeat(step: Callable[[Client], None], port: int, killed: threading.Event) -> None:
    """Call a step until the server is gone. Anything else than its end is a failure, which the thread raises."""
    client = Client(port)
    try:
        while not killed.is_set():
            step(client)
    except (OSError, HTTPException):
        pass
    finally:
        client.close()


def trip_row(trip: int) -> dict[str, Any]:
    ended = "2013-04-01T10:00:00Z"
    values = {"driver": "ann", "km": trip / 7, "stops": 2, "pooled": False, "late": None}
    return {"trip": trip, "city": CITIES[trip % 3], "asked_at": ended, "ended_at": ended, **values}


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_and_nothing_is_there_twice(tmp_path: Path) -> None:
    random.seed(20130401)
    project = write_project(tmp_path)
    load = Load()
    with open_home(project.home) as home:
        write_bundle(project, home, "v1")
        deploy(home, champion("v1"))
        for _ in range(INSTANTS):
            running = start_server(project.root, free_port())
            load.run_until_killed(running.port, running.kill, random.uniform(0.0, 0.25))
            check_log(project, home, load)
        Feed(project.sources, project.views, home.log, home.online, SystemClock()).catch_up()
        check_state(project, home)
    assert min(len(load.predicted), len(load.pushed), len(load.labelled)) > INSTANTS


def check_log(project: Project, home: Home, load: Load) -> None:
    frame = decode_predictions(home.log.read(prediction_stream(MODEL)), BundleStore(home.bundles))
    check_exactly_once(frame["id"].to_list(), load.predicted)
    check_exactly_once(decode_labels(home.log.read(label_stream(MODEL)))["id"].to_list(), load.labelled)
    check_exactly_once(pushed_rows(project.sources["trips"], home.log)["trip"].to_list(), load.pushed)


def check_exactly_once(found: list[Any], acknowledged: list[Any]) -> None:
    """What was acknowledged is there; and nothing twice, acknowledged or not."""
    assert [each for each, count in Counter(found).items() if count > 1] == []
    assert set(acknowledged) <= set(found)


def check_state(project: Project, home: Home) -> None:
    """The features of every city, from the state, are those computed from the log."""
    model = project.models[MODEL]
    plan = plan_features(model)
    asked = pl.DataFrame([{"city": city, **ROW} for city in CITIES], schema_overrides={"pooled": pl.Boolean})
    now_us = SystemClock().now()
    with home.online.read() as reader:
        online = online_features(plan, reader, asked, now_us)
    spine = asked.with_columns(
        pl.lit(to_datetime(now_us), dtype=TIME).alias(model.label.at), pl.lit(now_us, pl.Int64).alias("_at_us")
    )
    rows = {source.name: read_rows(source, project.root, home.log) for source in model.sources}
    offline = offline_features(plan, spine, rows, LocalEngine())
    assert online["traffic.count_1h"].to_list() == offline["traffic.count_1h"].to_list()
    assert online["traffic.count_1h"].sum() == rows["trips"].height
    assert online["traffic.driver"].to_list() == offline["traffic.driver"].to_list()
    assert online["traffic.mean_km_6h"].to_list() == pytest.approx(offline["traffic.mean_km_6h"].to_list(), rel=1e-9)
