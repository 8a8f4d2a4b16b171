"""Training-serving skew: features as they were served against the same features computed offline from the log.

The two come from one kernel over one declaration, so any difference is a fault: a lost or late row, state that was
built for another definition, a changed expression.
"""

from collections.abc import Mapping

import msgspec
import numpy as np
import polars as pl
from attrs import frozen

from charkha.engines.engine import Engine
from charkha.features.aggregations import aggregation_of
from charkha.features.plan import FeaturePlan
from charkha.features.request import with_request_features
from charkha.features.seen import BoolArray, features_as_seen
from charkha.features.segments import IntArray
from charkha.monitoring.skew_magnitude import TOLERANCE, Answers, magnitudes
from charkha.spec.fields import TIME
from charkha.spec.model import FloatArray


class FeatureSkew(msgspec.Struct, frozen=True):
    """One feature as served against its offline recomputation.

    exact: counts, extremes, sketches, latest values and what is computed from them alone must agree to the bit; sums,
    means, variances and what is computed from them to 1e-9.
    max_difference: the largest difference; relative to the magnitude of what was added, unless `exact`. Infinite where
    one side is null, or where text differs.
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
    asked = served.select(*plan.request, "_at_us", "_seen_us")
    recomputed = features_as_seen(plan, asked, rows, engine)
    exact = exact_features(plan)
    apart = compare(plan, Answers(asked, served.select(plan.names), recomputed), rows, engine).apart
    return [FeatureSkew(name, name in exact, len(served), float(apart[name].max(initial=0.0))) for name in plan.names]


@frozen(eq=False)
class Comparison:
    """How far features as served are from their recomputation.

    apart: of each feature, how far each row is apart, float64 (n,): see `FeatureSkew.max_difference`. sizes: of each
    window's feature that is not exact, what the differences of the rows at `places` are relative to, those in which
    something differed at first sight.
    """

    apart: Mapping[str, FloatArray]
    places: IntArray
    sizes: Mapping[str, FloatArray]

    def sizes_at(self, place: int) -> dict[str, float]:
        """Return what the differences of one of these rows are relative to, by feature."""
        number = int(np.searchsorted(self.places, place))
        return {name: float(sizes[number]) for name, sizes in self.sizes.items()}


def compare(plan: FeaturePlan, answers: Answers, rows: Mapping[str, pl.DataFrame], engine: Engine) -> Comparison:
    """Compare features, and where they differ by more than the last digits, by the magnitude of what was added."""
    served, recomputed = answers.served, answers.recomputed
    exact = exact_features(plan)
    apart = {name: row_differences(served[name], recomputed[name], exact=name in exact) for name in served.columns}
    differ = np.zeros(len(served), bool)
    for name, differences in apart.items():
        differ |= differences > tolerance(exact=name in exact)
    places = np.flatnonzero(differ)
    if not len(places):
        return Comparison(apart, places, {})
    answers = answers[places]
    sizes = magnitudes(plan, answers, rows, engine)
    for name, size in sizes.items():
        if name in apart:
            told, made = answers.served[name], answers.recomputed[name]
            apart[name][places] = row_differences(told, made, exact=False, size=size)
    agree = {name: apart[name][places] <= TOLERANCE for name in sizes if name in apart}
    for name, values in _of_what_was_served(plan, answers, agree).items():
        of_these = row_differences(answers.served[name], values, exact=False)
        apart[name][places] = np.minimum(apart[name][places], of_these)
    return Comparison(apart, places, sizes)


def _of_what_was_served(plan: FeaturePlan, answers: Answers, agree: Mapping[str, BoolArray]) -> dict[str, pl.Series]:
    """Return the request features that are not exact, of the sums as they were served where these agree.

    So a request feature may turn over with the last digit of a sum, and is held to what it was computed from.
    """
    asked, served, recomputed = answers.asked, answers.served, answers.recomputed
    exact = exact_features(plan)
    wanted = [name for name in plan.expressions if name in served.columns and name not in exact]
    if not wanted:
        return {}
    fetched = recomputed.select(pl.exclude(list(plan.expressions))).with_columns(
        served[name].cast(pl.Float64).zip_with(pl.Series(rows), recomputed[name]) for name, rows in agree.items()
    )
    frame = asked.with_columns(asked["_at_us"].cast(TIME).alias(plan.at)).hstack(fetched)
    return with_request_features(plan, frame).select(wanted).to_dict()


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


def row_differences(
    served: pl.Series, recomputed: pl.Series, *, exact: bool, size: FloatArray | None = None
) -> FloatArray:
    """Return how far each row of two columns of one feature is apart, float64 (n,); see `FeatureSkew.max_difference`.

    size: what the differences are relative to, where that is more than the values; those relative to something infinite
    are 0. Infinite where one side is null, or where text differs.
    """
    if pl.String in (served.dtype, recomputed.dtype):
        same = served.cast(pl.String).eq_missing(recomputed.cast(pl.String)).to_numpy()
        return np.where(same, 0.0, np.inf)
    left, right = (series.cast(pl.Float64).fill_null(float("nan")).to_numpy() for series in (served, recomputed))
    one_is_null = np.isnan(left) != np.isnan(right)
    with np.errstate(all="ignore"):
        if exact:
            difference = np.abs(left - right)
        else:
            larger = np.fmax(np.fmax(np.abs(left), np.abs(right)), 0.0 if size is None else size)
            difference = np.abs(left / larger - right / larger)
    difference = np.where((left == right) | (np.isnan(left) & np.isnan(right)), 0.0, difference)
    difference = np.where(one_is_null, np.inf, difference)
    found: FloatArray = difference if size is None else np.where(np.isinf(size), 0.0, difference)
    return found


def tolerance(*, exact: bool) -> float:
    """Return by how much a served value may differ."""
    return 0.0 if exact else TOLERANCE
