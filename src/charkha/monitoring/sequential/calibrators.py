"""From p-values to e-values: functions of p whose integral over (0, 1) is 1, so their mean under the null is at most 1.

Vovk and Wang, "E-values: calibration, combination and applications", Annals of Statistics 49 (2021). All are given as
logarithms, because evidence of many blocks is their sum.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from charkha.monitoring.sequential.arrays import FloatArray

# Below this a p-value says no more: doubles end there, and no history could have shown it.
LEAST_P = 1e-300


def log_power(p: ArrayLike, kappa: float) -> FloatArray:
    """Return log κ p^(κ - 1). A small κ bets on very small p, a large one on p that are somewhat small.

    Raises ValueError for a κ that is not between 0 and 1.
    """
    if not 0 < kappa < 1:
        raise ValueError(f"expected kappa between 0 and 1, got {kappa}")
    logs: FloatArray = np.log(kappa) + (kappa - 1) * np.log(_bounded(p))
    return logs


def log_mixture(p: ArrayLike) -> FloatArray:
    """Return log ∫ κ p^(κ - 1) dκ, the bet on all κ at once: (1 - p + p log p) / (p log² p), which is 1/2 at p = 1."""
    bounded = _bounded(p)
    # Near 1 the fraction is 0 / 0; its series in x = -log p is 1/2 + x/6 + x²/24.
    x = -np.log(bounded)
    near = x < 1e-4
    safe = np.where(near, 1.0, x)
    fraction = (np.expm1(safe) - safe) / safe**2
    return np.log(np.where(near, 0.5 + x / 6, fraction))


def log_normal_score(p: ArrayLike, shift: float) -> FloatArray:
    """Return log exp(shift · z - shift²/2), z the standard normal quantile of 1 - p: the bet that z moved by `shift`.

    It is the likelihood ratio of a Gaussian statistic, for any statistic with a p-value; and it may fall below 1 by
    much, so a sum of many forgets what was only chance. shift is in standard deviations.
    """
    scores: FloatArray = -ndtri(_bounded(p))
    return shift * scores - shift**2 / 2


def p_of(log_e: ArrayLike) -> FloatArray:
    """Return the p-value that an e-value is worth: 1/e, at most 1 (Markov's inequality)."""
    return np.exp(-np.maximum(np.asarray(log_e, dtype=np.float64), 0.0))


def _bounded(p: ArrayLike) -> FloatArray:
    values = np.asarray(p, dtype=np.float64)
    if np.any((values < 0) | (values > 1)):
        raise ValueError("expected p-values between 0 and 1")
    # A normal quantile of exactly 1 is infinite.
    return np.clip(values, LEAST_P, 1 - 1e-16)
