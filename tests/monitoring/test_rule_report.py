"""The report on rules: a small example counted by hand, and a loop over rows that says the same of any other."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from charkha.bundles.encoding import FeatureSchema
from charkha.bundles.manifest import EstimatorSpec, Lineage, Manifest, RuleSpec
from charkha.bundles.profile import learn_shape, profile_of
from charkha.features.expressions import expression_to_json
from charkha.monitoring.rule_report import DeciderLine, RuleLine, rule_report
from charkha.serving.prediction_frames import PREDICTION_SCHEMA
from charkha.spec.rules import score

MATURED_US = 100
FRAME, SCORES = pl.DataFrame({"x": [0.0, 1.0]}), np.array([0.2, 0.8])
SHAPE = learn_shape(FRAME, SCORES)
COSTS = {"false_positive": 1.0, "false_negative": 5.0, "true_positive": 0.5, "true_negative": 0.0}
PLAIN, SURE = expression_to_json(pl.lit(value=True)), expression_to_json(score() > 0.9)
BLOCK = RuleSpec("block", PLAIN, True)
LARGE = RuleSpec("large", PLAIN, True)
TRUSTED = RuleSpec("trusted", PLAIN, False)
BY_SCORE = RuleSpec("sure", SURE, False)
WATCH = RuleSpec("watch", PLAIN, True, shadow=True)

# score, rules that held, decision, label, time
Row = tuple[float, Sequence[str], bool | None, float | None, int]


def manifest(*rules: RuleSpec, **changes: Any) -> Manifest:
    lineage = Lineage(fingerprint="", rows=0, definition_digest="", as_of_us=0, seed=0, versions={}, source_rows={})
    made = Manifest(
        model="fraud",
        version="v1",
        task="binary",
        created_us=0,
        as_of_us=0,
        estimator=EstimatorSpec("linear"),
        plan_json="",
        schema=FeatureSchema(()),
        threshold=0.5,
        costs=COSTS,
        rules=rules,
        reference=profile_of(SHAPE, FRAME, SCORES),
        shape=SHAPE,
        lineage=lineage,
        purpose="tests",
        owner="tests",
        positive_share=0.5,
    )
    return msgspec.structs.replace(made, **changes)


def outcomes(rows: Sequence[Row], version: str = "v1") -> pl.DataFrame:
    columns: dict[str, Any] = {
        "_at_us": pl.Series([row[4] for row in rows], dtype=pl.Int64),
        "version": pl.Series([version] * len(rows), dtype=pl.String),
        "score": pl.Series([row[0] for row in rows], dtype=pl.Float64),
        "rules": pl.Series([list(row[1]) for row in rows], dtype=PREDICTION_SCHEMA["rules"]),
        "decision": pl.Series([row[2] for row in rows], dtype=pl.Boolean),
        "_label": pl.Series([row[3] for row in rows], dtype=pl.Float64),
    }
    return pl.DataFrame(columns)


SERVED: list[Row] = [
    (0.9, ["block"], True, 1.0, 0),  # both catch it
    (0.2, ["block"], True, 1.0, 0),  # block alone
    (0.2, ["block", "watch"], True, 0.0, 0),  # block alone, wrongly
    (0.2, ["large", "block"], True, 1.0, 0),  # two rules, so neither alone
    (0.8, ["trusted"], False, 1.0, 0),  # trusted lets one through
    (0.8, ["trusted"], False, 0.0, 0),  # and spares one
    (0.1, ["trusted"], False, 0.0, 0),
    (0.3, ["watch"], False, 1.0, 0),  # watch would have caught it
    (0.3, [], False, 0.0, 0),
    (0.7, [], True, 1.0, 0),
    (0.1, ["block"], True, 1.0, MATURED_US),  # too young to be judged
    (0.1, ["block"], True, None, 0),  # nothing known
]


def test_a_small_example_counted_by_hand() -> None:
    declared = manifest(BLOCK, LARGE, TRUSTED, WATCH)
    report = rule_report(declared, pl.concat([outcomes(SERVED), outcomes(SERVED, "v2")]), MATURED_US)
    assert (report.model, report.version, report.predictions, report.labels) == ("fraud", "v1", 12, 10)
    lines = {line.name: line for line in report.rules}
    assert lines["block"] == RuleLine(
        name="block", decides=True, shadow=False, by_score=False, hits=6, share=0.5, labels=4, same=1, otherwise=5,
        right=3, precision=0.75, right_alone=1, wrong_alone=1,
    )  # fmt: skip
    assert (lines["large"].hits, lines["large"].right, lines["large"].right_alone) == (1, 1, 0)
    trusted = lines["trusted"]
    assert (trusted.hits, trusted.same, trusted.otherwise, trusted.labels) == (3, 1, 2, 3)
    assert (trusted.right, trusted.right_alone, trusted.wrong_alone) == (2, 1, 1)
    watch = lines["watch"]
    assert (watch.shadow, watch.hits, watch.right, watch.right_alone, watch.wrong_alone) == (True, 2, 1, 1, 0)
    assert report.deciders == (
        DeciderLine(
            who="the model alone", yes=4, caught=3, missed=3, false_alarms=1, precision=0.75, recall=0.5,
            cost=3 * 0.5 + 3 * 5 + 1,
        ),
        DeciderLine(
            who="the rules alone", yes=6, caught=3, missed=3, false_alarms=1, precision=0.75, recall=0.5,
            cost=3 * 0.5 + 3 * 5 + 1,
        ),
        DeciderLine(
            who="both, as decided", yes=7, caught=4, missed=2, false_alarms=1, precision=0.8, recall=4 / 6,
            cost=4 * 0.5 + 2 * 5 + 1,
        ),
        DeciderLine(
            who="with rules in shadow", yes=8, caught=5, missed=1, false_alarms=1, precision=5 / 6, recall=5 / 6,
            cost=5 * 0.5 + 1 * 5 + 1,
        ),
    )  # fmt: skip


def test_nothing_predicted_and_no_labels() -> None:
    empty = rule_report(manifest(BLOCK), outcomes([]), MATURED_US)
    assert (empty.predictions, empty.labels, empty.rules[0].share) == (0, 0, 0.0)
    assert [(line.precision, line.recall, line.cost) for line in empty.deciders] == [(None, None, None)] * 3
    unlabelled = rule_report(manifest(BLOCK), outcomes([(0.9, ["block"], True, None, 0)]), MATURED_US)
    (line,) = unlabelled.rules
    assert (line.hits, line.same, line.labels, line.precision, line.right) == (1, 1, 0, None, 0)


def test_a_regression_decides_nothing_by_its_score() -> None:
    found = rule_report(
        manifest(WATCH, task="regression", threshold=None, costs={}), outcomes([(7.0, ["watch"], None, 3.0, 0)]), 9
    )
    (line,) = found.rules
    assert (line.hits, line.same, line.right, found.deciders) == (1, None, None, ())


def test_without_rules_there_is_the_model_alone() -> None:
    found = rule_report(manifest(), outcomes([(0.9, [], True, 1.0, 0)]), MATURED_US)
    assert (found.rules, [line.who for line in found.deciders]) == ((), ["the model alone"])


RULES = (BLOCK, BY_SCORE, TRUSTED, LARGE, WATCH)
ROW = st.tuples(
    st.sampled_from([0.1, 0.49, 0.5, 0.9, float("nan")]),
    st.lists(st.sampled_from([rule.name for rule in RULES]), unique=True),
    st.none() | st.booleans(),
    st.sampled_from([None, 0.0, 1.0]),
    st.sampled_from([0, MATURED_US - 1, MATURED_US]),
)


def first_of(held: Sequence[str], rules: Sequence[RuleSpec], *, otherwise: bool) -> bool:
    return next((rule.decide for rule in rules if rule.name in held), otherwise)


@given(st.lists(ROW, max_size=40), st.permutations(RULES))
def test_a_loop_over_rows_says_the_same(rows: list[Row], rules: list[RuleSpec]) -> None:
    report = rule_report(manifest(*rules), outcomes(rows), MATURED_US)
    for rule, line in zip(rules, report.rules, strict=True):
        counts = dict.fromkeys(("hits", "labels", "same", "otherwise", "right", "right_alone", "wrong_alone"), 0)
        for value, held, _, label, at_us in rows:
            if rule.name not in held:
                continue
            model = value >= 0.5
            counts["hits"] += 1
            counts["same" if model == rule.decide else "otherwise"] += 1
            if label is None or at_us >= MATURED_US:
                continue
            right = bool(label) == rule.decide
            counts["labels"] += 1
            counts["right"] += right
            others = [each for each in rules if each is not rule and not each.shadow and each.decide == rule.decide]
            if model != rule.decide and not any(each.name in held for each in others):
                counts["right_alone" if right else "wrong_alone"] += 1
        assert {name: getattr(line, name) for name in counts} == counts
        assert line.precision == (counts["right"] / counts["labels"] if counts["labels"] else None)
    alone = [rule for rule in rules if rule not in (WATCH, BY_SCORE)]
    deciders: list[Callable[[Row], bool]] = [
        lambda row: row[0] >= 0.5,
        lambda row: first_of(row[1], alone, otherwise=False),
        lambda row: bool(row[2]),
        lambda row: first_of(row[1], rules, otherwise=row[0] >= 0.5),
    ]
    for found, decides in zip(report.deciders, deciders, strict=True):
        judged = [(decides(row), bool(row[3])) for row in rows if row[3] is not None and row[4] < MATURED_US]
        assert found.yes == sum(decides(row) for row in rows)
        assert (found.caught, found.missed) == (judged.count((True, True)), judged.count((False, True)))
        assert found.false_alarms == judged.count((True, False))
        cost = sum({(1, 1): 0.5, (1, 0): 1.0, (0, 1): 5.0, (0, 0): 0.0}[decided, truth] for decided, truth in judged)
        assert found.cost == (cost if judged else None)
