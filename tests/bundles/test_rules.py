"""Rules by the score and rules in shadow: what holds, what decides, what is told; by few rows and by tables alike."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_bundle import make

from charkha.bundles.bundle import Bundle, load_bundle
from charkha.bundles.manifest import RULES_FORMAT, RuleSpec, manifest_from_json, manifest_to_json
from charkha.features.evaluate import Failure
from charkha.features.expressions import expression_to_json
from charkha.features.online import nothing_fetched, online_columns
from charkha.features.request import Columns
from charkha.spec.rules import score

NAN = float("nan")
MADE = make()
SCHEMA = {"carrier": pl.String, "distance": pl.Float64}


def spec(name: str, when: pl.Expr, *, decide: bool = True, shadow: bool = False) -> RuleSpec:
    return RuleSpec(name, expression_to_json(when), decide, shadow=shadow)


def bundle(*rules: RuleSpec, **changes: Any) -> Bundle:
    return load_bundle(msgspec.structs.replace(MADE.manifest, rules=rules, **changes), MADE.state)


def rows(*values: tuple[str | None, float | None]) -> pl.DataFrame:
    return pl.DataFrame(list(values), schema=SCHEMA, orient="row")


def features_of(made: Bundle, table: pl.DataFrame) -> Columns:
    """Return what a server has of requests whose entities are unknown."""
    plan, nothing = made.plan_with_rules, [None] * table.height
    columns = {**dict.fromkeys(made.plan.request, nothing), **table.to_dict(as_series=False)}
    return online_columns(plan, columns, nothing_fetched(plan, columns), [7] * table.height)


SURE = spec("sure", score() > 0.8)
SHORT = spec("short", pl.col("distance") < 100, decide=False)


@pytest.mark.parametrize(("rules", "decided"), [((SURE, SHORT), True), ((SHORT, SURE), False)])
def test_the_first_that_holds_decides_whether_it_reads_the_score_or_not(
    rules: Sequence[RuleSpec], decided: bool
) -> None:
    decisions, hits = bundle(*rules).decide(np.array([0.9]), rows(("AA", 50.0)))
    assert decisions is not None
    assert (decisions.tolist(), hits) == ([decided], [tuple(rule.name for rule in rules)])


def test_a_rule_by_a_score_that_is_none_does_not_hold() -> None:
    low = spec("low", score() < 0.9, decide=False)
    scores = np.array([NAN, np.inf, -np.inf, 0.85])
    _, hits = bundle(SURE, low).decide(scores, rows(*[("AA", 1.0)] * 4))
    assert hits == [(), (), (), ("sure", "low")]


def test_a_rule_in_shadow_holds_and_decides_nothing() -> None:
    made = bundle(spec("never", pl.lit(value=True), decide=False, shadow=True), SURE)
    decisions, hits = made.decide(np.array([0.9, 0.6, 0.1]), rows(*[("AA", 1.0)] * 3))
    assert decisions is not None
    assert decisions.tolist() == [True, True, False]
    assert hits == [("never", "sure"), ("never",), ("never",)]
    assert made.in_effect(hits) == [("sure",), (), ()]


def test_with_rules_in_shadow_alone_a_regression_decides_nothing() -> None:
    made = bundle(spec("far", score() > 0.5, shadow=True), threshold=None)
    assert made.decide(np.array([0.9, 0.1]), rows(("AA", 1.0), ("AA", 1.0))) == (None, [("far",), ()])


def test_manifests_of_before_have_no_rule_in_shadow() -> None:
    plain = msgspec.to_builtins(MADE.manifest)
    for rule in plain["rules"]:
        del rule["shadow"]
    read = manifest_from_json(msgspec.json.encode(plain))
    assert (read, [rule.shadow for rule in read.rules]) == (MADE.manifest, [False] * len(read.rules))


def test_manifests_with_new_rules_are_written_and_read() -> None:
    manifest = msgspec.structs.replace(
        MADE.manifest, rules=(SURE, spec("s", pl.lit(value=True), shadow=True)), format=RULES_FORMAT
    )
    assert manifest_from_json(manifest_to_json(manifest)) == manifest


QUICK = (
    SURE,
    SHORT,
    spec("both", (score() * 2 > 1) & (pl.col("distance") > 500), decide=False),
    spec("half", score() >= pl.col("distance") / 1000),
    spec("unsure", score().is_null() | (score() == 0.5), shadow=True),
)
SLOW = (
    spec("named", pl.col("carrier").str.to_lowercase().eq("zz") & (score() > 0.3)),
    spec("root", score().sqrt() > 0.7, decide=False),
    spec("code", pl.col("carrier").cast(pl.Int64) > score()),
)
ROW = st.tuples(
    st.sampled_from(["ZZ", "AA", "7", "", None]), st.none() | st.floats(-1e3, 1e4).map(lambda far: far + 0.0)
)
SCORE = st.sampled_from([0.0, 0.3, 0.5, 0.8, 0.81, 1.0, NAN, np.inf]) | st.floats(0, 1)


@given(
    st.lists(st.tuples(ROW, SCORE), min_size=1, max_size=30), st.lists(st.sampled_from((*QUICK, *SLOW)), unique=True)
)
def test_few_rows_and_tables_give_the_same(asked: list[tuple[Any, float]], rules: list[RuleSpec]) -> None:
    made = bundle(*rules)
    table, scores = rows(*[row for row, _ in asked]), np.array([score for _, score in asked])
    features = features_of(made, table)
    few, many = made.held(features, scores), made.held_in(table, scores)
    assert [list(holds) for holds in few] == [list(holds) for holds in many]
    # Each row as it is alone, so whatever is beside it.
    for place in range(len(asked)):
        alone = made.held_in(table[place : place + 1], scores[place : place + 1])
        assert [holds[0] for holds in alone] == [holds[place] for holds in many]


def test_what_holds_is_what_a_loop_finds() -> None:
    made = bundle(*QUICK)
    asked = [(("AA", far), value) for far in (None, 50.0, 600.0, 900.0) for value in (NAN, 0.2, 0.5, 0.7, 0.95)]
    table, scores = rows(*[row for row, _ in asked]), np.array([value for _, value in asked])
    decisions, hits = made.decide(scores, table)
    for place, ((_, far), value) in enumerate(asked):
        known = not np.isnan(value)
        holds = {
            "sure": known and value > 0.8,
            "short": far is not None and far < 100,
            "both": known and value * 2 > 1 and far is not None and far > 500,
            "half": known and far is not None and value >= far / 1000,
            "unsure": not known or value == 0.5,
        }
        assert hits[place] == tuple(name for name, held in holds.items() if held)
        verdicts = {"sure": True, "short": False, "both": False, "half": True}
        first = next((decide for name, decide in verdicts.items() if holds[name]), known and value >= 0.5)
        assert decisions is not None
        assert decisions[place] == first


def test_a_rule_by_the_score_that_cannot_be_evaluated_is_told_and_does_not_hold() -> None:
    made, told = bundle(*SLOW), list[Failure]()
    table = rows(("7", 1.0), ("AA", 1.0))
    held = made.held(features_of(made, table), np.array([0.2, 0.2]), told.append)
    assert list(held[2]) == [True, False]
    assert [(failure.name, failure.rows) for failure in told] == [("rule code", 1)]


def test_without_scores_what_reads_them_does_not_hold() -> None:
    made = bundle(SURE, SHORT)
    features = features_of(made, rows(("AA", 50.0)))
    assert [list(holds) for holds in made.held(features, None)] == [[False], [True]]


def test_the_plan_holds_only_what_comes_before_the_model() -> None:
    assert set(bundle(SURE, SHORT).plan_with_rules.expressions) - set(bundle().plan.expressions) == {"rule short"}
