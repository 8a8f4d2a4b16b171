"""Calibration: the map from an estimator's scores to probabilities that hold."""

from typing import Literal

import msgspec
import numpy as np

from charkha.spec.model import FloatArray

TINY = 1e-15


class Calibration(msgspec.Struct, frozen=True):
    """A non-decreasing map of scores; made by `isotonic` or `sigmoid`, never directly.

    kind "isotonic": `x` are scores, ascending, and `y` their probabilities; linear in between, constant outside.
    kind "sigmoid": the log-odds of the score times `x[0]`, plus `y[0]`, are the log-odds of the probability.
    """

    kind: Literal["isotonic", "sigmoid"]
    x: tuple[float, ...]
    y: tuple[float, ...]

    @classmethod
    def isotonic(cls, x: FloatArray, y: FloatArray) -> "Calibration":
        """A piecewise linear map through the points (x, y)."""
        return cls("isotonic", tuple(map(float, x)), tuple(map(float, y)))

    @classmethod
    def sigmoid(cls, slope: float, intercept: float) -> "Calibration":
        """Platt's map on log-odds; slope 1 and intercept 0 change nothing."""
        return cls("sigmoid", (float(slope),), (float(intercept),))

    def apply(self, scores: FloatArray) -> FloatArray:
        """Return the probabilities of scores, both float64 (n,)."""
        if self.kind == "isotonic":
            return np.interp(scores, self.x, self.y)
        return _expit(self.x[0] * _logit(scores) + self.y[0])


def _logit(p: FloatArray) -> FloatArray:
    inside = np.clip(p, TINY, 1 - TINY)
    return np.log(inside) - np.log1p(-inside)


def _expit(z: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        return np.exp(-np.logaddexp(0.0, -z))
