"""How an effect came: at once, little by little, or by turns; told apart by least squares with a price for parameters.

By then it is known that something has changed; which of the shapes it has is a choice among three, made by the Bayesian
information criterion (Schwarz 1978). Too few blocks for a choice are "sudden", the plainest.
"""

from typing import Literal

import numpy as np

from charkha.monitoring.sequential.arrays import FloatArray

Kind = Literal["sudden", "gradual", "recurring"]

# Fewer blocks since the onset do not tell shapes apart.
LEAST_BLOCKS = 6
# A turn is of so many blocks at least, and an effect that comes back has been there twice.
LEAST_TURN = 2


def kind_of(effect: FloatArray, variance: FloatArray, began: int) -> Kind:
    """Return the shape of an effect above what is usual. effect, variance: (blocks,), NaN where nothing is known.

    began: the block since which there is one.
    """
    told = np.isfinite(effect) & np.isfinite(variance)
    since = np.flatnonzero(told & (np.arange(len(effect)) >= began))
    if len(since) < LEAST_BLOCKS:
        return "sudden"
    value, weight = effect[since], 1 / variance[since]
    step = _misfit(value, weight, np.ones(len(since)))
    # A slow beginning is found late: the ramp may have begun before.
    every = np.flatnonzero(told)
    ramps = [_misfit(value, weight, (since - start).clip(0).astype(np.float64)) for start in (every[0] - 1, began - 1)]
    turns = _turns(value, weight)
    price = np.log(len(since))
    misfits: dict[Kind, float] = {"sudden": step, "gradual": min(ramps) + price / 2, "recurring": turns + 3 * price}
    return min(misfits, key=lambda kind: misfits[kind])


def _misfit(value: FloatArray, weight: FloatArray, shape: FloatArray) -> float:
    """Return the weighted sum of squares that a multiple of a shape leaves."""
    power = float((weight * shape**2).sum())
    size = float((weight * shape * value).sum()) / power if power > 0 else 0.0
    return float((weight * (value - size * shape) ** 2).sum())


def _turns(value: FloatArray, weight: FloatArray) -> float:
    """Return what the best "on, off, on again" leaves."""
    blocks, best = len(value), np.inf
    for off in range(LEAST_TURN, blocks - 2 * LEAST_TURN + 1):
        for on in range(off + LEAST_TURN, blocks - LEAST_TURN + 1):
            shape = np.ones(blocks)
            shape[off:on] = 0.0
            best = min(best, _misfit(value, weight, shape))
    return best
