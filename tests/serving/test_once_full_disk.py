"""A disk with no room for the answers to Idempotency-Keys: the policy of the log holds for them too."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from app_client import AppClient, app_client
from serving_project import Stage, open_stage

from charkha.bundles.store import BundleStore
from charkha.serving.desk import Desk
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.once import Once
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.policies import LogPolicy

PREDICT = "/v1/models/late_trip/predict"
ROW: dict[str, Any] = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}


@pytest.fixture
def answered(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte under what is remembered."""
    folder = tmp_path / ".charkha" / "serving" / "answered"
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def served(folder: Path, policy: LogPolicy) -> Iterator[tuple[Stage, AppClient]]:
    metrics = ServingMetrics()
    with open_stage(folder, metrics, log=policy) as stage:
        once = Once(stage.service, stage.clock, stage.project.home / "serving" / "answered")
        router = build_router(stage.service, metrics, stage.clock, desk=Desk(stage.service, once=once))
        with app_client(router) as client:
            yield stage, client
        once.close()


def fill(folder: Path) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        (folder / "ballast").write_bytes(bytes(2 << 20))


def logged_ids(stage: Stage) -> list[str]:
    records = stage.home.log.read(prediction_stream("late_trip"))
    return decode_predictions(records, BundleStore(stage.home.bundles))["id"].to_list()


def ask(client: AppClient, key: str | None) -> Any:
    return client.post(PREDICT, json=ROW, headers={} if key is None else {"idempotency-key": key})


def test_a_disk_that_is_full_at_the_start_is_no_crash(tmp_path: Path, answered: Path) -> None:
    fill(answered)
    with served(tmp_path, LogPolicy()) as (stage, client):
        assert [ask(client, key).status_code for key in ("a", None)] == [503, 200]
        (answered / "ballast").unlink()
        stage.service.refresh()
        assert ask(client, "a").status_code == 200


def test_calls_with_a_key_are_refused_until_there_is_room(tmp_path: Path, answered: Path) -> None:
    with served(tmp_path, LogPolicy()) as (stage, client):
        first = ask(client, "a").json()["id"]
        fill(answered)
        refused = [ask(client, f"b{number}") for number in range(3)]
        assert [(reply.status_code, reply.headers["retry-after"]) for reply in refused] == [(503, "5")] * 3
        assert refused[0].json()["error"]["code"] == "log_full"
        assert "No space left on device" in refused[0].json()["error"]["message"]
        other = ask(client, None).json()["id"]
        stage.service.refresh()
        ready = client.get("/readyz")
        assert (ready.status_code, list(ready.json()["problems"])) == (503, ["late_trip"])
        metrics = client.get("/metrics").text
        assert 'charkha_log_failures_total{model="late_trip",outcome="refused"} 3.0' in metrics
        assert 'charkha_log_failing{model="late_trip"} 1.0' in metrics
        (answered / "ballast").unlink()
        stage.service.refresh()
        assert client.get("/readyz").status_code == 200
        last = ask(client, "b0").json()["id"]
        assert ask(client, "b0").json()["id"] == last
        assert logged_ids(stage) == [first, other, last]


def test_calls_with_a_key_are_answered_and_forgotten_where_that_is_the_policy(
    tmp_path: Path, answered: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with served(tmp_path, LogPolicy(on_full_disk="serve_unlogged")) as (stage, client):
        fill(answered)
        ids = [ask(client, key).json()["id"] for key in ("a", "a", "b")]
        assert logged_ids(stage) == ids
        assert len({*ids}) == 3
        assert caplog.text.count("answers cannot be remembered by their Idempotency-Key: No space left on device") == 1
        ready = client.get("/readyz")
        assert (ready.status_code, list(ready.json()["problems"])) == (200, ["late_trip"])
        (answered / "ballast").unlink()
        stage.service.refresh()
        assert client.get("/readyz").json()["problems"] == {}
        assert ask(client, "c").content == ask(client, "c").content


def test_an_answer_that_is_not_logged_says_so_under_a_key_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(tmp_path, LogPolicy(on_full_disk="serve_unlogged")) as (stage, client):
        monkeypatch.setattr(stage.service._predictions["late_trip"], "append", lambda batches: False)
        assert ask(client, "a").json()["logged"] is False
