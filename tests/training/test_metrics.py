from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as peer

from charkha.spec.model import METRICS, ROW_LOSSES, FloatArray
from charkha.training.influence import INFLUENCES
from charkha.training.metrics import (
    MetricUndefined,
    estimate,
    estimate_slices,
    higher_is_better,
    influence_of,
)

PEERS = {
    "roc_auc": peer.roc_auc_score,
    "average_precision": peer.average_precision_score,
    "log_loss": peer.log_loss,
    "brier": peer.brier_score_loss,
    "mae": peer.mean_absolute_error,
    "rmse": peer.root_mean_squared_error,
    "r2": peer.r2_score,
    "absolute_error": peer.mean_absolute_error,
    "squared_error": peer.mean_squared_error,
}
ONE_ROW: dict[str, dict[str, Any]] = {
    "log_loss": {"labels": [0, 1]},
    "brier": {"labels": [0, 1]},
    "mae": {},
    "squared_error": {},
}
BINARY, REGRESSION = list(METRICS["binary"]), [*METRICS["regression"], *ROW_LOSSES["regression"]]


def rows_of(task: str, seed: int, n: int = 300, digits: int = 2) -> tuple[FloatArray, FloatArray]:
    """Labels and scores that know something about them; few digits make many ties."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        labels = rng.normal(size=n)
        return labels, labels + rng.normal(size=n)
    scores = np.round(rng.beta(1, 2, n), digits)
    return (rng.random(n) < scores).astype(np.float64), scores


def task_of(metric: str) -> str:
    return "regression" if metric in REGRESSION else "binary"


def test_every_metric_of_a_definition_is_known_and_has_a_peer() -> None:
    named = {name for names in (*METRICS.values(), *ROW_LOSSES.values()) for name in names}
    assert named <= set(INFLUENCES)
    assert named == set(PEERS)


@pytest.mark.parametrize("metric", PEERS)
@pytest.mark.parametrize("seed", range(5))
def test_value_is_scikit_learns(metric: str, seed: int) -> None:
    labels, scores = rows_of(task_of(metric), seed, digits=1 + seed % 3)
    measured = estimate(metric, labels, scores)
    assert measured.value == pytest.approx(PEERS[metric](labels, scores), rel=1e-12)
    assert measured.low < measured.value < measured.high
    assert measured.n == 300


def delong_the_obvious_way(labels: FloatArray, scores: FloatArray) -> float:
    wins, losses = scores[labels == 1], scores[labels == 0]
    kernel = (wins[:, None] > losses) + 0.5 * (wins[:, None] == losses)
    return float(np.var(kernel.mean(1), ddof=1) / len(wins) + np.var(kernel.mean(0), ddof=1) / len(losses))


@pytest.mark.parametrize("seed", range(5))
def test_auc_variance_is_delongs(seed: int) -> None:
    labels, scores = rows_of("binary", seed, n=80, digits=1)
    rows = influence_of("roc_auc", labels, scores).rows
    assert rows @ rows * 80 / 79 == pytest.approx(delong_the_obvious_way(labels, scores), rel=1e-10)


@pytest.mark.parametrize("metric", ["log_loss", "brier", "mae", "squared_error"])
def test_interval_of_a_mean_is_students(metric: str) -> None:
    labels, scores = rows_of(task_of(metric), 3)
    losses = np.array(
        [PEERS[metric]([label], [score], **ONE_ROW[metric]) for label, score in zip(labels, scores, strict=True)]
    )
    low, high = stats.t.interval(0.9, 299, losses.mean(), stats.sem(losses))
    measured = estimate(metric, labels, scores, confidence=0.9)
    assert (measured.low, measured.high) == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize("metric", [*BINARY, "rmse", "r2"])
def test_influence_is_the_derivative_by_a_rows_count(metric: str) -> None:
    """Among 400 copies of all rows, one more copy of a row moves the metric by a 400th of that row's influence."""
    labels, scores = rows_of(task_of(metric), 11, n=60)
    found = influence_of(metric, labels, scores)
    copies = 400
    for row in range(0, 60, 7):
        extra = [np.append(np.tile(column, copies), column[row]) for column in (labels, scores)]
        moved = influence_of(metric, *extra).value - found.value
        assert moved * copies == pytest.approx(found.rows[row], rel=0.07, abs=2e-4)  # DeLong's small-sample scale


@pytest.mark.parametrize("metric", ["average_precision", "rmse", "r2", "roc_auc"])
def test_interval_agrees_with_the_bootstrap(metric: str) -> None:
    labels, scores = rows_of(task_of(metric), 5, n=800)
    rng = np.random.default_rng(0)
    again = [PEERS[metric](labels[pick], scores[pick]) for pick in rng.integers(0, 800, (400, 800))]
    rows = influence_of(metric, labels, scores).rows
    assert np.sqrt(rows @ rows) == pytest.approx(np.std(again), rel=0.12)


@pytest.mark.parametrize("metric", PEERS)
def test_rows_repeated_in_their_cluster_add_no_certainty(metric: str) -> None:
    labels, scores = rows_of(task_of(metric), 8)
    once = estimate(metric, labels, scores)
    repeated = estimate(metric, np.tile(labels, 4), np.tile(scores, 4), clusters=np.tile(np.arange(300), 4))
    naive = estimate(metric, np.tile(labels, 4), np.tile(scores, 4))
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high), rel=5e-3)
    assert naive.high - naive.low < 0.6 * (once.high - once.low)


