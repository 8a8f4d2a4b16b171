from pathlib import Path

import attrs
import numpy as np
import pytest
from small_world import AS_OF, LATE, MINUTES, dataset_of, write_trips

from charkha.bundles.estimators import LightGBM
from charkha.spec.model import FloatArray
from charkha.training.dataset import Dataset
from charkha.training.evaluate import time_clusters
from charkha.training.fit import OneClassOnly, fit_model
from charkha.training.metrics import Estimate, estimate
from charkha.training.split import Parts, split_by_time


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root: Path = write_trips(tmp_path_factory.mktemp("project"))
    return dataset_of(LATE, root, AS_OF)


@pytest.fixture(scope="module")
def parts(dataset: Dataset) -> Parts:
    known_us = dataset.spine["_label_known_us"].to_numpy()
    return split_by_time(dataset.at_us, known_us, LATE.split, LATE.label.delay_us, AS_OF)


def auc(dataset: Dataset, parts: Parts, labels: FloatArray, estimator: LightGBM | None = None) -> Estimate:
    model = attrs.evolve(LATE, estimator=estimator) if estimator else LATE
    scores = fit_model(model, dataset.features, labels, parts, seed=7).score(dataset.features[parts.test])
    return estimate("roc_auc", labels[parts.test], scores, confidence=0.999)


SMALL_TREES = LightGBM(trees=30, leaves=7, min_rows_per_leaf=20, threads=1)


@pytest.mark.parametrize("estimator", [None, SMALL_TREES])
def test_labels_that_mean_something_are_learnt(dataset: Dataset, parts: Parts, estimator: LightGBM | None) -> None:
    assert auc(dataset, parts, dataset.labels, estimator).low > 0.8


@pytest.mark.parametrize("estimator", [None, SMALL_TREES])
def test_shuffled_labels_are_a_coin(dataset: Dataset, parts: Parts, estimator: LightGBM | None) -> None:
    """Nothing leaks: with labels in random order the test AUC is 0.5, as far as 99.9% of such runs can tell."""
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(dataset.labels)
        measured = auc(dataset, parts, shuffled, estimator)
        assert measured.low < 0.5 < measured.high < 0.62


def test_the_test_rows_are_not_looked_at(dataset: Dataset, parts: Parts) -> None:
    spoilt = dataset.labels.copy()
    spoilt[parts.test] = 1 - spoilt[parts.test]
    fitted, other = (fit_model(LATE, dataset.features, labels, parts, 7) for labels in (dataset.labels, spoilt))
    assert (fitted.state, fitted.calibration, fitted.threshold) == (other.state, other.calibration, other.threshold)


def test_calibration_and_threshold_follow_the_costs(dataset: Dataset, parts: Parts) -> None:
    fitted = fit_model(LATE, dataset.features, dataset.labels, parts, 7)
    scores = fitted.score(dataset.features[parts.test])
    assert fitted.calibration is not None
    assert estimate("calibration_error", dataset.labels[parts.test], scores).value < 0.1
    assert fitted.threshold == pytest.approx(0.25, abs=0.15)  # false negatives cost three times as much


def test_regression_has_neither(dataset: Dataset, parts: Parts) -> None:
    fitted = fit_model(MINUTES, dataset.features, dataset.features["trip.km"].to_numpy() * 2, parts, 7)
    assert (fitted.calibration, fitted.threshold) == (None, None)
    np.testing.assert_allclose(
        fitted.score(dataset.features[parts.test]), dataset.features["trip.km"].to_numpy()[parts.test] * 2, rtol=0.02
    )


def test_one_class_says_where(dataset: Dataset, parts: Parts) -> None:
    labels = dataset.labels.copy()
    labels[parts.validation] = 0
    with pytest.raises(
        OneClassOnly, match=r"the validation part .* at least two rows of each class, got 0 positive labels in \d+ rows"
    ):
        fit_model(LATE, dataset.features, labels, parts, 7)


@pytest.mark.parametrize(("span_seconds", "unit"), [(20 * 86_400, 86_400), (2 * 86_400, 3600), (3600, 60), (50, 1)])
def test_clusters_are_the_longest_unit_there_are_enough_of(span_seconds: int, unit: int) -> None:
    at_us = np.arange(0, span_seconds * 1_000_000, span_seconds * 1000, dtype=np.int64)
    np.testing.assert_array_equal(time_clusters(at_us), at_us // (unit * 1_000_000))


def test_rows_of_one_instant_are_taken_one_by_one() -> None:
    assert time_clusters(np.full(3, 5)).tolist() == [0, 1, 2]
