"""The card says what the manifest holds, in words, and nothing that somebody wrote can change its form."""

from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from charkha.bundles.calibration import Calibration
from charkha.bundles.encoding import FeatureColumn, FeatureSchema
from charkha.bundles.manifest import (
    Estimate,
    EstimatorSpec,
    GateResult,
    Lineage,
    Manifest,
    Measured,
    PartSummary,
    RuleSpec,
    RuntimeChoice,
    manifest_from_json,
    manifest_to_json,
)
from charkha.bundles.profile import NumericShape, Profile, ProfileShape, TextShape
from charkha.clock import parse_time
from charkha.features.expressions import expression_to_json
from charkha.governance.card import model_card
from charkha.governance.measured import MOST_SLICES
from charkha.spec.policies import Fallback
from charkha.spec.rules import score


def manifest(**changes: Any) -> Manifest:
    delay, carrier = "congestion.mean_delay_6h", "schedule.carrier"
    shape = ProfileShape((NumericShape(delay, ()),), (TextShape(carrier, ("AA",)),), NumericShape("score", ()))
    whole = Manifest(
        model="late_arrival",
        version="v3",
        task="binary",
        created_us=parse_time("2013-04-01T06:30:00Z"),
        as_of_us=parse_time("2013-04-01"),
        estimator=EstimatorSpec("lightgbm", {"trees": 400, "leaves": 31}),
        runtime=RuntimeChoice(
            name="compiled",
            rows=900,
            measured={"native": Measured(18.25, 14.5, 0.0), "compiled": Measured(8.1, 1.31, 1e-16)},
            passed_over={"numpy": "not here"},
        ),
        plan_json="{}",
        schema=FeatureSchema((FeatureColumn(delay, "numeric"), FeatureColumn(carrier, "categorical", ("AA",)))),
        calibration=Calibration("isotonic", (0.0, 1.0), (0.0, 1.0)),
        threshold=0.3125,
        costs={"false_positive": 1.0, "false_negative": 5.0},
        rules=(RuleSpec("strike", expression_to_json(pl.col("carrier") == "ZZ"), True, "no aircraft leaves"),),
        fallback=Fallback(decision=False, score=0.02, previous=True, max_missing=0.5, max_source_age={"flights": "2h"}),
        metrics={
            "validation": {"roc_auc": Estimate(0.75, 0.74, 0.76, 900)},
            "test": {"roc_auc": Estimate(0.71, 0.69, 0.73, 1000), "log_loss": Estimate(0.4, 0.3, 0.5, 1000)},
        },
        slices={
            "carrier": {
                "B6": {"roc_auc": Estimate(0.60, 0.55, 0.65, 300)},
                "AA": {"roc_auc": Estimate(0.72, 0.70, 0.74, 600)},
                "UA": {"roc_auc": Estimate(0.52, 0.40, 0.68, 100)},
            }
        },
        gates=(
            GateResult("beats_champion(roc_auc)", True, None, 0.0, "there is no champion yet"),
            GateResult("calibrated(0.03)", True, Estimate(0.01, 0.008, 0.02, 1000), 0.03, "0.01 is at most 0.03"),
        ),
        parts={"train": PartSummary(50_000, parse_time("2013-01-01"), parse_time("2013-03-01"), 0.2345)},
        reference=Profile(shape.fingerprint, 1000, {delay: (600, 400), carrier: (999, 1, 0)}, (1000, 0)),
        shape=shape,
        lineage=Lineage(
            fingerprint="f00d",
            rows=51_900,
            definition_digest="cafe",
            as_of_us=parse_time("2013-04-01"),
            seed=7,
            versions={"lightgbm": "4.7.0"},
            source_rows={"flights": 80_000, "weather": 6_000},
        ),
        purpose="operations",
        owner="eta-team",
        positive_share=0.2345,
    )
    return msgspec.structs.replace(whole, **changes)


def test_the_whole_card() -> None:
    assert model_card(manifest()) == (Path(__file__).parent / "late_arrival_card.md").read_text()


def section(card: str, title: str) -> str:
    return card.split(f"## {title}\n\n")[1].split("\n\n## ", maxsplit=1)[0]


def test_a_version_without_a_fallback_says_so() -> None:
    assert "No fallback was declared" in section(model_card(manifest(fallback=None)), "Where it cannot answer")


def test_a_fallback_travels_with_the_manifest() -> None:
    made = manifest()
    assert manifest_from_json(manifest_to_json(made)).fallback == made.fallback


