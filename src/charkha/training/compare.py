"""Two models on the same rows: what one gains over the other, and how sure that is."""

from charkha.bundles.manifest import Estimate
from charkha.spec.model import FloatArray
from charkha.training.influence import Influence, MetricUndefined, mean_influence
from charkha.training.intervals import Clusters, spread, wald
from charkha.training.metrics import higher_is_better, influence_of


def paired_difference(
    metric: str,
    labels: FloatArray,
    a: FloatArray,
    b: FloatArray,
    clusters: Clusters | None = None,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Return the metric of scores `a` minus that of `b`, all (n,) over the same rows.

    What both models find hard cancels out, so the interval is far narrower than two single ones suggest: for the AUC it
    is DeLong's paired one, for a mean loss the paired t. With clusters (n,), such as the day of each row, whole
    clusters are the independent units, and the t quantile has one degree of freedom less than there are clusters.
    Raises MetricUndefined with fewer than two units, or as `metrics.estimate` does.
    """
    influences = influence_of(metric, labels, a), influence_of(metric, labels, b)
    return _difference(metric, *influences, clusters, confidence)


def paired_means(
    metric: str, a: FloatArray, b: FloatArray, clusters: Clusters | None = None, *, confidence: float = 0.95
) -> Estimate:
    """Return the mean of row losses `a` minus that of `b`, (n,) over the same rows; as `paired_difference`."""
    if len(a) == 0:
        raise MetricUndefined(metric, "rows", "none")
    return _difference(metric, mean_influence(a), mean_influence(b), clusters, confidence)


def _difference(metric: str, a: Influence, b: Influence, clusters: Clusters | None, confidence: float) -> Estimate:
    gain = Influence(a.value - b.value, a.rows - b.rows, a.support)
    return wald(gain, spread(metric, gain.rows, clusters), confidence)


def improvement(metric: str, difference: Estimate) -> Estimate:
    """Return a difference as an improvement: positive is better, whichever way the metric points."""
    if higher_is_better(metric):
        return difference
    return Estimate(-difference.value, -difference.high, -difference.low, difference.n)
