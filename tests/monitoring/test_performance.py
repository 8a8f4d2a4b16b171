"""Performance and contests: on which rows they are measured, and how sure they claim to be."""

import numpy as np
import polars as pl
import pytest

import charkha as ck
from charkha.monitoring.performance import Span, contest, performance, performances
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import FloatArray
from charkha.spec.rollout import Compare
from charkha.training.compare import paired_difference
from charkha.training.metrics import estimate
from charkha.training.threshold import total_cost

WEEK = Span(0, 7 * DAY_US)
COUNT = 700


def scored(version: str, role: str, scores: FloatArray, labels: FloatArray) -> pl.DataFrame:
    """Return 100 outcomes a day for a week; a label that is NaN has not come."""
    return pl.DataFrame(
        {
            "id": [str(number) for number in range(COUNT)],
            "_at_us": np.arange(COUNT) // 100 * DAY_US + np.arange(COUNT) % 24 * HOUR_US,
            "version": version,
            "role": role,
            "score": scores,
            "decision": scores >= 0.5,
            "_label": pl.Series(labels).fill_nan(None),
        }
    )


@pytest.fixture(scope="module")
def truth() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return labels, good scores and worse ones."""
    random = np.random.default_rng(2)
    chance = random.random(COUNT)
    labels = (random.random(COUNT) < chance).astype(np.float64)
    return labels, chance, np.clip(chance + random.normal(0, 0.3, COUNT), 0.01, 0.99)


@pytest.fixture(scope="module")
def outcomes(truth: tuple[FloatArray, FloatArray, FloatArray]) -> pl.DataFrame:
    labels, good, worse = truth
    return pl.concat([scored("v1", "champion", worse, labels), scored("v2", "shadow", good, labels)])


def test_performance_takes_days_as_units(
    outcomes: pl.DataFrame, truth: tuple[FloatArray, FloatArray, FloatArray]
) -> None:
    labels, _, worse = truth
    measured = performance(outcomes, "v1", "roc_auc", WEEK)
    assert measured.estimate == estimate("roc_auc", labels, worse, np.arange(COUNT) // 100)
    assert (measured.predictions, measured.labels, measured.days) == (COUNT, COUNT, 7)


def test_only_the_span_counts(outcomes: pl.DataFrame) -> None:
    measured = performance(outcomes, "v1", "log_loss", Span(DAY_US, 3 * DAY_US))
    assert (measured.predictions, measured.days) == (200, 2)


def test_labels_that_have_not_come_are_counted_and_left_out(outcomes: pl.DataFrame) -> None:
    late = pl.when(pl.col("_at_us") < DAY_US).then(None).otherwise(pl.col("_label"))
    measured = performance(outcomes.with_columns(_label=late), "v1", "log_loss", WEEK)
    assert (measured.predictions, measured.labels, measured.days) == (700, 600, 6)


def test_scores_that_are_no_numbers_are_left_out(outcomes: pl.DataFrame) -> None:
    broken = pl.when(pl.col("_at_us") < DAY_US).then(float("nan")).otherwise(pl.col("score"))
    assert performance(outcomes.with_columns(score=broken), "v1", "log_loss", WEEK).labels == 600


@pytest.mark.parametrize(
    ("span", "label"), [(Span(0, DAY_US), None), (WEEK, 1.0), (Span(9 * DAY_US, 10 * DAY_US), None), (Span(5, 5), None)]
)
def test_what_cannot_be_estimated_is_none(outcomes: pl.DataFrame, span: Span, label: float | None) -> None:
    one_class = outcomes if label is None else outcomes.with_columns(_label=pl.lit(label))
    assert performance(one_class, "v1", "roc_auc", span).estimate is None


def test_all_versions_roles_and_metrics(outcomes: pl.DataFrame) -> None:
    both = pl.concat([outcomes, outcomes.filter(pl.col("version") == "v2").with_columns(role=pl.lit("champion"))])
    measured = performances(both, ("log_loss", "roc_auc"), WEEK)
    assert [(each.version, each.role, each.metric) for each in measured] == [
        (version, role, metric)
        for version, role in [("v1", "champion"), ("v2", "champion"), ("v2", "shadow")]
        for metric in ("log_loss", "roc_auc")
    ]
    assert performance(both, "v2", "log_loss", WEEK).labels == 1400


def test_a_contest_is_the_paired_difference_of_days(
    outcomes: pl.DataFrame, truth: tuple[FloatArray, FloatArray, FloatArray]
) -> None:
    labels, good, worse = truth
    days = np.arange(COUNT) // 100
    found = contest(outcomes.sample(fraction=1.0, shuffle=True, seed=1), "v1", "v2", Compare("log_loss", 0.9), WEEK)
    expected = paired_difference("log_loss", labels, good, worse, clusters=days, confidence=0.9)
    assert found.difference is not None
    assert (found.difference.low, found.difference.high) == pytest.approx((expected.low, expected.high))
    assert found.difference.high < 0
    assert (found.labels, found.days) == (COUNT, 7)


def test_a_contest_takes_what_both_scored(outcomes: pl.DataFrame) -> None:
    half = outcomes.filter((pl.col("version") == "v1") | (pl.col("_at_us") % DAY_US < 12 * HOUR_US))
    found = contest(half, "v1", "v2", Compare("brier"), WEEK)
    assert found.labels == half.filter(pl.col("version") == "v2").height
    assert contest(outcomes, "v1", "v9", Compare("brier"), WEEK).labels == 0


def test_a_contest_of_one_day_has_no_verdict(outcomes: pl.DataFrame) -> None:
    found = contest(outcomes, "v1", "v2", Compare("log_loss"), Span(0, DAY_US))
    assert found.difference is None
    assert found.labels == 100


def test_the_same_scores_make_no_difference(outcomes: pl.DataFrame) -> None:
    same = outcomes.filter(pl.col("version") == "v1")
    found = contest(pl.concat([same, same.with_columns(version=pl.lit("v2"))]), "v1", "v2", Compare("log_loss"), WEEK)
    assert found.difference is not None
    assert (found.difference.value, found.difference.low, found.difference.high) == (0, 0, 0)


def test_a_cost_is_of_the_decision_that_each_version_made(
    outcomes: pl.DataFrame, truth: tuple[FloatArray, FloatArray, FloatArray]
) -> None:
    labels, good, _ = truth
    costs = ck.Costs(false_positive=1, false_negative=5, true_positive=-2)
    # A rule decided some rows otherwise than the score says.
    ruled = (pl.col("version") == "v1") & (pl.col("_at_us") % DAY_US < 3 * HOUR_US)
    served = outcomes.with_columns(decision=pl.when(ruled).then(True).otherwise(pl.col("decision")))
    found = contest(served, "v1", "v2", Compare("cost"), WEEK, costs=costs)
    theirs = served.filter(pl.col("version") == "v1")["decision"].to_numpy()
    assert found.champion_loss is not None
    assert found.champion_loss.value == pytest.approx(total_cost(labels, theirs, costs) / COUNT)
    assert found.challenger_loss is not None
    assert found.challenger_loss.value == pytest.approx(total_cost(labels, good >= 0.5, costs) / COUNT)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(found.challenger_loss.value - found.champion_loss.value)
    undecided = served.with_columns(
        decision=pl.when(pl.col("version") == "v2").then(None).otherwise(pl.col("decision"))
    )
    assert contest(undecided, "v1", "v2", Compare("cost"), WEEK, costs=costs).labels == 0


def test_a_cost_below_zero_has_a_whole_interval(outcomes: pl.DataFrame) -> None:
    gains = ck.Costs(false_positive=-1, false_negative=-1, true_positive=-3, true_negative=-3)
    found = contest(outcomes, "v1", "v2", Compare("cost"), WEEK, costs=gains)
    assert found.champion_loss is not None
    assert found.champion_loss.low < found.champion_loss.value < found.champion_loss.high < 0


def test_a_span_knows_its_length() -> None:
    assert WEEK.days == 7
    assert Span(5, 3).days == 0
