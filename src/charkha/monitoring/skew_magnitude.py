"""How far sums may be apart: the magnitude of what was added up, which a result that cancelled does not tell.

It is computed from the very rows of a key's window: the same windows over the absolute values, or over their squares
where squares are added up.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
from attrs import evolve, field, frozen

from charkha.engines.engine import Engine
from charkha.features.aggregations import aggregation_of
from charkha.features.filters import with_filters
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.seen import features_as_seen, rows_of_their_keys
from charkha.features.segments import IntArray
from charkha.spec.aggregates import Aggregate, AggregateKind, Measure
from charkha.spec.model import FloatArray
from charkha.spec.views import FeatureView

# What floating-point sums may differ by when they are added in another order, relative to the magnitude.
TOLERANCE = 1e-9
# Adding larger values may overflow on the way, in one order and not in another; so may adding squares of larger ones.
MOST_ADDED, MOST_SQUARED = 1e300, 1e150
# Of what the magnitude of each aggregation that is not exact is made: the same windows, of absolute values or squares.
_SIZE, _SQUARE = "_size", "_square"
MAGNITUDES: Mapping[AggregateKind, tuple[AggregateKind, str]] = {
    "sum": ("sum", _SIZE),
    "mean": ("mean", _SIZE),
    "decayed_sum": ("decayed_sum", _SIZE),
    "variance": ("mean", _SQUARE),
    "std": ("mean", _SQUARE),
}


@frozen(eq=False)
class Answers:
    """Features as they were served, and as they are recomputed.

    asked: n questions, `_at_us` and `_seen_us`. served, recomputed: the features, a column each; not all were logged.
    """

    asked: pl.DataFrame
    served: pl.DataFrame
    recomputed: pl.DataFrame

    def __getitem__(self, places: IntArray) -> "Answers":
        """Return some of them."""
        return Answers(self.asked[places], self.served[places], self.recomputed[places])


def magnitudes(
    plan: FeaturePlan, answers: Answers, rows: Mapping[str, pl.DataFrame], engine: Engine
) -> dict[str, FloatArray]:
    """Return to what the differences of each window's feature are relative that is not exact: float64 (n,) by name.

    rows: as of `read_rows`. 0 where nothing was added; infinite where adding may overflow, or nothing is left to
    divide by: there nothing is promised, not even a number.
    """
    views = [sized for sized in (_Sized.of(view) for view in plan.views) if sized.aggregates]
    if not views:
        return {}
    sums = tuple(sized.sums for sized in views)
    names = tuple(name for view in sums for name in feature_names(view))
    theirs = rows_of_their_keys(plan, answers.asked, rows)
    for view in sums:
        theirs[view.source.name] = _with_sizes(theirs[view.source.name], view)
    found = features_as_seen(FeaturePlan(sums, plan.request, plan.at, {}, names), answers.asked, theirs, engine)
    with np.errstate(all="ignore"):  # what is beyond a float, or divided by nothing, is infinite
        return {name: size for sized in views for name, size in sized.sizes(found, answers) if name in plan.names}


@frozen(eq=False)
class _Sized:
    """A view and the sums that tell the magnitudes of its features.

    aggregates: those that are not exact, and the sides of ratios that are not, each with its number.
    """

    view: FeatureView
    aggregates: Mapping[Aggregate, int] = field(factory=dict)

    @classmethod
    def of(cls, view: FeatureView) -> "_Sized":
        groups = (
            (each,) if isinstance(each, Aggregate) else (each.numerator, each.denominator) for each in view.windows
        )
        found = (aggregate for group in groups if any(_adds(each) for each in group) for aggregate in group)
        return cls(view, {aggregate: number for number, aggregate in enumerate(dict.fromkeys(found))})

    @property
    def sums(self) -> FeatureView:
        """The view whose features are the values, the largest of what is added, and the magnitudes."""
        columns = {str(each.measure.column) for each in self.aggregates if _adds(each)}
        sizes = {f"{what}_{column}": float for column in columns for what in (_SIZE, _SQUARE)}
        source = evolve(self.view.source, fields={**self.view.source.fields, **sizes})
        windows = [made for each, number in self.aggregates.items() for made in _sums(each, number)]
        return evolve(self.view, source=source, windows=windows, latest=(), max_age=None)

    def sizes(self, found: pl.DataFrame, answers: Answers) -> Iterator[tuple[str, FloatArray]]:
        """Yield what the differences of each feature are relative to. found: the features of `sums`."""
        for declared in self.view.windows:
            if isinstance(declared, Aggregate):
                for over, name in zip(declared.over, declared.features(), strict=True) if _adds(declared) else ():
                    full = f"{self.view.name}.{name}"
                    made = _floats(answers.recomputed, full)
                    told = _floats(answers.served, full) if full in answers.served.columns else made
                    both = np.abs(made) + np.abs(told)
                    yield full, self._size(found, declared, over, both)
            elif _adds(declared.numerator) or _adds(declared.denominator):
                full = f"{self.view.name}.{declared.name}"
                yield full, self._of_ratio(found, declared.numerator, declared.denominator)

    def _size(self, found: pl.DataFrame, aggregate: Aggregate, over: str, both: FloatArray) -> FloatArray:
        """Return the magnitude of a window. both: the two values compared, added without their signs."""
        if not _adds(aggregate):
            return np.zeros(found.height)
        number = self.aggregates[aggregate]
        largest = _floats(found, f"{self.view.name}.{number}_largest_{over}")
        total = _floats(found, f"{self.view.name}.{number}_total_{over}")
        most = MOST_SQUARED if MAGNITUDES[aggregate.measure.kind][1] == _SQUARE else MOST_ADDED
        told = np.where((largest > most) | np.isnan(total), np.inf, total)
        magnitude = np.where(np.isnan(largest), 0.0, told)
        if aggregate.measure.kind != "std":
            return magnitude
        # Roots are apart by what their squares are over the sum of the two, and by the root of that at most.
        of_root = np.minimum(magnitude / np.nan_to_num(both), np.sqrt(magnitude / TOLERANCE))
        return np.where(magnitude > 0, of_root, 0.0)

    def _of_ratio(self, found: pl.DataFrame, numerator: Aggregate, denominator: Aggregate) -> FloatArray:
        sides = (numerator, denominator)
        over, under = (
            _floats(found, f"{self.view.name}.{self.aggregates[side]}_value_{side.over[0]}") for side in sides
        )
        of_over, of_under = (
            self._size(found, side, side.over[0], 2 * np.abs(value))
            for side, value in zip(sides, (over, under), strict=True)
        )
        left = np.abs(under) - TOLERANCE * of_under
        size = (of_over + np.abs(over / under) * of_under) / left
        nothing_added = (of_over == 0) & (of_under == 0)
        return np.where(nothing_added, 0.0, np.where((left > 0) & ~np.isnan(size), size, np.inf))


def _adds(aggregate: Aggregate) -> bool:
    return not aggregation_of(aggregate.measure).exact


def _sums(aggregate: Aggregate, number: int) -> Iterator[Aggregate]:
    """Yield what tells an aggregate's magnitude: its own value, and of what adds up the largest and the sum."""
    yield evolve(aggregate, name=f"{number}_value")
    if _adds(aggregate):
        measure = aggregate.measure
        kind, what = MAGNITUDES[measure.kind]
        largest = Measure("max", f"{_SIZE}_{measure.column}", where=measure.where)
        total = evolve(measure, kind=kind, column=f"{what}_{measure.column}")
        yield evolve(aggregate, measure=largest, name=f"{number}_largest")
        yield evolve(aggregate, measure=total, name=f"{number}_total")


def _with_sizes(rows: pl.DataFrame, view: FeatureView) -> pl.DataFrame:
    """Return rows with the absolute values and the squares that a view of `sums` reads, and its filters."""
    sizes = {name: pl.col(name.split("_", 2)[2]).cast(pl.Float64).abs() for name in view.source.fields if _sized(name)}
    new = {name: each**2 if name.startswith(_SQUARE) else each for name, each in sizes.items()}
    return with_filters(rows, [view]).with_columns(**new)


def _sized(field_name: str) -> bool:
    return field_name.startswith((f"{_SIZE}_", f"{_SQUARE}_"))


def _floats(frame: pl.DataFrame, name: str) -> FloatArray:
    return frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
