"""Rules by the score and in shadow as they are served: what the answer says, and what the log keeps."""

from pathlib import Path

import polars as pl
import pytest
from serving_project import MODEL, Stage, champion, deploy, open_stage, rule, write_bundle

from charkha.bundles.store import BundleStore
from charkha.features.evaluate import Failure
from charkha.serving.observer import Quiet
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import prediction_stream
from charkha.serving.scoring import Answers
from charkha.spec.policies import Fallback
from charkha.spec.rules import score

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
