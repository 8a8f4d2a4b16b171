"""How alike consecutive blocks are, as the one figure that matters to a sum of them.

If blocks are alike, the variance of their sum grows faster than their number. The ratio is the integrated
autocorrelation, 1 + 2 Σ ρₖ, (1 + ρ) / (1 - ρ) for a first-order autoregression; it is estimated by the initial
positive sequence (Geyer 1992, "Practical Markov chain Monte Carlo"): pairs of autocovariances are added while their
sums are positive, and not larger than the one before.
"""

import numpy as np
from scipy.special import chdtri

from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.null import CAUTION

# Lags beyond a quarter of a history are of too few pairs.
LONGEST = 4


def autocorrelation(series: FloatArray) -> FloatArray:
    """Return the ratio, at least 1, of each of many series (blocks, checks): the upper end of a one-sided interval.

    A history in which nothing varies, or of fewer than 8 blocks, has 1.
    """
    blocks = len(series)
    if blocks < 8:
        return np.ones(series.shape[1])
    centred = series - series.mean(axis=0)
    spectrum = np.fft.rfft(centred, 2 * blocks, axis=0)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=0)[: 2 * (blocks // (2 * LONGEST))] / blocks
    varies = covariance[0] > 1e-12
    pairs = covariance.reshape(-1, 2, series.shape[1]).sum(axis=1) / np.where(varies, covariance[0], 1.0)
    pairs = np.minimum.accumulate(np.maximum(pairs, 0.0), axis=0)
    ratio = np.maximum(2 * pairs.sum(axis=0) - 1, 1.0)
    # As many blocks as are worth an independent one each say how sure that is.
    worth = np.maximum(blocks / ratio, 2.0)
    return np.where(varies, np.maximum(ratio * worth / chdtri(worth, CAUTION), 1.0), 1.0)
