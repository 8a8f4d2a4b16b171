"""Categories are written otherwise, or are new: views that have them in their key find nothing."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.seen import BoolArray
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import AGE_PREFIX, Traffic
from charkha.operations.drills.bending import bend_source, hit_rows, lots, where
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident, check_subject
from charkha.operations.drills.targets import categories
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.aggregates import Aggregate
from charkha.spec.views import FeatureView

# By how much the number of a category that never was lies above the others.
ABOVE = 1_000


def with_unknown_value(
    plan: FeaturePlan, rows: pl.DataFrame, column: str, hit: BoolArray, values: pl.Series
) -> Mapping[str, pl.Series]:
    """Return a field of the request with other values in some rows, and the views whose key it is part of: nothing.

    A key that the store does not know has counts of 0 and nulls.
    """
    found = {REQUEST_PREFIX + column: where(hit, values, rows[REQUEST_PREFIX + column])}
    for view in plan.views:
        if column in view.entity.keys:
            counts = _counts(view)
            for name in feature_names(view):
                if name in rows.columns:
                    none = pl.Series([0.0 if name in counts else None], dtype=rows.schema[name])
                    found[name] = where(hit, none.new_from_index(0, rows.height), rows[name])
            age = AGE_PREFIX + view.name
            if age in rows.columns:
                found[age] = where(hit, rows[age].clear(rows.height), rows[age])
    return found


def spelt_otherwise(values: pl.Series) -> pl.Series:
    """Return categories that mean the same and are written otherwise."""
    return values + ("_" if values.dtype == pl.String else ABOVE)


def never_seen(values: pl.Series, text: str) -> pl.Series:
    """Return as many times one category that is not among others."""
    new = text if values.dtype == pl.String else (values.max() or 0) + 2 * ABOVE  # type: ignore[operator]
    return pl.Series([new], dtype=values.dtype, strict=False).new_from_index(0, len(values))


def _counts(view: FeatureView) -> set[str]:
    declared = [each for each in view.windows if isinstance(each, Aggregate) and each.measure.kind == "count"]
    return {f"{view.name}.{name}" for each in declared for name in each.features()}


def _category_rename(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    check_subject(fault, categories(traffic, rescore.plan), "a field of the request with few values")
    column = str(fault.subject).removeprefix(REQUEST_PREFIX)
    frequent = traffic.predictions[str(fault.subject)].drop_nulls().value_counts(sort=True)[str(fault.subject)]
    renamed = frequent.head(max(1, round(fault.size or 1)))

    def renamed_ones(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        values = rows[str(fault.subject)]
        hit = values.is_in(renamed.implode()).fill_null(value=False).to_numpy().astype(np.bool_)
        return with_unknown_value(rescore.plan, rows, column, hit, spelt_otherwise(values))

    return bend_source(traffic, hit_rows(traffic, fault), rescore, renamed_ones)


def _new_category(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    check_subject(fault, categories(traffic, rescore.plan), "a field of the request with few values")
    column = str(fault.subject).removeprefix(REQUEST_PREFIX)

    def newcomers(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        hit = lots(rows, fault.seed, fault.kind) < (fault.size or 0.0)
        return with_unknown_value(rescore.plan, rows, column, hit, never_seen(rows[str(fault.subject)], "new category"))

    return bend_source(traffic, hit_rows(traffic, fault), rescore, newcomers)


INCIDENTS = (
    Incident(
        kind="category_rename",
        cause="source",
        words="the most frequent categories of a field are spelt otherwise",
        inject=_category_rename,
        subjects=categories,
        unit="categories",
        size=1.0,
        every_row=False,
        within="4h",
        rows=200,
        touches={"predictions", "recomputed"},
    ),
    Incident(
        kind="new_category",
        cause="source",
        words="a share of the rows has a category that never was before",
        inject=_new_category,
        subjects=categories,
        unit="share of the rows",
        size=0.2,
        every_row=False,
        within="4h",
        rows=200,
        touches={"predictions", "recomputed"},
    ),
)
