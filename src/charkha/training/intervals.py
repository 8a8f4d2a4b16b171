"""From influences to a confidence interval."""

import math

import numpy as np
from attrs import frozen

from charkha.bundles.manifest import Estimate
from charkha.spec.model import FloatArray
from charkha.training.influence import Influence, MetricUndefined

Clusters = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


@frozen
class Spread:
    """The standard error of an influence, and the number of independent units it comes from."""

    error: float
    units: int

    def reach(self, confidence: float) -> float:
        """Return the half width of the interval: a Student's t quantile with units - 1 degrees of freedom."""
        return t_quantile(0.5 + confidence / 2, self.units - 1) * self.error


def t_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution."""
    # SciPy comes with scikit-learn, in the extra `train`; this is the one place that asks for it.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def spread(metric: str, rows: FloatArray, clusters: Clusters | None) -> Spread:
    """Return the standard error of influences (n,): rows are independent, or those of different clusters (n,) are.

    Raises MetricUndefined with fewer than two rows or clusters.
    """
    if clusters is not None and len(clusters) != len(rows):
        raise ValueError(f"expected one cluster for each of {len(rows)} rows, got {len(clusters)}")
    units = rows if clusters is None else np.bincount(np.unique(clusters, return_inverse=True)[1], weights=rows)
    count = len(units)
    if count < 2:
        what = "rows" if clusters is None else "clusters (days, say) of rows"
        raise MetricUndefined(metric, f"at least two {what}", str(count))
    return Spread(math.sqrt(float(units @ units) * count / (count - 1)), count)


def wald(influence: Influence, spread: Spread, confidence: float) -> Estimate:
    """Return value ± reach: for differences, which have no limits."""
    reach = spread.reach(confidence)
    return Estimate(influence.value, influence.value - reach, influence.value + reach, len(influence.rows))


def from_zero(influence: Influence, spread: Spread, confidence: float) -> Estimate:
    """Return value ± reach, cut at 0: for losses."""
    plain = wald(influence, spread, confidence)
    return Estimate(plain.value, max(plain.low, 0.0), plain.high, plain.n)


def up_to_one(influence: Influence, spread: Spread, confidence: float) -> Estimate:
    """Return value ± reach, cut at 1: for the share explained."""
    plain = wald(influence, spread, confidence)
    return Estimate(plain.value, plain.low, min(plain.high, 1.0), plain.n)


def within_unit(influence: Influence, spread: Spread, confidence: float) -> Estimate:
    """Return an interval inside (0, 1), symmetric in log odds: near 1 it is honest where value ± reach is not.

    A perfect value has no spread; it gets the exact binomial bound for as many successes in a row as support it.
    """
    value, rows = influence.value, len(influence.rows)
    if value in (0.0, 1.0):
        bound = ((1 - confidence) / 2) ** (1 / min(influence.support, spread.units))
        return Estimate(value, bound if value else 0.0, 1.0 if value else 1 - bound, rows)
    odds, reach = math.log(value / (1 - value)), spread.reach(confidence) / (value * (1 - value))
    return Estimate(value, _logistic(odds - reach), _logistic(odds + reach), rows)


def _logistic(odds: float) -> float:
    return 0.5 * (1 + math.tanh(odds / 2))
