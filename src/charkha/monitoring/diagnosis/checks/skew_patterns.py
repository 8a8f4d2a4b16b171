"""What a difference between served and recomputed values looks like: from the plainest explanation to the others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np
import polars as pl
from attrs import frozen

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.skew_magnitude import TOLERANCE
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.model import FloatArray
from charkha.spec.views import FeatureView

# A pattern explains a difference when it is that of so many of the rows; a few have values that fit by chance.
MOST_ROWS = 0.9
# With fewer rows, or fewer values, a function through them is nothing to speak of.
LEAST_ROWS, LEAST_VALUES = 5, 4


@frozen(eq=False)
class Difference:
    """The rows of one feature that differ.

    rows: those of predictions, with the recomputed features under `made` and their name. before: predictions that may
    hold values of other questions. view: of the feature; None of a request feature.
    """

    name: str
    rows: pl.DataFrame
    made: str
    before: pl.DataFrame
    view: FeatureView | None
    features: Sequence[str]

    @classmethod
    def of(cls, case: Case, rows: pl.DataFrame, name: str, made: str) -> Self:
        """Return the difference of a feature in the rows in which it differs."""
        views = [view for view in case.plan.views if name.startswith(f"{view.name}.")]
        return cls(name, rows, made, case.traffic.predictions, views[0] if views else None, case.traffic.features)

    @property
    def served(self) -> pl.Series:
        """The values as they were served."""
        return self.rows[self.name]

    @property
    def recomputed(self) -> pl.Series:
        """The values as they are recomputed."""
        return self.rows[self.made + self.name]


def pattern(difference: Difference) -> tuple[str, str]:
    """Return the name of what a difference is like, and words: the first that fits nine rows in ten; "" for none."""
    told = ((name, test(difference)) for name, test in PATTERNS.items())
    return next(((name, words) for name, words in told if words), ("", ""))


def _imputed(difference: Difference) -> str | None:
    made, served = difference.recomputed, difference.served
    if not _most(made.is_null()):
        return None
    values = served.drop_nulls()
    common = values.mode().sort()
    if len(common) and _most(served == common[0]):
        return f"{common[0]!r} stands where it is null (another imputation)"
    return "it is null, and a value was served"


def _missing(difference: Difference) -> str | None:
    return "null was served in place of a value" if _most(difference.served.is_null()) else None


def _another_window(difference: Difference) -> str | None:
    """Another feature of the same view fits: the next window of the same measure, say."""
    view = difference.view
    if view is None or difference.served.dtype != pl.Float64:
        return None
    siblings = [name for name in difference.features if name.startswith(f"{view.name}.") and name != difference.name]
    for sibling in siblings:
        values = difference.rows[difference.made + sibling]
        if values.dtype == pl.Float64 and _most(difference.served.eq_missing(values)):
            return f"the values are those of {sibling} (another window)"
    return None


def _earlier(difference: Difference) -> str | None:
    """The same key had the value before: state that was not written, or another time."""
    view = difference.view
    if view is None or not _most(_known_before(difference, view)):
        return None
    return f"the values are earlier ones of the same {_key(view)} (a stale state, or a window that ended earlier)"


def _another_key(difference: Difference) -> str | None:
    view = difference.view
    if view is None:
        return None
    others = pl.concat([difference.before[difference.name], difference.rows[difference.made + difference.name]])
    fits = difference.served.is_null() | difference.served.is_in(others.drop_nulls().unique().implode())
    if not _most(fits):
        return None
    return f"the values are those of other rows (another {_key(view)}: a wrong key)"


def _transformed(difference: Difference) -> str | None:
    """A function of the recomputed value fits; a monotone one at least."""
    if difference.served.dtype != pl.Float64:
        return None
    known = difference.served.is_not_null() & difference.recomputed.is_not_null()
    served, made = (each.filter(known).to_numpy() for each in (difference.served, difference.recomputed))
    if len(served) < LEAST_ROWS or len(served) < MOST_ROWS * len(known) or len(np.unique(made)) < LEAST_VALUES:
        return None
    for words, function in FUNCTIONS:
        with np.errstate(all="ignore"):
            near = np.isclose(served, function(made), rtol=1e-6, atol=TOLERANCE)
        if near.mean() >= MOST_ROWS:
            return f"it was served as {words}"
    with np.errstate(all="ignore"):
        factor = served / made
    if np.isclose(factor, np.median(factor), rtol=1e-6).mean() >= MOST_ROWS:
        return f"it was served {np.median(factor):.6g} times as large"
    if np.isclose(served - made, np.median(served - made), rtol=1e-6).mean() >= MOST_ROWS:
        return f"it was served with {np.median(served - made):+.6g} added"
    return "it was served as a monotone function of itself (another transform)" if _monotone(made, served) else None


def _monotone(made: FloatArray, served: FloatArray) -> bool:
    """Say whether the served values keep the order of the recomputed ones, or turn it over, without exception."""
    order = np.lexsort((served, made))
    steps, same = np.diff(served[order]), np.diff(made[order]) == 0
    function = bool(np.all(steps[same] <= TOLERANCE * np.abs(served[order][1:][same])))
    return function and bool(np.all(steps[~same] > 0) or np.all(steps[~same] < 0))


def _known_before(difference: Difference, view: FeatureView) -> pl.Series:
    """Return of each row whether its key was served with the value before, by the questions that are logged."""
    keys = [REQUEST_PREFIX + key for key in view.entity.keys]
    if not set(keys) <= set(difference.rows.columns):
        return pl.Series([False]).new_from_index(0, difference.rows.height)
    value = [*keys, difference.name]
    first = difference.before.group_by(value).agg(_first=pl.col("_at_us").min())
    found = difference.rows.select("_at_us", *value).join(
        first, on=value, how="left", nulls_equal=True, maintain_order="left"
    )
    return (found["_first"] < found["_at_us"]).fill_null(value=False)


def _key(view: FeatureView) -> str:
    return " and ".join(view.entity.keys)


def _most(fits: pl.Series) -> bool:
    return len(fits) > 0 and bool(fits.fill_null(value=False).mean() >= MOST_ROWS)  # type: ignore[operator]


def _signed_log(values: FloatArray) -> FloatArray:
    return np.sign(values) * np.log1p(np.abs(values))


FUNCTIONS: tuple[tuple[str, Callable[[FloatArray], FloatArray]], ...] = (
    ("log(1 + x)", _signed_log),
    ("its logarithm", np.log),
    ("its logarithm to base 10", np.log10),
    ("its exponential", np.exp),
    ("its square root", np.sqrt),
    ("its square", np.square),
    ("its inverse", np.reciprocal),
)
# A function explains more than values that were seen before, which any constant or rounded value has.
PATTERNS: Mapping[str, Callable[[Difference], str | None]] = {
    "imputed": _imputed,
    "missing": _missing,
    "another_window": _another_window,
    "transformed": _transformed,
    "earlier": _earlier,
    "another_key": _another_key,
}
