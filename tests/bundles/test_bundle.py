"""A bundle scores as its parts do, and decides by the first rule that holds, else by the threshold."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from made_bundle import Made, make

from charkha.bundles.bundle import Bundle, load_bundle
from charkha.bundles.encoding import encode
from charkha.bundles.manifest import RuleSpec
from charkha.bundles.predictor import UnknownEstimator, load_predictor
from charkha.features.expressions import UnsafeExpression, expression_to_json


@pytest.fixture
def made() -> Made:
    return make()


def bundle(made: Made, **changes: Any) -> Bundle:
    return load_bundle(msgspec.structs.replace(made.manifest, **changes), made.state)


def requests(rows: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"carrier": pl.String, "distance": pl.Float64})


def test_scores_are_those_of_encoding_predicting_and_calibrating(made: Made) -> None:
    raw = load_predictor("lightgbm", made.state).predict(encode(made.manifest.schema, made.features))
    np.testing.assert_array_equal(bundle(made, calibration=None).score(made.features), raw)
    calibrated = bundle(made).score(made.features)
    np.testing.assert_array_equal(calibrated, np.interp(raw, [0.0, 0.5, 1.0], [0.1, 0.4, 0.9]))


def test_the_plan_is_the_one_it_was_trained_with(made: Made) -> None:
    plan = bundle(made).plan
    assert (plan.names, plan.at) == (made.manifest.schema.names, "at")


def test_without_rules_the_threshold_decides(made: Made) -> None:
    scores = np.array([0.49, 0.5, np.nan, 0.51])
    decisions, hits = bundle(made, rules=()).decide(scores, requests({"carrier": ["AA"] * 4, "distance": [900.0] * 4}))
    assert decisions is not None
    assert decisions.dtype == np.bool_
    assert decisions.tolist() == [False, True, False, True]
    assert hits == [(), (), (), ()]


def test_the_first_rule_that_holds_wins_and_all_that_hold_are_named(made: Made) -> None:
    rows = {"carrier": ["ZZ", "ZZ", "AA", "AA", None], "distance": [50.0, 900.0, 50.0, 900.0, None]}
    decisions, hits = bundle(made).decide(np.array([0.1, 0.1, 0.9, 0.9, 0.9]), requests(rows))
    assert decisions is not None
    assert decisions.tolist() == [True, True, False, True, True]
    assert hits == [("strike", "short"), ("strike",), ("short",), (), ()]


def test_without_a_threshold_only_rules_decide(made: Made) -> None:
    rows = requests({"carrier": ["ZZ", "AA"], "distance": [900.0, 900.0]})
    decisions, hits = bundle(made, threshold=None).decide(np.array([0.9, 0.9]), rows)
    assert decisions is not None
    assert (decisions.tolist(), hits) == ([True, False], [("strike",), ()])
    assert bundle(made, threshold=None, rules=()).decide(np.array([0.9, 0.9]), rows) == (None, [(), ()])


def test_a_rule_may_use_features_and_need_not_be_boolean(made: Made) -> None:
    rule = RuleSpec("busy", expression_to_json(pl.col("congestion.mean_delay_6h") // 60), True)
    rows = pl.DataFrame({"congestion.mean_delay_6h": [30.0, 90.0, None]})
    decisions, hits = bundle(made, rules=(rule,)).decide(np.zeros(3), rows)
    assert decisions is not None
    assert (decisions.tolist(), hits) == ([False, True, False], [(), ("busy",), ()])


def test_a_rule_that_cannot_be_evaluated_does_not_hold_for_that_row(made: Made) -> None:
    rules = (RuleSpec("code", expression_to_json(pl.col("carrier").cast(pl.Int64) > 0), True),)
    rows = requests({"carrier": ["7", "AA", None], "distance": [1.0] * 3})
    assert bundle(made, threshold=None, rules=rules).decide(np.zeros(3), rows)[1] == [("code",), (), ()]


def test_a_rule_that_looks_at_nothing_holds_for_every_row(made: Made) -> None:
    rule = RuleSpec("always", expression_to_json(pl.lit(True)), True)
    decisions, hits = bundle(made, rules=(rule,)).decide(
        np.zeros(3), requests({"carrier": ["A"] * 3, "distance": [1.0] * 3})
    )
    assert decisions is not None
    assert (decisions.tolist(), hits) == ([True] * 3, [("always",)] * 3)


@pytest.mark.parametrize("rows", [0, 1, 200])
def test_any_number_of_rows(made: Made, rows: int) -> None:
    features = made.features.head(rows).with_columns(carrier=pl.lit("AA"), distance=pl.lit(900.0))
    scores = bundle(made).score(features)
    decisions, hits = bundle(made).decide(scores, features)
    assert decisions is not None
    assert (len(scores), len(decisions), len(hits)) == (rows, rows, rows)
    np.testing.assert_array_equal(decisions, scores >= 0.5)


def test_decisions_do_not_change_the_scores(made: Made) -> None:
    scores = np.array([0.1, 0.9])
    bundle(made).decide(scores, requests({"carrier": ["ZZ", "ZZ"], "distance": [1.0, 1.0]}))
    assert scores.tolist() == [0.1, 0.9]


def test_code_in_a_rule_is_never_loaded(made: Made) -> None:
    planted = '{"AnonymousFunction":{"input":[],"function":"gASVJAAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOU"}}'
    with pytest.raises(UnsafeExpression):
        bundle(made, rules=(RuleSpec("bad", planted, True),))


def test_an_estimator_from_the_future_is_refused(made: Made) -> None:
    future = msgspec.structs.replace(made.manifest.estimator, kind="oracle")
    with pytest.raises(UnknownEstimator, match="got 'oracle'"):
        bundle(made, estimator=future)
