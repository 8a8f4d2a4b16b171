"""Fitting a calibration: from a model's scores on rows it has not seen to probabilities that hold."""

from typing import Literal

import numpy as np

from charkha.bundles.calibration import TINY, Calibration
from charkha.spec.model import FloatArray


def fit_calibration(kind: Literal["isotonic", "sigmoid"], labels: FloatArray, scores: FloatArray) -> Calibration:
    """Return the calibration learnt from binary labels and scores, float64 (n,), of rows the model was not fitted on.

    "isotonic" follows any rising curve and wants a thousand rows or more; "sigmoid" learns two numbers.
    """
    return _fit_isotonic(labels, scores) if kind == "isotonic" else _fit_sigmoid(labels, scores)


def _fit_isotonic(labels: FloatArray, scores: FloatArray) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    # A step of all-equal labels would claim certainty, and its first surprise would cost 36 nats of log loss. With n
    # rows nothing rarer than one in n + 2 has been ruled out.
    rarest = 1 / (len(labels) + 2)
    return Calibration.isotonic(fitted.X_thresholds_, np.clip(fitted.y_thresholds_, rarest, 1 - rarest))


def _fit_sigmoid(labels: FloatArray, scores: FloatArray) -> Calibration:
    from sklearn.linear_model import LogisticRegression

    inside = np.clip(scores, TINY, 1 - TINY)
    log_odds = np.log(inside) - np.log1p(-inside)
    fitted = LogisticRegression(C=1e6, max_iter=1000).fit(log_odds[:, None], labels)
    return Calibration.sigmoid(fitted.coef_[0, 0], fitted.intercept_[0])
