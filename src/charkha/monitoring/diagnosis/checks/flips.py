"""Are labels wrong, or has the world changed? Two accounts of the same rows, and how much better one of them is.

Labels that are turned over at one rate r, whatever they are of, compress the calibration curve from both ends:
P(y | s) = (1 - 2r) p + r (Angluin and Laird 1988; Natarajan et al. 2013, "Learning with noisy labels"). Numbers that
are exchanged are, with probability r, one of all labels. Nothing but the score matters then. Concept drift is another
intercept, another slope, and a slice of its own; a prior shift is an intercept. Each account is fitted by maximum
likelihood and pays for its parameters (Schwarz 1978), and for the number of slices among which the best is taken.
"""

from collections.abc import Callable

import numpy as np
from attrs import frozen
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit
from scipy.stats import t as student

from charkha.monitoring.diagnosis.checks.expectation import Errors, Odds, fitted_odds
from charkha.monitoring.sequential.arrays import IntArray
from charkha.monitoring.sequential.null import PerCheck
from charkha.spec.model import FloatArray

MOST_RATE = 0.49
# Shares of wrong labels that are bet on, and how many rows a block has to have for that.
RATES = (0.05, 0.1, 0.2, 0.4)
LEAST_ROWS = 20
# So many slices are tried, those first that the residuals go with most.
TRIED = 12
# Errors of numbers have heavier tails than a Gaussian.
DEGREES = 4.0
HISTOGRAM = 50


def flips_over_drift(
    expected: Odds | Errors, level: FloatArray, label: FloatArray, slices: FloatArray, usual: FloatArray
) -> tuple[float, float]:
    """Return the likeliest rate of wrong labels, and by how many nats they are the better account than others.

    level, label: (n,) since the onset. slices: (n, slices), 0 or 1. usual: healthy labels, any number of them.
    """
    wrong, drifted = _accounts(expected, level, label, usual)
    found = minimize_scalar(lambda rate: -wrong(rate), bounds=(0.0, MOST_RATE), method="bounded")
    price = np.log(max(len(label), 2)) / 2
    ones = np.ones_like(level)[:, None]
    line = np.column_stack([ones, level])
    best = max(drifted(ones) - price, drifted(line) - 2 * price)
    for place in _strongest(expected, level, label, slices):
        best = max(best, drifted(np.column_stack([line, slices[:, place]])) - 3 * price - np.log(slices.shape[1]))
    return float(found.x), float(-found.fun - price - best)


def flip_evidence(
    expected: Odds | Errors, level: FloatArray, label: FloatArray, usual: FloatArray, *, block: IntArray, blocks: int
) -> tuple[FloatArray, ...]:
    """Return log e-values of blocks, (blocks, 1), that labels are wrong at each rate; then as many of 0.

    The likelihood of each rate is divided by the largest there is of any intercept and slope of that block: universal
    inference (Wasserman, Ramdas and Balakrishnan 2020), so it is an e-value however these wander from day to day.
    """
    evidence = np.zeros((2 * len(RATES), blocks, 1))
    for each in range(blocks):
        rows = np.flatnonzero(block == each)
        if len(rows) >= LEAST_ROWS:
            wrong, drifted = _accounts(expected, level[rows], label[rows], usual)
            most = drifted(np.column_stack([np.ones(len(rows)), level[rows]]))
            evidence[: len(RATES), each, 0] = [wrong(rate) - most for rate in RATES]
    return tuple(evidence)


@frozen(eq=False)
class Given(PerCheck):
    """A null of one check of which the evidence is given as it is: one array (blocks, 1) for each alternative."""

    width: FloatArray
    alike: FloatArray

    @classmethod
    def of(cls) -> "Given":
        """Return it as it is before it was tried on a history."""
        return cls(np.ones(1), np.ones(1))

    def log_e(self, *observed: FloatArray) -> FloatArray:
        """Return what was given, less by the width."""
        return np.stack(observed, axis=-1) / self.width[:, None]

    def surprise(self, *observed: FloatArray) -> FloatArray:
        """Return log e-values: evidence that was given is all there is."""
        return self.log_e(*observed)


def _accounts(
    expected: Odds | Errors, level: FloatArray, label: FloatArray, usual: FloatArray
) -> tuple[Callable[[float], float], Callable[[FloatArray], float]]:
    """Return two log likelihoods: of a rate of wrong labels, and of what has moved along columns (n, k)."""
    if isinstance(expected, Odds):
        return _turned_over(expected, level, label), _moved_odds(expected, level, label)
    return _exchanged(expected, level, label, usual), _moved_errors(expected, level, label)


def _turned_over(expected: Odds, level: FloatArray, label: FloatArray) -> Callable[[float], float]:
    p = expit(expected.log_odds(level))

    def likelihood(rate: float) -> float:
        turned = (1 - 2 * rate) * p + rate
        return float(np.log(np.maximum(np.where(label > 0, turned, 1 - turned), 1e-12)).sum())

    return likelihood


def _moved_odds(expected: Odds, level: FloatArray, label: FloatArray) -> Callable[[FloatArray], float]:
    offset = expected.log_odds(level)

    def likelihood(columns: FloatArray) -> float:
        odds = offset + columns @ fitted_odds(columns, label, offset)
        return float(log_expit(np.where(label > 0, odds, -odds)).sum())

    return likelihood


def _exchanged(expected: Errors, level: FloatArray, label: FloatArray, usual: FloatArray) -> Callable[[float], float]:
    mean, spread = expected.at(level)
    own = student.pdf((label - mean) / spread, DEGREES)
    edges = np.unique(np.quantile(usual, np.linspace(0, 1, HISTOGRAM + 1)))
    density, _ = np.histogram(usual, edges, density=True)
    anyone = density[np.clip(np.searchsorted(edges, label) - 1, 0, len(density) - 1)] * spread
    return lambda rate: float(np.log((1 - rate) * own + rate * anyone + 1e-300).sum())


def _moved_errors(expected: Errors, level: FloatArray, label: FloatArray) -> Callable[[FloatArray], float]:
    mean, spread = expected.at(level)
    error = (label - mean) / spread

    def likelihood(columns: FloatArray) -> float:
        left = error - columns @ np.linalg.lstsq(columns, error, rcond=None)[0]
        scale = max(float(np.quantile(np.abs(left), 2 / 3)), 1e-9)
        return float((student.logpdf(left / scale, DEGREES) - np.log(scale)).sum())

    return likelihood


def _strongest(expected: Odds | Errors, level: FloatArray, label: FloatArray, slices: FloatArray) -> list[int]:
    """Return the numbers of the slices that the residuals go with most."""
    residual, weight = expected.residuals(level, label, np.zeros_like(level))
    residual = residual - weight * residual.sum() / max(float(weight.sum()), 1e-12)
    scores = np.abs(residual @ slices) / np.sqrt(np.maximum(weight @ slices, 1e-9))
    return [int(place) for place in np.argsort(-scores, kind="stable")[:TRIED]]
