"""What is answered where the model cannot, or had better not; who decides then; what is made of it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from app_client import app_client
from attrs import evolve
from serving_project import HOUR_US, MODEL, NOW_US, Stage, champion, deploy, open_stage, rule, trip, write_bundle

from charkha.bundles.store import BundleStore
from charkha.monitoring.collect import collect
from charkha.monitoring.outcomes import outcomes
from charkha.operations.deploy import DeploymentRefused
from charkha.operations.kill import kill, revive
from charkha.serving.answering import Killed
from charkha.serving.batcher import Batcher
from charkha.serving.deadline import Deadline
from charkha.serving.http import build_router
from charkha.serving.metrics import ServingMetrics
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.scoring import Answers
from charkha.spec.policies import Fallback
from charkha.storage.ledger import Assignment
from charkha.storage.online import OnlineReader

Opened = Callable[..., AbstractContextManager[Stage]]
FAR = rule("far", pl.col("km") > 100)


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    @contextmanager
    def stage(fallback: Fallback | None, **how: Any) -> Iterator[Stage]:
        with open_stage(tmp_path, fallback=fallback, **how) as found:
            yield found

    return stage


def asked(stage: Stage, *km: float, city: str = "Pune") -> Answers:
    rows = [(city, each, 2, True) for each in km]
    return stage.service.answer([stage.service.ask_rows(MODEL, rows)])[0]


def logged(stage: Stage) -> pl.DataFrame:
    return decode_predictions(stage.home.log.read(prediction_stream(MODEL)), BundleStore(stage.home.bundles))


def break_the_champion(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = type(stage.service.line_ups()[MODEL].champion.bundle.predictor)

    def broken(*_: object) -> None:
        raise RuntimeError("the weights are gone")

    monkeypatch.setattr(predictor, "predict", broken)


def test_a_killed_model_is_on_its_fallback_until_it_is_revived(opened: Opened) -> None:
    with opened(Fallback(decision=True, score=0.9)) as stage:
        kill(stage.home, stage.clock, MODEL, actor="ann", reason="nonsense")
        assert asked(stage, 1.0).causes == [None]
        assert stage.service.refresh()
        found = asked(stage, 1.0)
        assert (found.causes, found.roles, found.decisions) == (["killed"], ["fallback"], [True])
        assert found.scores.tolist() == [0.9]
        write_bundle(stage.project, stage.home, "v2")
        deploy(stage.home, champion("v2"))
        stage.service.refresh()  # another version changes nothing of it
        assert asked(stage, 1.0).causes == ["killed"]
        with pytest.raises(DeploymentRefused, match="killed already, by ann: nonsense"):
            kill(stage.home, stage.clock, MODEL, actor="bob", reason="again")
        revive(stage.home, stage.clock, MODEL, actor="ann", reason="mended")
        stage.service.refresh()
        assert asked(stage, 1.0).causes == [None]
        with pytest.raises(DeploymentRefused, match="this one answers"):
            revive(stage.home, stage.clock, MODEL, actor="ann", reason="mended")
        actions = [decision.action for decision in stage.home.ledger.decisions(MODEL)]
        assert actions == ["deploy", "kill", "deploy", "revive"]
        stage.home.ledger.verify()


def test_without_a_fallback_a_killed_model_is_refused(opened: Opened) -> None:
    with opened(None) as stage:
        kill(stage.home, stage.clock, MODEL, actor="ann", reason="nonsense")
        stage.service.refresh()
        with pytest.raises(Killed, match="charkha revive late_trip"):
            asked(stage, 1.0)
        with app_client(build_router(stage.service, ServingMetrics(), stage.clock)) as client:
            row = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}
            reply = client.post(f"/v1/models/{MODEL}/predict", json=row)
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "killed")
            assert client.get("/v1/models").json()["models"][0]["killed"] == "nonsense"


def test_rules_that_hold_decide_where_the_model_fails(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(Fallback(decision=False), rules=[FAR]) as stage:
        break_the_champion(stage, monkeypatch)
        found = asked(stage, 1.0, 500.0)
        assert found.decisions == [False, True]
        assert (found.causes, list(found.rules)) == (["model_failed"] * 2, [(), ("far",)])
        frame = logged(stage)
        assert frame["fallback"].to_list() == ["model_failed"] * 2
        assert frame["score"].is_nan().all()
        assert frame["role"].to_list() == ["fallback"] * 2
        assert frame["sky.rain"].to_list() == [2.5, 2.5]


def skew_scores(stage: Stage, monkeypatch: pytest.MonkeyPatch, *intercepts: float) -> None:
    """Have versions of these intercepts answer NaN for 10 km, and infinity for 20 km."""
    predictor = type(stage.service.line_ups()[MODEL].champion.bundle.predictor)
    predict = predictor.predict

    def skewed(self: Any, matrix: Any) -> Any:
        scores = predict(self, matrix)
        if self._state.intercept in intercepts:
            scores[matrix[:, -2] == 5.0] = np.nan
            scores[matrix[:, -2] == 10.0] = np.inf
        return scores

    monkeypatch.setattr(predictor, "predict", skewed)


def test_a_score_that_is_no_number_is_a_model_that_failed(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = ServingMetrics()
    with opened(Fallback(decision=True, score=0.9), observer=metrics) as stage:
        skew_scores(stage, monkeypatch, -1.0)
        found = asked(stage, 1.0, 10.0, 20.0, 2.0)
        assert found.causes == [None, "model_failed", "model_failed", None]
        assert (found.decisions[1:3], found.scores[1:3].tolist()) == ([True, True], [0.9, 0.9])
        assert logged(stage)["fallback"].to_list() == [None, "model_failed", "model_failed", None]
        text = metrics.exposition().decode()
    assert 'charkha_fallbacks_total{cause="model_failed",model="late_trip"} 2.0' in text
    assert 'charkha_version_failures_total{model="late_trip",role="champion",version="v1"} 1.0' in text


def test_the_champion_before_scores_what_is_no_number(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(Fallback(decision=True, score=0.9, previous=True)) as stage:
        write_bundle(stage.project, stage.home, "v2", intercept=3.0)
        deploy(stage.home, champion("v2"))
        stage.service.refresh()
        skew_scores(stage, monkeypatch, 3.0)
        found = asked(stage, 1.0, 10.0)
        assert (found.versions, found.causes) == (["v2", "v1"], [None, "model_failed"])
        skew_scores(stage, monkeypatch, -1.0)
        found = asked(stage, 1.0, 10.0)
        assert (found.versions, found.scores[1]) == (["v2", "v2"], 0.9)  # the constant, where neither has a number


def test_a_challenger_without_a_number_leaves_the_row_to_the_champion(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(None) as stage:
        write_bundle(stage.project, stage.home, "v2", intercept=3.0)
        deploy(stage.home, champion("v1"), Assignment("v2", "challenger", 1.0))
        stage.service.refresh()
        skew_scores(stage, monkeypatch, 3.0)
        assert asked(stage, 1.0, 10.0).versions == ["v2", "v1"]


def test_a_call_that_the_model_fails_on_takes_no_other_with_it(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(Fallback(decision=False)) as stage:
        predictor = type(stage.service.line_ups()[MODEL].champion.bundle.predictor)
        predict = predictor.predict

        def moody(self: Any, matrix: Any) -> Any:
            if (matrix[:, -2] > 400).any():
                raise RuntimeError("too far")
            return predict(self, matrix)

        monkeypatch.setattr(predictor, "predict", moody)
        with app_client(build_router(stage.service, ServingMetrics(), stage.clock)) as client:
            near = {"city": "Pune", "km": 1.5, "stops": 2, "pooled": True}
            replies = client.together(near, {**near, "km": 1e4}, near, path=f"/v1/models/{MODEL}/predict")
        assert [reply.json()["fallback"] for reply in replies] == [None, "model_failed", None]


def test_the_champion_before_answers_if_it_is_asked_and_can(opened: Opened) -> None:
    with opened(Fallback(decision=False, previous=True)) as stage:
        write_bundle(stage.project, stage.home, "v2", intercept=3.0)
        deploy(stage.home, champion("v2"))
        stage.service.refresh()
        kill(stage.home, stage.clock, MODEL, actor="ann", reason="too strict")
        before = asked(stage, 1.0)
        stage.service.refresh()
        found = asked(stage, 1.0)
        assert (before.versions, found.versions) == (["v2"], ["v1"])
        assert (found.roles, found.causes) == (["fallback"], ["killed"])
        assert found.scores[0] < before.scores[0]


def test_a_store_that_cannot_be_read_is_no_failed_call(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(Fallback(decision=False, previous=True), rules=[FAR]) as stage:

        @contextmanager
        def down() -> Iterator[OnlineReader]:
            raise OSError("input/output error")
            yield

        monkeypatch.setattr(stage.home.online, "read", down)
        found = asked(stage, 1.0, 500.0)
        assert (found.causes, found.decisions) == (["features_unavailable"] * 2, [False, True])
        frame = logged(stage)
        assert frame["_seen_us"].to_list() == [None, None]
        assert frame["request.km"].to_list() == [1.0, 500.0]


def test_it_abstains_on_rows_that_too_little_is_known_of(opened: Opened) -> None:
    with opened(Fallback(decision=True, max_missing=0.5)) as stage:
        stage.service.push("trips", [trip(1)])
        rows = [("Pune", 1.0, 2, True), ("Nowhere", 1.0, 2, True)]  # of the second only a count of 0 is known
        found = stage.service.answer([stage.service.ask_rows(MODEL, rows)])[0]
        assert found.causes == [None, "features_missing"]
        assert found.roles == ["champion", "fallback"]
        assert logged(stage)["fallback"].to_list() == [None, "features_missing"]


def test_it_abstains_while_a_source_is_stale(opened: Opened) -> None:
    with opened(Fallback(decision=True, max_source_age={"trips": "2h"})) as stage:
        assert asked(stage, 1.0).causes == ["source_stale"]  # there never was a row
        stage.service.push("trips", [trip(1)])
        assert asked(stage, 1.0).causes == [None]
        stage.clock.advance_to(NOW_US + 2 * HOUR_US)
        assert asked(stage, 1.0).causes == [None]
        stage.clock.advance_to(NOW_US + 2 * HOUR_US + 1)
        assert asked(stage, 1.0).causes == ["source_stale"]


def test_who_has_waited_too_long_gets_the_fallback(opened: Opened) -> None:
    with opened(Fallback(decision=True)) as stage:
        batcher = Batcher(stage.service, MODEL)

        async def late() -> Any:
            return await batcher.predict([("Pune", 1.0, 2, True)], Deadline.within(1e-9))

        (found,) = asyncio.run(late())
        assert (found.fallback, found.decision, found.score) == ("deadline_passed", True, None)
        assert logged(stage)["id"].to_list() == [found.id]


def test_calls_that_are_late_together_are_one_batch(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(Fallback(decision=True)) as stage:
        batcher, asked_for = Batcher(stage.service, MODEL), []
        ask_rows = stage.service.ask_rows

        def counting(model: str, rows: Any, *how: Any) -> Any:
            asked_for.append(len(rows))
            return ask_rows(model, rows, *how)

        monkeypatch.setattr(stage.service, "ask_rows", counting)

        async def late() -> list[Any]:
            row = ("Pune", 1.0, 2, True)
            timeouts = [1e-9] * 20 + [60.0] * 3
            return await asyncio.gather(*(batcher.predict([row], Deadline.within(each)) for each in timeouts))

        found = [each.fallback for (each,) in asyncio.run(late())]
        assert found == ["deadline_passed"] * 20 + [None] * 3
        assert sorted(asked_for) == [3, 20]
        assert logged(stage).height == 23


def test_a_fallback_is_no_merit_of_the_version(opened: Opened) -> None:
    with opened(Fallback(decision=True, score=1.0)) as stage:
        asked(stage, 1.0)
        kill(stage.home, stage.clock, MODEL, actor="ann", reason="nonsense")
        stage.service.refresh()
        asked(stage, 1.0, 2.0)
        model = stage.project.models[MODEL]
        collect(stage.home, model, BundleStore(stage.home.bundles))
        found = outcomes(stage.home, model, 0, NOW_US + 1, NOW_US + 1)
        assert found["role"].to_list() == ["champion"]


def test_fallbacks_are_counted(opened: Opened) -> None:
    metrics = ServingMetrics()
    with opened(Fallback(decision=True, max_missing=0.0), observer=metrics) as stage:
        build_router(stage.service, metrics, stage.clock)
        asked(stage, 1.0, 2.0)
        kill(stage.home, stage.clock, MODEL, actor="ann", reason="nonsense")
        stage.service.refresh()
        text = metrics.exposition().decode()
    assert 'charkha_fallbacks_total{cause="features_missing",model="late_trip"} 2.0' in text
    assert 'charkha_model_killed{model="late_trip"} 1.0' in text


def test_what_a_fallback_declares_is_checked(opened: Opened) -> None:
    from charkha.spec.checks.policies import fallback_faults

    with opened(None) as stage:
        model = stage.project.models[MODEL]
    wrong = Fallback(score=1.5, max_missing=2.0, max_source_age={"trips": "soon", "nowhere": "1h"})
    said = [str(fault) for fault in fallback_faults("model", evolve(model, fallback=wrong), ["trips"])]
    assert len(said) == 5
    assert any("a decision, for the model decides" in each for each in said)
    assert list(fallback_faults("model", evolve(model, fallback=Fallback(decision=False)), ["trips"])) == []
