import numpy as np
import pytest
from scipy import stats

from charkha.spec.model import FloatArray
from charkha.training.compare import improvement, paired_difference
from charkha.training.metrics import Estimate, MetricUndefined


def two_models(seed: int, n: int = 60) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Labels and the scores of two models that know much of the same."""
    rng = np.random.default_rng(seed)
    shared, labels = rng.normal(size=n), (rng.random(n) < 0.4).astype(np.float64)
    a, b = (1 / (1 + np.exp(-(labels - 0.5 + shared + 0.5 * rng.normal(size=n)))) for _ in range(2))
    return labels, np.round(a, 1), np.round(b, 2)


def paired_delong_the_obvious_way(labels: FloatArray, a: FloatArray, b: FloatArray) -> tuple[float, float]:
    kernels = []
    for scores in (a, b):
        wins, losses = scores[labels == 1], scores[labels == 0]
        kernels.append((wins[:, None] > losses) + 0.5 * (wins[:, None] == losses))
    by_win, by_loss = (np.cov([kernel.mean(axis) for kernel in kernels]) for axis in (1, 0))
    covariance = by_win / len(kernels[0]) + by_loss / kernels[0].shape[1]
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return float(kernels[0].mean() - kernels[1].mean()), float(np.sqrt(variance))


@pytest.mark.parametrize("seed", range(5))
def test_auc_difference_is_the_paired_delong(seed: int) -> None:
    labels, a, b = two_models(seed)
    value, error = paired_delong_the_obvious_way(labels, a, b)
    found = paired_difference("roc_auc", labels, a, b)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert (found.high - found.low) / 2 == pytest.approx(error * stats.t.ppf(0.975, 59), rel=1e-9)


def test_loss_difference_is_the_paired_t_test() -> None:
    labels, a, b = two_models(3)
    of_a, of_b = (labels - a) ** 2, (labels - b) ** 2
    interval = stats.ttest_rel(of_a, of_b).confidence_interval(0.9)
    found = paired_difference("brier", labels, a, b, confidence=0.9)
    assert found.value == pytest.approx((of_a - of_b).mean())
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_clusters_of_equal_size_are_a_t_test_of_their_means() -> None:
    labels, a, b = two_models(4)
    days = np.repeat(np.arange(12), 5)
    gains = ((labels - a) ** 2 - (labels - b) ** 2).reshape(12, 5).mean(1)
    low, high = stats.t.interval(0.95, 11, gains.mean(), stats.sem(gains))
    found = paired_difference("brier", labels, a, b, clusters=days)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_order_of_rows_and_of_clusters_does_not_matter() -> None:
    labels, a, b = two_models(5)
    days = np.repeat(np.arange(12), 5)
    found = paired_difference("roc_auc", labels, a, b, clusters=days)
    turned = paired_difference("roc_auc", labels[::-1], a[::-1], b[::-1], clusters=(100 - days)[::-1])
    assert (turned.value, turned.low) == pytest.approx((found.value, found.low), abs=1e-12)


def test_clustered_auc_difference_agrees_with_a_bootstrap_of_days() -> None:
    rng = np.random.default_rng(7)
    days = np.repeat(np.arange(60), 20)
    labels = (rng.random(1200) < 0.4).astype(np.float64)
    luck = rng.normal(size=60)[days]
    a, b = labels + rng.normal(size=1200) + luck * labels, labels + rng.normal(size=1200)
    again = []
    for _ in range(300):
        pick = (rng.integers(0, 60, 60)[:, None] * 20 + np.arange(20)).ravel()
        again.append(paired_difference("roc_auc", labels[pick], a[pick], b[pick]).value)
    found = paired_difference("roc_auc", labels, a, b, clusters=days)
    assert (found.high - found.low) / 2 / stats.t.ppf(0.975, 59) == pytest.approx(np.std(again), rel=0.15)


def test_a_model_does_not_differ_from_itself() -> None:
    labels, a, _ = two_models(1)
    assert paired_difference("log_loss", labels, a, a) == Estimate(0.0, 0.0, 0.0, 60)


def test_one_day_cannot_decide() -> None:
    labels, a, b = two_models(1)
    with pytest.raises(MetricUndefined, match="at least two clusters"):
        paired_difference("roc_auc", labels, a, b, clusters=np.zeros(60))


def test_improvement_points_up() -> None:
    difference = Estimate(-0.2, -0.3, 0.1, 9)
    assert improvement("log_loss", difference) == Estimate(0.2, -0.1, 0.3, 9)
    assert improvement("roc_auc", difference) is difference
