"""What is served is not what was trained on: another transform, another window, another value for what is missing."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from charkha.features.plan import FeaturePlan
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import bend_served, hit_rows
from charkha.operations.drills.earlier import view_as_of
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident, check_subject
from charkha.operations.drills.targets import numeric_features
from charkha.spec.aggregates import Aggregate
from charkha.spec.durations import HOUR_US
from charkha.spec.views import FeatureView


def _transform(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    check_subject(fault, numeric_features(traffic, rescore.plan), "a feature that is a number")
    name = str(fault.subject)

    def logarithm(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        values = rows[name]
        return {name: values + (values.sign() * values.abs().log1p() - values) * (fault.size or 0.0)}

    return bend_served(traffic, hit_rows(traffic, fault), rescore, logarithm)


def windowed(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """Return the features that are aggregates over a window."""
    names = [f"{view.name}.{name}" for view in plan.views for name in view.window_features()]
    return [name for name in names if name in numeric_features(traffic, plan)]


def _window(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    check_subject(fault, windowed(traffic, rescore.plan), "a feature over a window")
    name, plan = str(fault.subject), rescore.plan
    (view,) = (view for view in plan.views if name.startswith(f"{view.name}."))
    other = _sibling(view, name.removeprefix(f"{view.name}."))
    earlier_us = round((fault.size or 0.0) * HOUR_US)

    def of_another_window(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        if other is not None and other in rows.columns:
            return {name: rows[other]}
        until_us = rows["_at_us"].to_numpy() - earlier_us
        return {name: view_as_of(plan, view, rows, traffic.predictions, until_us)[name]}

    return bend_served(traffic, hit_rows(traffic, fault), rescore, of_another_window)


def _sibling(view: FeatureView, feature: str) -> str | None:
    """Return the feature of the same measure over another window: the next one, or the one before; None without."""
    for declared in view.windows:
        names = declared.features()
        if isinstance(declared, Aggregate) and feature in names and len(declared.over) > 1:
            step = len(declared.measure.endings)
            place = names.index(feature)
            return f"{view.name}.{names[place + step if place + step < len(names) else place - step]}"
    return None


def with_nulls(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """Return the numbers of which one in a hundred is null, those with most nulls first."""
    numbers = numeric_features(traffic, plan)
    counts = {name: traffic.predictions[name].null_count() for name in numbers}
    enough = (name for name in numbers if counts[name] > 0.01 * traffic.predictions.height)
    return sorted(enough, key=lambda name: -counts[name])


def _imputation(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    check_subject(fault, with_nulls(traffic, rescore.plan), "a feature that is a number and sometimes null")
    name = str(fault.subject)

    def filled(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        return {name: rows[name].fill_null(fault.size if fault.size is not None else np.nan)}

    return bend_served(traffic, hit_rows(traffic, fault), rescore, filled)


INCIDENTS = (
    Incident(
        kind="skew_transform",
        cause="skew",
        words="a feature is served as its logarithm, and was trained on as it is",
        inject=_transform,
        subjects=numeric_features,
        unit="share of the way to the logarithm",
        size=1.0,
        within="2h",
        rows=100,
        touches={"predictions"},
    ),
    Incident(
        kind="skew_window",
        cause="skew",
        words="a feature is served over another window of its view, or as it was hours before where there is none",
        inject=_window,
        subjects=windowed,
        unit="hours",
        size=24.0,
        within="6h",
        rows=200,
        touches={"predictions"},
    ),
    Incident(
        kind="skew_imputation",
        cause="skew",
        words="a number stands where a feature is null, on which the model was trained as it is",
        inject=_imputation,
        subjects=with_nulls,
        unit="the number",
        size=0.0,
        every_row=False,
        within="12h",
        rows=500,
        touches={"predictions"},
    ),
)
