"""Checks of a model's request features: together, because each may use any other."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from math import isfinite

import polars as pl

from charkha.spec.checks.expressions import expression_faults, roots, type_of
from charkha.spec.checks.values import name_faults, quote, way_to
from charkha.spec.failures import POLARS_FAILS
from charkha.spec.faults import Fault
from charkha.spec.views import RequestFeatures


def group_faults(where: str, group: RequestFeatures) -> Iterator[Fault]:
    """Yield what is wrong with the names of a group of request features."""
    inner = f"{where}, request features {group.name!r}"
    yield from name_faults(inner, group.name)
    if group.fault is not None:
        yield replace(group.fault, where=f"{inner}, {group.fault.where}")
        return
    if not group.expressions:
        yield Fault(inner, "at least one expression", "none", 'Write ck.RequestFeatures("x", y=pl.col("z") * 2).')
    for name in group.expressions:
        yield from name_faults(inner, name)


def default_faults(where: str, group: RequestFeatures, types: Mapping[str, pl.DataType]) -> Iterator[Fault]:
    """Yield what is wrong with the defaults of a group. types: of the sound features, by full name."""
    inner = f"{where}, request features {group.name!r}, defaults"
    defaults: object = group.defaults
    if not isinstance(defaults, Mapping):
        yield Fault(inner, "a dictionary of values by feature", quote(defaults), 'Write defaults={"hour": 12}.')
        return
    for name, value in defaults.items():
        if group.fault is None and name not in group.expressions:
            remedy = way_to(name, group.expressions, "Its features")
            yield Fault(inner, f"a feature of {group.name!r}", quote(name), remedy)
            continue
        kind = types.get(f"{group.name}.{name}")
        if kind is not None and not _holds(kind, value):
            remedy = "Give a value of the feature's own type, or leave it out: null stands there then."
            yield Fault(f"{inner}, {name!r}", f"a value of type {kind}", quote(value), remedy)


def _holds(kind: pl.DataType, value: object) -> bool:
    """Say whether a value is one of a type, as it is and without loss."""
    if kind == pl.Boolean or isinstance(value, bool):
        return kind == pl.Boolean and isinstance(value, bool)
    if kind == pl.String:
        return isinstance(value, str)
    if kind.is_float():
        return isinstance(value, int | float) and isfinite(value)
    return isinstance(value, int) and pl.Series([value], dtype=kind, strict=False).item() == value


def request_feature_faults(
    where: str, expressions: Mapping[str, object], columns: Mapping[str, pl.DataType]
) -> tuple[list[Fault], dict[str, pl.DataType]]:
    """Return the faults of all request features of a model, and the types of those that have one.

    expressions: by full name. columns: what they may use beside each other: request fields, the time, view features.
    """
    links = {
        name: {root for root in roots(expression) if root in expressions}
        for name, expression in expressions.items()
        if isinstance(expression, pl.Expr)
    }
    ring = find_cycle(links)
    if ring is not None:
        remedy = "Write one of them without the other."
        return [Fault(where, "request features that can be computed in turn", " → ".join(ring), remedy)], {}
    faults: list[Fault] = []
    types: dict[str, pl.DataType] = {}
    order = list(TopologicalSorter({name: sorted(links.get(name, ())) for name in expressions}).static_order())
    for name in order:
        # What rests on a faulty feature is not reported: it is mended with it.
        if any(root in expressions and root not in types for root in links.get(name, ())):
            continue
        known = {**columns, **types}
        found = list(expression_faults(f"{where}, feature {name!r}", expressions[name], known, "feature"))
        faults += found
        kind = None if found else _type_or_none(expressions[name], known)
        if kind is not None:
            types[name] = kind
    return faults, types


def find_cycle(links: Mapping[str, set[str]]) -> list[str] | None:
    """Return a ring of names that need each other, first and last the same; None when there is none."""
    try:
        TopologicalSorter({name: sorted(needs) for name, needs in links.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


def _type_or_none(expression: object, columns: Mapping[str, pl.DataType]) -> pl.DataType | None:
    try:
        return type_of(expression, columns) if isinstance(expression, pl.Expr) else None
    except POLARS_FAILS:
        return None
