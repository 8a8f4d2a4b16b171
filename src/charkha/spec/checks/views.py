"""Checks of feature views on their own: their columns and ages."""

from collections.abc import Iterator

import polars as pl

from charkha.spec.aggregates import Aggregate, Ratio
from charkha.spec.checks.expressions import roots
from charkha.spec.checks.sources import known_fields
from charkha.spec.checks.values import column_faults, duration_faults, name_faults, quote
from charkha.spec.checks.windows import NUMBERS_AND_TEXT, aggregates_of, readable_parts, window_faults
from charkha.spec.faults import Fault
from charkha.spec.fields import POLARS_TYPES, FieldType
from charkha.spec.sources import Entity, Source
from charkha.spec.views import FeatureView

# Keys are compared as text: two floats that are the same number need not print the same.
KEY_TYPES: tuple[FieldType, ...] = (str, int, bool)


def view_faults(view: FeatureView) -> Iterator[Fault]:
    """Yield what is wrong with a view on its own."""
    where = f"view {view.name!r}"
    yield from name_faults(where, view.name)
    if not view.windows and not view.latest:
        remedy = 'Give windows=[ck.mean("x", over="6h")] or latest=["x"].'
        yield Fault(where, "windows, latest values or both", "neither", remedy)
    if not isinstance(view.source, Source):
        yield Fault(f"{where}, source", "a ck.Source", quote(view.source), "Pass the source itself.")
        return
    yield from _key_faults(where, view)
    yield from _latest_faults(where, view)
    for declared in view.windows:
        yield from window_faults(where, declared, view.source)
    if view.windows and view.source.static is True:
        remedy = "Use latest=[…], or give the source its time."
        yield Fault(f"{where}, windows", "a source with time", f"the static source {view.source.name!r}", remedy)


def window_names(view: FeatureView) -> list[str]:
    """Return the name of every feature of windows that can be read, whatever else is wrong with them."""
    return [
        name
        for declared in view.windows
        if isinstance(declared, Aggregate | Ratio)
        for readable in readable_parts(declared)
        for name in readable.features()
    ]


def feature_names(view: FeatureView) -> list[str]:
    """Return the full name of every feature, repeated where two have one name."""
    return [f"{view.name}.{name}" for name in (*window_names(view), *view.latest)]


def feature_types(view: FeatureView) -> dict[str, pl.DataType]:
    """Return the type of each feature under its full name; latest values of unknown columns are left out."""
    fields = known_fields(view.source) if isinstance(view.source, Source) else {}
    latest = {column: fields[column] for column in view.latest if column in fields}
    return {
        **{f"{view.name}.{name}": pl.Float64() for name in window_names(view)},
        **{f"{view.name}.{column}": POLARS_TYPES[kind] for column, kind in latest.items() if kind in POLARS_TYPES},
    }


def columns_used(view: FeatureView) -> set[str]:
    """Return the columns that the view's features are made of."""
    measures = [aggregate.measure for declared in view.windows for aggregate in aggregates_of(declared)]
    aggregated = {measure.column for measure in measures if isinstance(measure.column, str)}
    filtered = {root for measure in measures if isinstance(measure.where, pl.Expr) for root in roots(measure.where)}
    return aggregated | filtered | {column for column in view.latest if isinstance(column, str)}


def _key_faults(where: str, view: FeatureView) -> Iterator[Fault]:
    if not isinstance(view.entity, Entity):
        remedy = f"Write ck.Entity({quote(view.entity)})." if isinstance(view.entity, str) else "Pass a ck.Entity."
        yield Fault(f"{where}, entity", "a ck.Entity", quote(view.entity), remedy)
        return
    fields = known_fields(view.source)
    for key in view.entity.keys:
        yield from column_faults(f"{where}, entity {view.entity.name!r}", key, fields, view.source.name, KEY_TYPES)


def _latest_faults(where: str, view: FeatureView) -> Iterator[Fault]:
    fields = known_fields(view.source)
    for column in view.latest:
        yield from column_faults(f"{where}, latest", column, fields, view.source.name, NUMBERS_AND_TEXT)
    if view.max_age is None:
        return
    yield from duration_faults(f"{where}, max_age", view.max_age)
    if not view.latest:
        yield Fault(f"{where}, max_age", "latest values that can age", "none", "Give latest=[…] or leave out max_age.")
    elif view.source.static is True:
        remedy = "Leave out max_age: rows without time never age."
        yield Fault(f"{where}, max_age", "a source with time", f"the static source {view.source.name!r}", remedy)
