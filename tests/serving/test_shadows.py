"""Shadows score beside the answers: they neither delay nor fail one, whatever they do."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from serving_project import Stage, champion, deploy, open_stage, requests, write_bundle

from charkha.bundles.store import BundleStore
from charkha.serving.beside import InThread, InThreads
from charkha.serving.metrics import ServingMetrics
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.service import Service
from charkha.storage.ledger import Assignment

MODEL = "late_trip"
SECONDS = 20


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path) as opened:
        write_bundle(opened.project, opened.home, "v2", intercept=3.0)
        deploy(opened.home, champion("v1"), Assignment("v2", "shadow"))
        yield opened


@pytest.fixture
def aside() -> Iterator[InThread]:
    made = InThread(most_rows=3)
    yield made
    made.close(SECONDS)


def hold(service: Service, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Have the shadow wait until it is let go on."""
    service.refresh()
    go_on = threading.Event()
    (shadow,) = service.line_ups()[MODEL].shadows
    score_matrix = type(shadow.bundle).score_matrix

    def held(bundle: object, matrix: object) -> object:
        if bundle is shadow.bundle:
            go_on.wait(SECONDS)
        return score_matrix(bundle, matrix)  # type: ignore[arg-type]

    monkeypatch.setattr(type(shadow.bundle), "score_matrix", held)
    return go_on


def logged(stage: Stage) -> pl.DataFrame:
    return decode_predictions(stage.home.log.read(prediction_stream(MODEL)), BundleStore(stage.home.bundles))


def test_an_answer_does_not_wait_for_a_shadow(stage: Stage, aside: InThread, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(stage.project, stage.home, stage.clock, "w1", beside=aside)
    go_on = hold(service, monkeypatch)
    answers = service.predict(MODEL, requests("Pune", "Agra"))
    assert answers.versions == ["v1", "v1"]
    assert logged(stage)["role"].to_list() == ["champion", "champion"]
    go_on.set()
    aside.close(SECONDS)
    rows = logged(stage)
    assert rows.filter(role="shadow")["id"].to_list() == answers.ids
    assert rows.filter(role="shadow")["version"].to_list() == ["v2", "v2"]
    assert (rows.filter(role="shadow")["score"] > rows.filter(role="champion")["score"]).all()
    beside = rows.partition_by("role", include_key=False)
    features = [column for column in rows.columns if "." in column]
    assert beside[0].select(features).equals(beside[1].select(features))
    service.close()


def test_what_a_shadow_cannot_keep_up_with_is_left_out_and_counted(
    stage: Stage, aside: InThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = ServingMetrics()
    service = Service(stage.project, stage.home, stage.clock, "w1", metrics, beside=aside)
    go_on = hold(service, monkeypatch)
    for _ in range(3):
        service.predict(MODEL, requests("Pune", "Agra"))
    assert b'charkha_shadow_rows_left_out_total{model="late_trip"} 4.0' in metrics.exposition()
    go_on.set()
    aside.close(SECONDS)
    assert logged(stage)["role"].value_counts().sort("role").rows() == [("champion", 6), ("shadow", 2)]
    service.close()


def test_what_fails_beside_the_answers_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def failing() -> None:
        raise ValueError("odd")

    made, done = InThread(), threading.Event()
    assert made.do(failing, 1)
    assert made.do(done.set, 1)
    made.close(SECONDS)
    assert done.is_set()
    assert "ValueError: odd" in caplog.text


def test_one_piece_of_work_may_be_of_more_rows_than_may_wait() -> None:
    made, done = InThread(most_rows=3), threading.Event()
    assert made.do(done.set, 1000)
    made.close(SECONDS)
    assert done.is_set()


def test_a_slow_lane_keeps_no_other_waiting_and_each_has_its_own_bound() -> None:
    made, go_on, done = InThreads(most_rows=3), threading.Event(), threading.Event()
    assert made.do(lambda: finished(go_on), 3, "slow")
    assert not made.do(done.set, 1, "slow")
    assert made.do(done.set, 3, "quick")
    assert done.wait(SECONDS)
    go_on.set()
    made.close(SECONDS)


def test_all_lanes_do_what_waits_before_they_end() -> None:
    made, done = InThreads(), [threading.Event() for _ in range(4)]
    for number, event in enumerate(done):
        assert made.do(event.set, 1, f"lane {number % 2}")
    made.close(SECONDS)
    assert all(event.is_set() for event in done)


def finished(event: threading.Event) -> None:
    assert event.wait(SECONDS)


def test_what_a_full_disk_keeps_from_the_log_is_left_out_and_no_refused_prediction(
    stage: Stage, aside: InThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = ServingMetrics()
    service = Service(stage.project, stage.home, stage.clock, "w1", metrics, beside=aside)
    go_on = hold(service, monkeypatch)
    service.predict(MODEL, requests("Pune", "Agra"))
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", refuse)
        go_on.set()
        aside.close(SECONDS)
    told = metrics.exposition()
    assert b'charkha_shadow_rows_left_out_total{model="late_trip"} 2.0' in told
    assert b"charkha_log_failures_total{" not in told
    assert "No space left" in service.standing.ready().problems[MODEL]
    assert logged(stage)["role"].to_list() == ["champion", "champion"]
    service.close()


def refuse(descriptor: int, data: bytes, position: int) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
