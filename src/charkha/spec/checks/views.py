"""Checks of feature views on their own: their columns, windows and ages."""

from collections.abc import Iterator

import polars as pl
from attrs import evolve

from charkha.spec.checks.sources import known_fields
from charkha.spec.checks.values import column_faults, duration_faults, duration_us, name_faults, quote
from charkha.spec.durations import format_duration
from charkha.spec.faults import Fault
from charkha.spec.fields import POLARS_TYPES, FieldType
from charkha.spec.sources import Entity, Source
from charkha.spec.views import Aggregate, FeatureView, default_hop

NUMBERS: tuple[FieldType, ...] = (int, float, bool)
NUMBERS_AND_TEXT: tuple[FieldType, ...] = (int, float, bool, str)
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
    for aggregate in view.windows:
        yield from _aggregate_faults(where, aggregate, view.source)
    if view.windows and view.source.static is True:
        remedy = "Use latest=[…], or give the source its time."
        yield Fault(f"{where}, windows", "a source with time", f"the static source {view.source.name!r}", remedy)


def window_names(view: FeatureView) -> list[str]:
    """Return the name of every window whose duration can be read, whatever else is wrong with it."""
    return [
        window.name
        for aggregate in view.windows
        if isinstance(aggregate, Aggregate)
        for text in aggregate.over
        if duration_us(text) is not None
        for window in evolve(aggregate, over=(text,), hop=None).windows()
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
    aggregated = {part.column for part in view.windows if isinstance(part, Aggregate) and isinstance(part.column, str)}
    return aggregated | {column for column in view.latest if isinstance(column, str)}


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


def _aggregate_faults(where: str, aggregate: object, source: Source) -> Iterator[Fault]:
    if not isinstance(aggregate, Aggregate):
        remedy = (
            'Use ck.count, ck.sum, ck.mean, ck.min, ck.max, ck.last or ck.variance, such as ck.mean("x", over="6h").'
        )
        yield Fault(f"{where}, windows", "an aggregate", quote(aggregate), remedy)
        return
    inner = f"{where}, {aggregate.kind}({quote(aggregate.column) if aggregate.kind != 'count' else ''})"
    if aggregate.kind != "count":
        yield from column_faults(inner, aggregate.column, known_fields(source), source.name, NUMBERS)
    if not aggregate.over:
        yield Fault(f"{inner}, over", "at least one duration", "none", 'Give over="6h" or over=["1h", "6h"].')
    for text in aggregate.over:
        yield from duration_faults(f"{inner}, over", text)
    if aggregate.hop is not None:
        yield from duration_faults(f"{inner}, hop", aggregate.hop)
    yield from _hop_faults(inner, aggregate)


def _hop_faults(where: str, aggregate: Aggregate) -> Iterator[Fault]:
    hop_us = None if aggregate.hop is None else duration_us(aggregate.hop)
    if aggregate.hop is not None and hop_us is None:
        return
    for text in aggregate.over:
        size_us = duration_us(text)
        step_us = hop_us or default_hop(size_us or 0)
        if size_us is not None and size_us % step_us:
            hop = format_duration(step_us)
            remedy = (
                f'Choose another window, or a hop that divides it, such as hop="{_dividing_hop(size_us, step_us)}".'
            )
            yield Fault(f"{where}, over", f"a whole number of hops of {hop}", quote(text), remedy)


def _dividing_hop(size_us: int, hop_us: int) -> str:
    """Return the largest duration that divides the window and is no longer than the hop."""
    for parts in range(max(1, -(-size_us // hop_us)), 10_000):
        if size_us % parts == 0 and (size_us // parts) % 1_000_000 == 0:
            return format_duration(size_us // parts)
    return "1s"
