"""How good answers were, as the usual reports have it: of decisions and probabilities, or of numbers.

The metrics are those of scikit-learn.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from attrs import frozen

from charkha.bundles.fitting import require
from charkha.spec.model import FloatArray

BINS = 10


@frozen
class CalibrationBin:
    """The rows whose score lies in a tenth of 0 to 1, of which there are some: mean score, and share that was true."""

    low: float
    high: float
    rows: int
    predicted: float
    observed: float


@frozen(kw_only=True)
class ClassificationQuality:
    """Decisions at a threshold, and probabilities.

    confusion: (true negative, false positive, false negative, true positive); None, as are precision and recall,
    without a threshold. Every metric is None where the rows cannot give it, as the ROC AUC of one class alone.
    """

    rows: int
    threshold: float | None
    confusion: tuple[int, int, int, int] | None
    precision: float | None
    recall: float | None
    roc_auc: float | None
    log_loss: float
    brier: float
    calibration: tuple[CalibrationBin, ...]


@frozen
class ErrorsOfTenth:
    """The rows of a tenth of the predictions, lowest first: from … to, how many, mean absolute error, mean error."""

    low: float
    high: float
    rows: int
    mae: float
    bias: float


@frozen(kw_only=True)
class RegressionQuality:
    """Errors of numbers. bias: the mean of prediction less truth. r2: None where all truths are the same."""

    rows: int
    mae: float
    rmse: float
    bias: float
    r2: float | None
    tenths: tuple[ErrorsOfTenth, ...]


def classification_quality(labels: FloatArray, scores: FloatArray, threshold: float | None) -> ClassificationQuality:
    """Return the quality of probabilities, and of deciding true from a threshold on.

    labels: 0 or 1, (n,); scores: finite, (n,); n > 0. Raises RuntimeMissing without scikit-learn.
    """
    metrics = require("sklearn.metrics", "train")
    truth, shares = labels > 0.5, np.clip(scores, 0.0, 1.0)
    decided = None if threshold is None else scores >= threshold
    counts = None if decided is None else metrics.confusion_matrix(truth, decided, labels=[False, True]).ravel()
    return ClassificationQuality(
        rows=len(labels),
        threshold=threshold,
        confusion=None if counts is None else (int(counts[0]), int(counts[1]), int(counts[2]), int(counts[3])),
        precision=float(metrics.precision_score(truth, decided)) if decided is not None and decided.any() else None,
        recall=float(metrics.recall_score(truth, decided)) if decided is not None and truth.any() else None,
        roc_auc=float(metrics.roc_auc_score(truth, scores)) if truth.any() and not truth.all() else None,
        log_loss=float(metrics.log_loss(truth, shares, labels=[False, True])),
        brier=float(metrics.brier_score_loss(truth, shares)),
        calibration=tuple(_calibration(truth.astype(np.float64), shares)),
    )


def _calibration(truth: FloatArray, shares: FloatArray) -> Iterator[CalibrationBin]:
    places = np.minimum((shares * BINS).astype(np.int64), BINS - 1)
    for place in np.unique(places).tolist():
        rows = places == place
        predicted, observed = float(shares[rows].mean()), float(truth[rows].mean())
        yield CalibrationBin(place / BINS, (place + 1) / BINS, int(rows.sum()), predicted, observed)


def regression_quality(labels: FloatArray, scores: FloatArray) -> RegressionQuality:
    """Return the quality of numbers. labels, scores: finite, (n,), n > 0. Raises RuntimeMissing: no scikit-learn."""
    metrics = require("sklearn.metrics", "train")
    return RegressionQuality(
        rows=len(labels),
        mae=_of(metrics.mean_absolute_error, labels, scores),
        rmse=_of(metrics.root_mean_squared_error, labels, scores),
        bias=float((scores - labels).mean()),
        r2=_of(metrics.r2_score, labels, scores) if len(np.unique(labels)) > 1 else None,
        tenths=tuple(_tenths(labels, scores)),
    )


def _of(metric: Callable[..., Any], labels: FloatArray, scores: FloatArray) -> float:
    return float(metric(labels, scores))


def _tenths(labels: FloatArray, scores: FloatArray) -> Iterator[ErrorsOfTenth]:
    order = np.argsort(scores, kind="stable")
    for rows in np.array_split(order, BINS):
        if len(rows):
            errors = scores[rows] - labels[rows]
            low, high = float(scores[rows[0]]), float(scores[rows[-1]])
            yield ErrorsOfTenth(low, high, len(rows), float(np.abs(errors).mean()), float(errors.mean()))
