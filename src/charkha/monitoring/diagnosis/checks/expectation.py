"""What is to be expected given the score: learnt from healthy labels, so that a model need not be calibrated.

Of something true or false its log odds, a line in the level of the score with one bend in the middle (Platt 1999, with
a bend); of a number the mean and the spread of the error by score, between tenths of the healthy scores.
"""

from typing import Protocol

import numpy as np
from attrs import frozen
from scipy.special import expit

from charkha.spec.model import FloatArray, Task

BINS = 10
# A weak pull towards 0, which keeps a fit finite where the two classes do not overlap.
RIDGE = 1e-2
STEPS = 25
# Errors beyond so many spreads count as that: one wild label does not make a drift.
MOST = 4.0
LEAST_ROWS = 50
# Of the distribution of errors, as it is kept.
QUANTILES = 200


class Expectation(Protocol):
    """What is expected of labels, by the level of the score (n,)."""

    def residuals(self, level: FloatArray, label: FloatArray, moved: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return residuals and their variances (n,), where the intercept has moved by so much (n,)."""


@frozen(eq=False)
class Odds:
    """Of labels that are 0 or 1. coefficients: of 1, level, and what of the level is above `bend`."""

    coefficients: FloatArray
    bend: float

    @classmethod
    def of(cls, level: FloatArray, label: FloatArray) -> "Odds":
        """Fit by maximum likelihood."""
        bend = float(np.median(level))
        return cls(fitted_odds(_bent(level, bend), label), bend)

    def log_odds(self, level: FloatArray) -> FloatArray:
        """Return expected log odds (n,)."""
        return _bent(level, self.bend) @ self.coefficients

    def residuals(self, level: FloatArray, label: FloatArray, moved: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return label - p, and p (1 - p)."""
        p = expit(self.log_odds(level) + moved)
        return label - p, p * (1 - p)


@frozen(eq=False)
class Errors:
    """Of labels that are numbers. level: (BINS,) ascending; mean, spread: of the label there.

    shape: quantiles of errors in spreads, over all levels.
    """

    level: FloatArray
    mean: FloatArray
    spread: FloatArray
    shape: FloatArray

    @classmethod
    def of(cls, level: FloatArray, label: FloatArray) -> "Errors":
        """Learn from rows by tenths of the level; the spread is that of the middle two thirds, as of a Gaussian."""
        parts = np.array_split(np.argsort(level, kind="stable"), BINS)
        centres = np.array([level[part].mean() for part in parts])
        mean = np.array([label[part].mean() for part in parts])
        low, high = (np.array([np.quantile(label[part], q) for part in parts]) for q in (1 / 6, 5 / 6))
        least = max(float(np.std(label)), 1e-9) * 1e-3
        spread = np.maximum((high - low) / 1.935, least)
        errors = (label - np.interp(level, centres, mean)) / np.interp(level, centres, spread)
        return cls(centres, mean, spread, np.quantile(errors, (np.arange(QUANTILES) + 0.5) / QUANTILES))

    def loss(self, off: FloatArray, spread: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return expected absolute and squared errors (n,) of labels around something that is `off` their mean."""
        errors = off[:, None] + spread[:, None] * self.shape
        return np.abs(errors).mean(axis=1), (errors**2).mean(axis=1)

    def at(self, level: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the mean and the spread of labels (n,), a line between the centres of the tenths."""
        return np.interp(level, self.level, self.mean), np.interp(level, self.level, self.spread)

    def residuals(self, level: FloatArray, label: FloatArray, moved: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return errors in spreads, bounded, less what has moved; and 1."""
        mean, spread = self.at(level)
        return np.clip((label - mean) / spread, -MOST, MOST) - moved, np.ones_like(level)


def expectation(task: Task, level: FloatArray, label: FloatArray) -> Odds | Errors | None:
    """Learn what is expected; None where there are too few rows, or all labels are the same."""
    if len(label) < LEAST_ROWS or label.min() == label.max():
        return None
    return Odds.of(level, label) if task == "binary" else Errors.of(level, label)


def fitted_odds(columns: FloatArray, label: FloatArray, offset: FloatArray | float = 0.0) -> FloatArray:
    """Return the coefficients (k,) of a logistic regression on columns (n, k), by Newton's method."""
    coefficients = np.zeros(columns.shape[1])
    ridge = RIDGE * np.eye(columns.shape[1])
    for _ in range(STEPS):
        p = expit(columns @ coefficients + offset)
        gradient = columns.T @ (label - p) - ridge @ coefficients
        step = np.linalg.solve((columns * (p * (1 - p))[:, None]).T @ columns + ridge, gradient)
        coefficients = coefficients + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-8:
            break
    return coefficients


def _bent(level: FloatArray, bend: float) -> FloatArray:
    return np.stack([np.ones_like(level), level, np.maximum(level - bend, 0.0)], axis=1)
