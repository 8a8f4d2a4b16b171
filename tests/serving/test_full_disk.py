"""A disk that is full, and one that is slow: nothing that was answered is lost, and nobody waits without end."""

import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from app_client import AppClient, app_client
from attrs import frozen
from serving_project import Stage, open_stage

from charkha.bundles.store import BundleStore
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.policies import LogPolicy
from charkha.storage import segment_writer

PREDICT = "/v1/models/late_trip/predict"
ROW: dict[str, Any] = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}
# So large that it is written by a part before the disk is full.
ROWS = {"rows": [ROW] * 60}


@frozen(eq=False)
class Disk:
    """A disk of one megabyte under the log of predictions."""

    folder: Path

    def fill(self) -> None:
        """Leave room for less than one append: what is left of the newest page of a segment."""
        with pytest.raises(OSError, match="No space left on device"):
            (self.folder / "ballast").write_bytes(bytes(4 << 20))

    def make_room(self) -> None:
        (self.folder / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / ".charkha" / "log" / "predictions"
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def served(folder: Path, policy: LogPolicy) -> Iterator[tuple[Stage, AppClient]]:
    metrics = ServingMetrics()
    with (
        open_stage(folder, metrics, log=policy) as stage,
        app_client(build_router(stage.service, metrics, stage.clock)) as client,
    ):
        yield stage, client


def logged_ids(stage: Stage) -> list[str]:
    records = stage.home.log.read(prediction_stream("late_trip"))
    return decode_predictions(records, BundleStore(stage.home.bundles))["id"].to_list()


def ids_of(reply: Any) -> list[str]:
    return [each["id"] for each in reply.json()["predictions"]]


def counted(client: AppClient, outcome: str) -> float:
    wanted = f'charkha_log_failures_total{{model="late_trip",outcome="{outcome}"}}'
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(wanted))


def test_a_full_disk_refuses_until_there_is_room(tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    with served(tmp_path, LogPolicy()) as (stage, client):
        acknowledged = ids_of(client.post(PREDICT, json=ROWS))
        disk.fill()
        for _ in range(3):
            reply = client.post(PREDICT, json=ROWS)
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
            assert reply.json()["error"]["code"] == "log_full"
            assert "No space left on device" in reply.json()["error"]["message"]
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["problems"]["late_trip"] == "predictions cannot be logged: No space left on device"
        assert client.get("/healthz").status_code == 200
        assert counted(client, "refused") == 180
        assert caplog.text.count("cannot be logged, calls are refused: No space left on device") == 1
        assert sum(path.stat().st_size for path in disk.folder.rglob("*.segment")) == sum(
            stage.home.log.end(prediction_stream("late_trip")).values()
        )
        stage.service.refresh()
        assert client.get("/readyz").status_code == 503  # there is no room yet
        disk.make_room()
        stage.service.refresh()
        assert client.get("/readyz").status_code == 200
        assert 'charkha_log_failing{model="late_trip"} 0.0' in client.get("/metrics").text
        acknowledged += ids_of(client.post(PREDICT, json=ROWS))
        assert logged_ids(stage) == acknowledged


def test_a_call_finds_room_by_itself(tmp_path: Path, disk: Disk) -> None:
    with served(tmp_path, LogPolicy()) as (_, client):
        disk.fill()
        assert client.post(PREDICT, json=ROWS).status_code == 503
        disk.make_room()
        time.sleep(0.3)
        assert client.post(PREDICT, json=ROWS).status_code == 200
        assert client.get("/readyz").status_code == 200


def test_a_full_disk_serves_unlogged_where_that_is_the_policy(tmp_path: Path, disk: Disk) -> None:
    with served(tmp_path, LogPolicy(on_full_disk="serve_unlogged")) as (stage, client):
        first = client.post(PREDICT, json=ROWS)
        assert "logged" not in first.json()["predictions"][0]
        disk.fill()
        for _ in range(2):
            reply = client.post(PREDICT, json=ROWS)
            assert reply.status_code == 200
            assert [each["logged"] for each in reply.json()["predictions"]] == [False] * 60
        ready = client.get("/readyz")
        assert (ready.status_code, list(ready.json()["problems"])) == (200, ["late_trip"])
        assert counted(client, "unlogged") == 120
        disk.make_room()
        stage.service.refresh()
        last = client.post(PREDICT, json=ROWS)
        assert logged_ids(stage) == ids_of(first) + ids_of(last)


@contextmanager
def no_room() -> Iterator[list[int]]:
    """Let half of what is written be written, and the rest not; yields how often that was tried."""
    tried: list[int] = []
    write = os.pwrite

    def half(descriptor: int, data: bytes, position: int) -> int:
        if tried and tried[-1] == position:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = write(descriptor, data[: len(data) // 2], position)
        tried.append(position + done)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", half)
        yield tried


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/models/late_trip/labels", {"id": "013dc2cb-b400-7000-8000-000000000000", "label": True}),
        (
            "/v1/sources/trips/events",
            {"trip": 1, "city": "Pune", "driver": "ann", "km": 4.0, "stops": 2, "pooled": False,
             "asked_at": "2013-04-01T10:00:00Z", "ended_at": "2013-04-01T11:00:00Z", "late": False},
        ),
    ],
)  # fmt: skip
def test_labels_and_events_are_refused_too_and_taken_when_they_come_again(
    tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    with served(tmp_path, LogPolicy()) as (_, client):
        with no_room():
            reply = client.post(path, json=body)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "log_full")
        assert client.post(path, json=body).json()["accepted"] == 1


def test_a_log_that_fails_is_not_asked_by_each_call(tmp_path: Path) -> None:
    with served(tmp_path, LogPolicy()) as (_, client), no_room() as tried:
        codes = [client.post(PREDICT, json=ROW).status_code for _ in range(20)]
        assert codes == [503] * 20
        assert len(tried) < 10


def slowed(append: Callable[..., int], seconds: float) -> Callable[..., int]:
    def slow(*arguments: Any) -> int:
        time.sleep(seconds)
        return append(*arguments)

    return slow


def test_a_slow_disk_holds_calls_back_and_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = segment_writer.SegmentWriter
    with served(tmp_path, LogPolicy()) as (stage, client):
        monkeypatch.setattr(writer, "append", slowed(writer.append, 0.1))
        acknowledged = [client.post(PREDICT, json=ROW).json()["id"]]  # from which it knows how slow the disk is
        began = time.perf_counter()
        replies = client.together(*[ROW] * 400, path=PREDICT)
        seconds = time.perf_counter() - began
        codes = [reply.status_code for reply in replies]
        assert set(codes) == {200, 429}
        assert 1 <= codes.count(200) <= 2 * 64
        assert seconds < 2  # 400 calls in batches of 64 would have taken less; one by one, forty seconds
        acknowledged += [reply.json()["id"] for reply in replies if reply.status_code == 200]
        assert sorted(logged_ids(stage)) == sorted(acknowledged)