def test_clusters_of_one_row_are_no_clusters() -> None:
    labels, scores = rows_of("binary", 2)
    assert estimate("roc_auc", labels, scores, clusters=np.arange(300)) == estimate("roc_auc", labels, scores)


def test_intervals_of_clustered_rows_cover_the_truth() -> None:
    """Days that are all good or all bad: 95% intervals hold the truth nearly that often, ones without days do not."""
    rng = np.random.default_rng(1)
    days = np.repeat(np.arange(15), 40)
    with_days = without = 0
    for _ in range(200):
        risk = 1 / (1 + np.exp(-rng.normal(size=15)[days]))
        labels = (rng.random(600) < risk).astype(np.float64)
        right, naive = (estimate("absolute_error", labels, np.zeros(600), clusters) for clusters in (days, None))
        with_days += right.low <= 0.5 <= right.high
        without += naive.low <= 0.5 <= naive.high
    assert with_days >= 180
    assert without < 130


@given(st.integers(2, 40), st.integers(2, 40), st.booleans())
def test_a_perfect_auc_is_not_certain(wins: int, losses: int, right: bool) -> None:
    labels = np.repeat([1.0, 0.0], [wins, losses])
    measured = estimate("roc_auc", labels, labels if right else 1 - labels)
    bound = stats.binomtest(min(wins, losses), min(wins, losses)).proportion_ci(0.95).low
    expected = (1.0, bound, 1.0) if right else (0.0, 0.0, 1 - bound)
    assert (measured.value, measured.low, measured.high) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50)
@given(st.sampled_from(["roc_auc", "average_precision"]), st.integers(0, 10_000), st.integers(8, 40))
def test_shares_stay_between_0_and_1(metric: str, seed: int, n: int) -> None:
    labels, scores = rows_of("binary", seed, n=n)
    labels[:4] = [0, 1, 0, 1]
    measured = estimate(metric, labels, scores)
    assert 0 <= measured.low <= measured.value <= measured.high <= 1


def test_calibration_error_is_the_obvious_one() -> None:
    rng = np.random.default_rng(4)
    scores = rng.random(1000)
    labels = (rng.random(1000) < scores**2).astype(np.float64)
    order = np.argsort(scores)
    obvious = sum(abs(labels[part].mean() - scores[part].mean()) / 10 for part in np.array_split(order, 10))
    measured = estimate("calibration_error", labels, scores)
    assert measured.value == pytest.approx(obvious, rel=1e-9)
    assert measured.low < measured.value < measured.high


def test_equal_scores_share_a_bin() -> None:
    labels = np.tile([1.0, 0.0, 0.0, 0.0], 50)
    assert estimate("calibration_error", labels, np.full(200, 0.25)).value == pytest.approx(0)


def test_slices_are_the_metric_of_their_rows() -> None:
    labels, scores = rows_of("binary", 6, n=400)
    labels[300:340] = 0
    slices = pl.Series("carrier", ["AA"] * 180 + ["UA"] * 120 + ["one class"] * 40 + ["few"] * 5 + [None] * 55)
    found = estimate_slices("roc_auc", labels, scores, slices, smallest=20)
    assert list(found) == ["AA", "UA"]
    assert found["UA"] == estimate("roc_auc", labels[180:300], scores[180:300])


@pytest.mark.parametrize(
    ("metric", "labels", "scores", "message"),
    [
        ("roc_auc", [0, 0, 1], [0.1, 0.2, 0.3], "roc_auc needs at least two rows of each class; got 1 positive and 2"),
        ("average_precision", [1, 1], [0.1, 0.2], "needs at least two rows of each class; got 2 positive and 0"),
        ("r2", [2, 2], [0.1, 0.2], "r2 needs labels that differ; got 2 labels that are all 2"),
        ("brier", [1], [0.5], "brier needs at least two rows; got 1"),
        ("brier", [], [], "brier needs rows; got none"),
    ],
)
def test_a_metric_that_has_no_value_says_why(
    metric: str, labels: list[float], scores: list[float], message: str
) -> None:
    with pytest.raises(MetricUndefined, match=message):
        estimate(metric, np.array(labels, float), np.array(scores))


def test_one_cluster_has_no_interval() -> None:
    labels, scores = rows_of("binary", 0)
    with pytest.raises(MetricUndefined, match=r"at least two clusters \(days, say\) of rows; got 1"):
        estimate("brier", labels, scores, clusters=np.zeros(300))


def test_unusable_numbers_are_refused() -> None:
    labels = np.array([0.0, 1.0])
    with pytest.raises(ValueError, match=r"expected one score for each label, got \(2,\) and \(3,\)"):
        estimate("brier", labels, np.zeros(3))
    with pytest.raises(ValueError, match="expected finite labels and scores"):
        estimate("brier", labels, np.array([0.1, np.nan]))
    with pytest.raises(ValueError, match=r"expected one of the metrics roc_auc, .* got 'auc'"):
        estimate("auc", labels, labels)
    with pytest.raises(ValueError, match="one cluster for each of 2 rows, got 1"):
        estimate("brier", labels, labels, clusters=np.zeros(1))


def test_direction_of_metrics() -> None:
    assert [name for name in INFLUENCES if higher_is_better(name)] == ["roc_auc", "average_precision", "r2"]
