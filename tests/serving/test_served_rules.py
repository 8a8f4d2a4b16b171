"""Rules by the score and in shadow as they are served: what the answer says, and what the log keeps."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving_project import MODEL, Stage, champion, deploy, open_stage, rule, write_bundle

from charkha.bundles.store import BundleStore
from charkha.features.evaluate import Failure
from charkha.serving.metrics import ServingMetrics
from charkha.serving.observer import Quiet
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.scoring import Answers
from charkha.spec.policies import Fallback
from charkha.spec.rules import score
from charkha.storage.ledger import Assignment

LIKELY = rule("likely", score() > 0.2)
FAR = rule("far", pl.col("km") > 100, decide=False)
WATCH = rule("watch", pl.col("km") > 10, shadow=True)


def asked(stage: Stage, *km: float) -> Answers:
    return stage.service.answer([stage.service.ask_rows(MODEL, [("Pune", each, 2, True) for each in km])])[0]


def logged(stage: Stage) -> pl.DataFrame:
    return decode_predictions(stage.home.log.read(prediction_stream(MODEL)), BundleStore(stage.home.bundles))


def test_rules_in_shadow_are_logged_and_not_answered(tmp_path: Path) -> None:
    with open_stage(tmp_path, rules=[FAR, LIKELY, WATCH]) as stage:
        found = asked(stage, 1.0, 50.0, 500.0)
        assert found.decisions == [True, True, False]
        assert list(found.rules) == [("likely",), ("likely",), ("far", "likely")]
        frame = logged(stage)
        assert frame["rules"].to_list() == [["likely"], ["likely", "watch"], ["far", "likely", "watch"]]
        assert frame["decision"].to_list() == [True, True, False]


def test_calls_that_are_answered_together_have_their_own_rules(tmp_path: Path) -> None:
    with open_stage(tmp_path, rules=[FAR, LIKELY, WATCH]) as stage:
        calls = [stage.service.ask_rows(MODEL, [("Pune", km, 2, True)]) for km in (50.0, 1.0, 500.0)]
        found = stage.service.answer(calls)
        assert [list(each.rules) for each in found] == [[("likely",)], [("likely",)], [("far", "likely")]]
        assert logged(stage)["rules"].to_list() == [["likely", "watch"], ["likely"], ["far", "likely", "watch"]]


def test_where_the_model_fails_rules_by_its_score_do_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_stage(tmp_path, fallback=Fallback(decision=True, score=0.9), rules=[FAR, LIKELY, WATCH]) as stage:
        predictor = type(stage.service.line_ups()[MODEL].champion.bundle.predictor)

        def broken(*_: object) -> None:
            raise RuntimeError("the weights are gone")

        monkeypatch.setattr(predictor, "predict", broken)
        found = asked(stage, 1.0, 500.0)
        assert (found.causes, found.decisions) == (["model_failed"] * 2, [True, False])
        assert list(found.rules) == [(), ("far",)]
        assert logged(stage)["rules"].to_list() == [[], ["far", "watch"]]


def test_a_version_with_another_rule_is_swapped_in(tmp_path: Path) -> None:
    with open_stage(tmp_path, rules=[WATCH]) as stage:
        assert list(asked(stage, 50.0).rules) == [()]
        write_bundle(stage.project, stage.home, "v2", rules=[rule("watch", pl.col("km") > 10), LIKELY])
        deploy(stage.home, champion("v2"))
        stage.service.refresh()
        assert list(asked(stage, 50.0).rules) == [("watch", "likely")]


class Listening(Quiet):
    """Keeps what could not be evaluated."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, int]] = []

    def not_evaluated(self, model: str, failure: Failure, time_us: int) -> None:
        self.failures.append((failure.name, failure.rows))


def test_a_rule_by_the_score_that_fails_is_told_once(tmp_path: Path) -> None:
    observer = Listening()
    code = rule("code", pl.col("city").cast(pl.Int64) > score())
    with open_stage(tmp_path, observer, rules=[code]) as stage:
        observer.failures.clear()
        assert list(asked(stage, 1.0, 2.0).rules) == [(), ()]
        assert observer.failures == [("rule code", 2)]


def counted(metrics: ServingMetrics) -> dict[tuple[str, str], float]:
    """Return how often each rule held, by its name and whether it is in shadow."""
    found = text_string_to_metric_families(metrics.exposition().decode())
    hits = next(family for family in found if family.name == "charkha_rule_hits")
    assert {sample.labels["model"] for sample in hits.samples} == {MODEL}
    return {(sample.labels["rule"], sample.labels["shadow"]): sample.value for sample in hits.samples}


def test_hits_are_counted_by_rule_those_in_shadow_apart(tmp_path: Path) -> None:
    metrics = ServingMetrics()
    with open_stage(tmp_path, metrics, rules=[FAR, LIKELY, WATCH]) as stage:
        assert counted(metrics) == {("far", "false"): 0, ("likely", "false"): 0, ("watch", "true"): 0}
        asked(stage, 1.0, 50.0, 500.0)
        assert counted(metrics) == {("far", "false"): 1, ("likely", "false"): 3, ("watch", "true"): 2}
        calls = [stage.service.ask_rows(MODEL, [("Pune", km, 2, True)]) for km in (50.0, 500.0)]
        stage.service.answer(calls)
        assert counted(metrics) == {("far", "false"): 2, ("likely", "false"): 5, ("watch", "true"): 4}


def test_only_the_rules_of_who_answers_are_counted(tmp_path: Path) -> None:
    """Each row once, by the version that answered it; what shadows made of it is theirs."""
    metrics = ServingMetrics()
    with open_stage(tmp_path, metrics, rules=[FAR]) as stage:
        write_bundle(stage.project, stage.home, "v2", rules=[WATCH])
        write_bundle(stage.project, stage.home, "v3", rules=[LIKELY])
        players = (Assignment("v1", "champion", 0.5), Assignment("v2", "challenger", 0.5), Assignment("v3", "shadow"))
        deploy(stage.home, *players)
        stage.service.refresh()
        rows = [(f"city {number}", 500.0, 2, True) for number in range(200)]
        found = stage.service.answer([stage.service.ask_rows(MODEL, rows)])[0]
        of_second = found.versions.count("v2")
        assert 0 < of_second < 200
        assert counted(metrics) == {("far", "false"): 200 - of_second, ("watch", "true"): of_second}


def test_more_batches_than_anybody_counts_are_all_counted(tmp_path: Path) -> None:
    metrics = ServingMetrics()
    with open_stage(tmp_path, metrics, rules=[FAR]) as stage:
        scored = stage.service._answer([stage.service.ask_rows(MODEL, [("Pune", 500.0, 2, True)])])[0][1]
        with ThreadPoolExecutor(4) as threads:
            for _ in range(3000):
                threads.submit(metrics.ruled, MODEL, scored.parts())
        assert counted(metrics) == {("far", "false"): 3001}
        assert not metrics.rule_hits.refresh()
