"""Which features read which field of which source, and how strongly: told by the views' own declarations.

A fault of a source reaches a feature as rows that were known since its onset take the place of older ones: at once for
a latest value, little by little for a window.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.keys import key_column
from charkha.features.plan import FeaturePlan, feature_names
from charkha.monitoring.traffic import AGE_PREFIX
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.aggregates import Aggregate, Ratio
from charkha.spec.model import FloatArray
from charkha.spec.views import FeatureView

# What a feature becomes when the field it reads becomes k times as large: k to this power.
POWERS = {"variance": 2, "count": 0, "distinct": 0, "time_since_last": 0}


@frozen(eq=False)
class Derived:
    """A feature of a view that reads a field of its source.

    power: by which it scales with the field. kind: the aggregation; "latest" or "ratio" besides. window_us: how far
    back it reads; None for the newest row alone.
    """

    feature: str
    view: FeatureView
    kind: str
    power: int
    window_us: int | None


def derived_from(plan: FeaturePlan, source: str, column: str) -> list[Derived]:
    """Return the features of views that read a field of a source."""
    return [found for view in plan.views if view.source.name == source for found in _of_view(view, column)]


def _of_view(view: FeatureView, column: str) -> Iterator[Derived]:
    for declared in view.windows:
        power = _power(declared, column)
        if power is not None:
            kind = "ratio" if isinstance(declared, Ratio) else declared.measure.kind
            for window in declared.windows():
                names = [declared.name] if isinstance(declared, Ratio) else window.names
                yield from (Derived(f"{view.name}.{name}", view, kind, power, window.size_us) for name in names)
                if isinstance(declared, Ratio):
                    break
    if column in view.latest:
        yield Derived(f"{view.name}.{column}", view, "latest", 1, None)


def _power(declared: Aggregate | Ratio, column: str) -> int | None:
    """Return by which power an aggregate scales with a field; None where it does not read it."""
    if isinstance(declared, Aggregate):
        return POWERS.get(declared.measure.kind, 1) if declared.measure.column == column else None
    sides = _power(declared.numerator, column), _power(declared.denominator, column)
    return None if sides == (None, None) else (sides[0] or 0) - (sides[1] or 0)


def downstream(plan: FeaturePlan, changed: Iterable[str]) -> list[str]:
    """Return the request features that read something changed, also through others; in the order of their use.

    changed: fields of the request by name, the time by the plan's name for it, and features by full name.
    """
    reached, found = set(changed), []
    for name, expression in plan.expressions.items():
        if name not in reached and reached.intersection(expression.meta.root_names()):
            reached.add(name)
            found.append(name)
    return found


def names_of_view(plan: FeaturePlan, name: str) -> list[str]:
    """Return the full names of the features of a view, that the plan gives."""
    return [each for view in plan.views if view.name == name for each in feature_names(view) if each in plan.names]


def key_of(view: FeatureView, rows: pl.DataFrame) -> pl.Series:
    """Return the key of a view in each row, as text; null where a part of it is null or was not logged."""
    columns = [REQUEST_PREFIX + key for key in view.entity.keys]
    if not set(columns) <= set(rows.columns):
        return pl.Series("key", [None], dtype=pl.String).new_from_index(0, rows.height)
    return key_column(rows, columns).alias("key")


def reached(derived: Derived, rows: pl.DataFrame, since_us: int) -> FloatArray:
    """Return which share of what a feature read was known since an onset, 0 to 1: float64 (rows,).

    0 while the newest row of the key is older than the onset. Rows are taken to come evenly over a window.
    """
    elapsed_us = np.maximum(rows["_at_us"].to_numpy() - since_us, 0).astype(np.float64)
    age = rows[AGE_PREFIX + derived.view.name].fill_null(0.0).to_numpy() if _has_age(derived, rows) else 0.0
    is_new = np.asarray((age * 1e6 <= elapsed_us) & (elapsed_us > 0))
    if derived.view.source.static:
        is_new = elapsed_us >= 0  # a table without times is read anew, all of it
    if derived.window_us is None or derived.kind in ("last", "last_k"):
        return np.where(is_new, 1.0, 0.0)
    return np.where(is_new, np.minimum(elapsed_us / derived.window_us, 1.0), 0.0)


def _has_age(derived: Derived, rows: pl.DataFrame) -> bool:
    return AGE_PREFIX + derived.view.name in rows.columns
