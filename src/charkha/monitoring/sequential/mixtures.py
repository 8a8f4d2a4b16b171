"""A mean that may be looked at as often as one likes: confidence sequences of a normal mixture.

An estimate whose variance is v carries the information I = 1/v about its mean. Against a mean of θ, the likelihood
ratio mixed over N(θ, τ²) is (Robbins 1970; Johari, Pekelis and Walsh 2022)

    e(θ) = (1 + I τ²)^(-1/2) exp( I² τ² (estimate - θ)² / (2 (1 + I τ²)) ),

a martingale of mean 1 where θ is true, so that it ever reaches 1/α with probability α at most. All θ at which it has
not are the confidence sequence. For means of rows with a variance that is estimated it is an asymptotic one
(Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024): from some hundred units on it holds, and before it is not asked.

Estimates of one entity's rows are not independent increments, but entities that come again make successive estimates
more alike than independent increments are: there is less to look at twice, so the sequence errs to the safe side.
All functions work on arrays of any shapes that fit together.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from charkha.monitoring.sequential.arrays import FloatArray


def sharpest_at(information: ArrayLike, alpha: float) -> FloatArray:
    """Return τ², the variance of the mixture whose sequence is narrowest at an information."""
    return np.asarray(_spread(alpha) / np.asarray(information, dtype=np.float64))


def half_width(information: ArrayLike, tau2: ArrayLike, alpha: ArrayLike) -> FloatArray:
    """Return how far the confidence sequence of level 1 - alpha reaches on both sides of an estimate.

    Infinite where there is no information.
    """
    known = np.asarray(information, dtype=np.float64)
    spread = known * np.asarray(tau2, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        width = np.sqrt(
            (1 + spread) / (known * spread) * (np.log1p(spread) - 2 * np.log(np.asarray(alpha, dtype=np.float64)))
        )
    return np.where(known > 0, width, np.inf)


def log_e_of_mean(estimate: ArrayLike, information: ArrayLike, tau2: ArrayLike) -> FloatArray:
    """Return the logarithm of the e-value against a mean of zero."""
    known = np.asarray(information, dtype=np.float64)
    spread = known * np.asarray(tau2, dtype=np.float64)
    return np.asarray(
        known * spread * np.square(np.asarray(estimate, dtype=np.float64)) / (2 * (1 + spread)) - np.log1p(spread) / 2
    )


def information_needed(effect: ArrayLike, alpha: float, power: float) -> FloatArray:
    """Return at which information an effect is found with a probability of at least `power`, if it is there.

    At that information the sequence that is sharpest there excludes zero as often as this; that it may do so before is
    not counted.
    """
    spread = _spread(alpha)
    bar = np.sqrt((1 + spread) / spread * (np.log1p(spread) - 2 * np.log(alpha)))
    return np.asarray(np.square((bar + ndtri(power)) / np.asarray(effect, dtype=np.float64)))


def _spread(alpha: float) -> float:
    """Return the I τ² at which a sequence is narrowest, to a few per cent (Howard, Ramdas, McAuliffe, Sekhon 2021)."""
    surprise = -2 * np.log(alpha)
    return float(surprise + np.log1p(surprise))
