"""A disk without one byte left, under the whole home: workers go on, die, are replaced, and answer as declared."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from server_process import Client, ServerProcess, server
from serving_project import DEFINITION, champion, deploy, write_bundle, write_project
from test_catching_up import log_only
from test_server import event, serving_workers, wait_until

from charkha.bundles.store import BundleStore
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.project import Project, load_project
from charkha.storage.home import open_home
from charkha.storage.segment_log import SegmentLog

MODEL = "late_trip"
PREDICT = f"/v1/models/{MODEL}/predict"
ROW = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": None}
ROWS = {"rows": [ROW] * 60}


@frozen(eq=False)
class Disk:
    """A small disk under the home."""

    folder: Path

    def fill(self) -> None:
        """Leave no byte."""
        with (self.folder / "ballast").open("ab", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while True:
                        ballast.write(bytes(size))

    def make_room(self) -> None:
        (self.folder / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / ".charkha"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def written(folder: Path, policy: str) -> Project:
    """Write the project, with a policy of the model's log."""
    write_project(folder)
    declared = DEFINITION.replace('"late_trip",', f'"late_trip", log=ck.LogPolicy(on_full_disk="{policy}"),', 1)
    (folder / "definition.py").write_text(declared)
    project = load_project(folder)
    with open_home(project.home) as home:
        write_bundle(project, home, "v1")
        deploy(home, champion("v1"))
    return project


def asked(running: ServerProcess, body: object = ROWS, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    client = Client(running.port)
    try:
        return client.post(PREDICT, body, headers)
    finally:
        client.close()


def replaced(running: ServerProcess) -> None:
    """Kill a worker and wait until another is in its place."""
    killed, before = serving_workers(running)[0], len(serving_workers(running))
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len({*serving_workers(running)} - {killed}) == before)


def all_answer(running: ServerProcess, holds: Callable[[tuple[int, Any]], bool]) -> None:
    """Ask on new connections; a connection to a worker that was killed may break, but no worker dies of a question."""
    workers = {*serving_workers(running)}
    answered: list[tuple[int, Any]] = []

    def enough() -> bool:
        with suppress(OSError):
            answered.append(asked(running))
        return len(answered) == 20

    wait_until(enough)
    assert all(holds(each) for each in answered)
    assert {*serving_workers(running)} == workers


def logged_ids(project: Project) -> list[str]:
    with open_home(project.home) as home:
        records = home.log.read(prediction_stream(MODEL))
        return decode_predictions(records, BundleStore(home.bundles))["id"].to_list()


def is_refused(found: tuple[int, Any]) -> bool:
    return found[0] == 503 and found[1]["error"]["code"] == "log_full"


def is_unlogged(found: tuple[int, Any]) -> bool:
    return found[0] == 200 and not any(row.get("logged", True) for row in found[1]["predictions"])


@pytest.mark.parametrize(("policy", "holds"), [("refuse", is_refused), ("serve_unlogged", is_unlogged)])
def test_workers_live_and_are_replaced_while_the_whole_home_is_full(
    tmp_path: Path, disk: Disk, policy: str, holds: Callable[[tuple[int, Any]], bool]
) -> None:
    project = written(tmp_path, policy)
    with server(project.root, workers=2) as running:
        acknowledged = [row["id"] for _ in range(10) for row in asked(running)[1]["predictions"]]
        disk.fill()
        workers = {*serving_workers(running)}
        wait_until(lambda: holds(asked(running)))
        all_answer(running, holds)
        assert holds(asked(running, headers={"idempotency-key": "order-1"}))
        client = running.client()
        status, refused = client.post("/v1/sources/trips/events", {"rows": [event(n) for n in range(500)]})
        assert (status, refused["error"]["code"]) == (503, "log_full")
        for _ in range(30):  # new counters of all kinds
            assert client.post("/v1/models/nothing/predict", ROW)[0] == 404
            client.text("/metrics")
        assert {*serving_workers(running)} == workers
        for _ in range(3):
            replaced(running)
            all_answer(running, holds)
        client.close()
        disk.make_room()
        time.sleep(0.6)
        status, answer = asked(running, headers={"idempotency-key": "order-1"})
        assert status == 200
        assert asked(running, headers={"idempotency-key": "order-1"}) == (status, answer)
        acknowledged += [row["id"] for row in answer["predictions"]]
        acknowledged += [row["id"] for _ in range(10) for row in asked(running)[1]["predictions"]]
        client = running.client()
        assert client.get("/readyz")[0] == 200
        assert client.post("/v1/sources/trips/events", {"rows": [event(n) for n in range(500)]})[0] == 200
        client.close()
    assert set(acknowledged) <= set(logged_ids(project))
    assert not [each for each in tmp_path.rglob("*.db") if "metrics" in str(each)]


def test_a_server_starts_while_the_whole_home_is_full(tmp_path: Path, disk: Disk) -> None:
    project = written(tmp_path, "serve_unlogged")
    with server(project.root) as running:
        assert asked(running)[0] == 200
    log_only(project, SegmentLog(project.home / "log"))
    disk.fill()
    with server(project.root) as running:
        all_answer(running, is_unlogged)
        client = running.client()
        status, state = client.get("/readyz")
        assert (status, state["champions"][MODEL]) == (200, "v1")
        assert "the online state lacks rows that were logged" in state["problems"][MODEL]
        disk.make_room()
        wait_until(lambda: client.get("/readyz")[1]["problems"] == {})
        client.close()