def test_a_version_that_failed_says_so_first() -> None:
    failed = GateResult("at_least(roc_auc)", False, Estimate(0.6, 0.5, 0.7, 100), 0.7, "0.6 is below 0.7")
    card = model_card(manifest(gates=(failed,)))
    assert "**It failed a gate, and must not serve.**" in card.split("##", maxsplit=1)[0]
    assert "| at_least(roc_auc) | **failed** | 0.6 (0.5 to 0.7) | 0.6 is below 0.7 |" in card


def test_a_regression_without_rules_gates_or_slices_has_no_empty_sections() -> None:
    bare = manifest(
        task="regression", threshold=None, costs={}, calibration=None, rules=(), gates=(), slices={}, parts={},
        metrics={"test": {"mae": Estimate(12.0, 11.0, 13.0, 1000)}},
    )  # fmt: skip
    card = model_card(bare)
    titles = [line for line in card.splitlines() if line.startswith("## ")]
    assert titles == [
        "## What it is",
        "## What it was made from",
        "## How good it is",
        "## Where it cannot answer",
        "## Where it ends",
        "## How to make it again",
    ]
    assert "a number (regression). Its scores are not calibrated." in card
    assert "\n\n\n" not in card


def test_where_a_lower_metric_is_better_the_weakest_are_the_highest() -> None:
    slices = {
        "carrier": {v: {"mae": Estimate(m, m - 1, m + 1, 50)} for v, m in {"A": 9.0, "B": 30.0, "C": 20.0}.items()}
    }
    metrics = {"test": {"mae": Estimate(12.0, 11.0, 13.0, 1000)}}
    card = model_card(manifest(task="regression", metrics=metrics, slices=slices))
    assert "By mae, it is weakest for carrier B 30 (29 to 31), carrier C 20 (19 to 21); on all" in card


def test_slices_within_chance_are_not_blamed() -> None:
    slices = {"carrier": {"UA": {"roc_auc": Estimate(0.52, 0.40, 0.72, 100)}}}
    assert "no slice that was measured is worse than the whole beyond chance" in model_card(manifest(slices=slices))


def test_nothing_is_called_weakest_without_a_metric_that_has_a_direction() -> None:
    card = model_card(manifest(metrics={"test": {"calibration_error": Estimate(0.1, 0.0, 0.2, 100)}}))
    assert "weakest" not in card
    assert "no slice" not in card


def test_the_largest_slices_are_shown_and_the_rest_counted() -> None:
    slices = {"origin": {f"o{i:02}": {"roc_auc": Estimate(0.7, 0.6, 0.8, 100 + i)} for i in range(MOST_SLICES + 5)}}
    found = section(model_card(manifest(slices=slices)), "For whom it is how good")
    assert found.splitlines()[2].startswith("| o24 | 0.7 (0.6 to 0.8) | 124 |")
    assert found.count("| o") == MOST_SLICES + 1
    assert found.endswith("And 5 smaller ones.")


def test_a_metric_that_a_slice_lacks_is_a_dash() -> None:
    both = {"roc_auc": Estimate(0.7, 0.6, 0.8, 90), "log_loss": Estimate(0.4, 0.3, 0.5, 90)}
    slices = {"origin": {"JFK": both, "LGA": {"log_loss": Estimate(0.4, 0.3, 0.5, 80)}}}
    assert "| LGA | – | 0.4 (0.3 to 0.5) | 80 |" in model_card(manifest(slices=slices))


def test_rules_in_shadow_and_by_the_score_are_told_apart() -> None:
    rule = RuleSpec("sure", expression_to_json(score() > 0.9), False, "sure enough", shadow=True)
    card = model_card(manifest(rules=(rule,)))
    assert "One in shadow is evaluated and logged, and decides nothing. `_score` is the score, calibrated" in card
    assert "| no (in shadow) | sure enough |" in card


@pytest.mark.parametrize(
    "text", ["a|b", "<script>x</script>", "two\nlines", "[x](http://y)", "`code`", "*bold*", "__x__"]
)
def test_nobodys_words_change_the_form(text: str) -> None:
    slices = {"carrier": {text: {"roc_auc": Estimate(0.7, 0.6, 0.8, 90)}}}
    rule = RuleSpec(text, expression_to_json(pl.col("carrier") == text), True, text)
    card = model_card(manifest(owner=text, purpose=text, slices=slices, rules=(rule,)))
    usual = model_card(manifest(slices={"carrier": {"x": slices["carrier"][text]}}))
    assert [line[:2] for line in card.splitlines()] == [line[:2] for line in usual.splitlines()]
    unescaped = card.replace("\\|", "").replace("\\<", "").replace("\\[", "").replace("\\`", "").replace("\\*", "")
    assert all(mark not in unescaped for mark in ("<script", "[x]", "`code", "*bold"))
    assert {line.count("|") for line in unescaped.splitlines() if line.startswith("|")} <= {4, 5, 6}
