"""Training-serving skew: features as they were served against the same features computed offline from the log.

The two come from one kernel over one declaration, so any difference is a fault: a lost or late row, state that was
built for another definition, a changed expression.
"""

from collections.abc import Mapping

import msgspec
import numpy as np
import polars as pl

from charkha.engines.engine import Engine
from charkha.features.aggregations import aggregation_of
from charkha.features.plan import FeaturePlan
from charkha.features.seen import features_as_seen
from charkha.spec.model import FloatArray

# What floating-point sums may differ by when they are added in another order.
TOLERANCE = 1e-9


class FeatureSkew(msgspec.Struct, frozen=True):
    """One feature as served against its offline recomputation.

    exact: counts, extremes, sketches, latest values and what is computed from them alone must agree to the bit; sums,
    means, variances and what is computed from them to 1e-9.
    max_difference: the largest difference; relative to the larger of the two values and of the feature's mean
    magnitude, unless `exact`. Infinite where one side is null, or where text differs.
    """

    feature: str
    exact: bool
    compared: int
    max_difference: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within what is allowed."""
        return self.max_difference <= tolerance(exact=self.exact)


def measure_skew(
    plan: FeaturePlan, served: pl.DataFrame, rows: Mapping[str, pl.DataFrame], engine: Engine
) -> list[FeatureSkew]:
    """Recompute the features of served predictions and compare them.

    served: the request fields, `_at_us`, `_seen_us`, and the features as used. rows: source → its rows, as of
    `read_rows`, with what was pushed.
    """
    recomputed = features_as_seen(plan, served.select(*plan.request, "_at_us", "_seen_us"), rows, engine)
    exact = exact_features(plan)
    return [
        FeatureSkew(
            name, name in exact, len(served), max_difference(served[name], recomputed[name], exact=name in exact)
        )
        for name in plan.names
    ]


def exact_features(plan: FeaturePlan) -> set[str]:
    """Return the features on which both paths must agree to the bit."""
    exact = set(plan.request) | {plan.at}
    for view in plan.views:
        exact |= {f"{view.name}.{column}" for column in view.latest}
        computed = {
            name for window in view.all_windows() if aggregation_of(window.measure).exact for name in window.names
        }
        computed |= {ratio.name for ratio in view.ratios() if computed.issuperset(ratio.sides)}
        exact |= {f"{view.name}.{name}" for name in computed}
    for name, expression in plan.expressions.items():
        if set(expression.meta.root_names()) <= exact:
            exact.add(name)
    return exact & set(plan.names)


def max_difference(served: pl.Series, recomputed: pl.Series, *, exact: bool) -> float:
    """Return the largest difference of two columns of one feature, as `FeatureSkew.max_difference` says."""
    return float(row_differences(served, recomputed, exact=exact).max(initial=0.0))


def row_differences(served: pl.Series, recomputed: pl.Series, *, exact: bool) -> FloatArray:
    """Return how far each row of two columns of one feature is apart, float64 (n,); see `FeatureSkew.max_difference`.

    Infinite where one side is null, or where text differs.
    """
    if pl.String in (served.dtype, recomputed.dtype):
        same = served.cast(pl.String).eq_missing(recomputed.cast(pl.String)).to_numpy()
        return np.where(same, 0.0, np.inf)
    left, right = (series.cast(pl.Float64).fill_null(float("nan")).to_numpy() for series in (served, recomputed))
    difference: FloatArray = np.where(np.isnan(left) != np.isnan(right), np.inf, 0.0)
    present = ~np.isnan(left) & ~np.isnan(right)
    left, right = left[present], right[present]
    apart = np.where(left == right, 0.0, np.abs(left - right))
    if not exact and len(left):
        size = np.maximum(np.maximum(np.abs(left), np.abs(right)), np.abs(right).mean())
        apart = np.divide(apart, size, out=np.zeros_like(apart), where=size > 0)
    difference[present] = apart
    return difference


def tolerance(*, exact: bool) -> float:
    """Return by how much a served value may differ."""
    return 0.0 if exact else TOLERANCE
