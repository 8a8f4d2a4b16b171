"""Checks of windowed aggregates: their columns, filters, parameters, names and windows."""

from collections.abc import Iterator

import polars as pl
from attrs import evolve

from charkha.spec.aggregates import ALL, FINGERPRINTED, WITHOUT_COLUMN, Aggregate, Measure, Ratio, default_hop
from charkha.spec.checks.expressions import expression_faults
from charkha.spec.checks.sources import known_fields
from charkha.spec.checks.values import (
    column_faults,
    duration_faults,
    duration_us,
    name_faults,
    number_faults,
    quote,
    repeated,
)
from charkha.spec.durations import format_duration
from charkha.spec.faults import Fault
from charkha.spec.fields import POLARS_TYPES, FieldType
from charkha.spec.sources import Source

NUMBERS: tuple[FieldType, ...] = (int, float, bool)
NUMBERS_AND_TEXT: tuple[FieldType, ...] = (int, float, bool, str)
# What bounds the state of a key, however hot: a tile holds a hop.
MOST_HOPS = 1000
MOST_VALUES = 32


def window_faults(where: str, declared: object, source: Source) -> Iterator[Fault]:
    """Yield what is wrong with one entry of a view's windows."""
    if isinstance(declared, Ratio):
        yield from _ratio_faults(where, declared, source)
    elif isinstance(declared, Aggregate):
        yield from _aggregate_faults(where, declared, source, needs_name=True)
    else:
        remedy = (
            "Use ck.count, ck.sum, ck.mean, ck.min, ck.max, ck.first, ck.last, ck.last_k, ck.variance, ck.std, "
            "ck.distinct, ck.quantile, ck.top_k, ck.time_since_last, ck.decayed_sum or ck.ratio, such as "
            'ck.mean("x", over="6h").'
        )
        yield Fault(f"{where}, windows", "an aggregate", quote(declared), remedy)


def aggregates_of(declared: object) -> list[Aggregate]:
    """Return the aggregates that an entry of a view's windows is made of."""
    parts = (declared.numerator, declared.denominator) if isinstance(declared, Ratio) else (declared,)
    return [part for part in parts if isinstance(part, Aggregate)]


def readable_parts(declared: Aggregate | Ratio) -> list[Aggregate | Ratio]:
    """Return what of an entry can be named: aggregates over the windows that can be read, ratios of two such."""
    parts: list[Aggregate | Ratio] = []
    if isinstance(declared, Ratio):
        sides = aggregates_of(declared)
        readable = len(sides) == 2 and all(readable_parts(side) for side in sides)
        return [declared] if readable or declared.given_name is not None else []
    if not list(_parameter_faults("", declared.measure)):
        over = tuple(text for text in declared.over if text == ALL or duration_us(text) is not None)
        parts = [evolve(declared, over=over, hop=None)] if over else []
    return parts


def _ratio_faults(where: str, ratio: Ratio, source: Source) -> Iterator[Fault]:
    inner = f"{where}, ratio"
    named = ratio.given_name is not None
    if named:
        yield from name_faults(f"{inner}, name", ratio.given_name)
    for side, aggregate in (("numerator", ratio.numerator), ("denominator", ratio.denominator)):
        if not isinstance(aggregate, Aggregate):
            remedy = 'Write ck.ratio(ck.sum("x", over="1h"), ck.sum("x", over="24h")).'
            yield Fault(f"{inner}, {side}", "an aggregate", quote(aggregate), remedy)
            continue
        yield from _aggregate_faults(inner, aggregate, source, needs_name=not named)
        features = sum(len(part.features()) for part in readable_parts(aggregate))
        if features > 1:
            remedy = "Give it one window and one value, and write a ratio for each."
            yield Fault(f"{inner}, {side}", "an aggregate that gives one feature", f"one that gives {features}", remedy)


def _aggregate_faults(where: str, aggregate: Aggregate, source: Source, *, needs_name: bool) -> Iterator[Fault]:
    measure, fields = aggregate.measure, known_fields(source)
    without = measure.kind in WITHOUT_COLUMN
    inner = f"{where}, {measure.kind}({'' if without else quote(measure.column)})"
    if not without:
        kinds = NUMBERS_AND_TEXT if measure.kind in FINGERPRINTED else NUMBERS
        yield from column_faults(inner, measure.column, fields, source.name, kinds)
    yield from _parameter_faults(inner, measure)
    yield from _filter_faults(inner, aggregate, fields, needs_name=needs_name)
    if not aggregate.over:
        yield Fault(f"{inner}, over", "at least one duration", "none", 'Give over="6h" or over=["1h", "6h"].')
    for text in aggregate.over:
        if text != ALL:
            yield from duration_faults(f"{inner}, over", text)
    for one, other in _same_windows(aggregate):
        found = f"{other!r}, which is as long as {one!r}" if one != other else f"{one!r} twice"
        yield Fault(f"{inner}, over", "each window once", found, "Leave one of them out.")
    if aggregate.hop is not None:
        yield from duration_faults(f"{inner}, hop", aggregate.hop)
    yield from _hop_faults(inner, aggregate)


def _same_windows(aggregate: Aggregate) -> Iterator[tuple[str, str]]:
    """Yield two ways in which one window is written."""
    seen: dict[int | str, str] = {}
    for text in aggregate.over:
        size = text if text == ALL else duration_us(text)
        if size is not None:
            if size in seen:
                yield seen[size], text
            seen.setdefault(size, text)


def _parameter_faults(where: str, measure: Measure) -> Iterator[Fault]:
    if measure.kind in ("last_k", "top_k"):
        expected = f"a whole number from 1 to {MOST_VALUES}"
        if type(measure.k) is not int or not 1 <= measure.k <= MOST_VALUES:
            yield Fault(f"{where}, k", expected, quote(measure.k), "Give a number in that range.")
    if measure.kind == "quantile":
        if not measure.q:
            yield Fault(f"{where}, q", "at least one quantile", "none", "Give q=0.5 or q=[0.5, 0.95].")
        for q in measure.q:
            yield from number_faults(f"{where}, q", q, "a quantile from 0 to 1", 0.0, 1.0)
        for text in repeated(str(q) for q in measure.q):
            yield Fault(f"{where}, q", "each quantile once", f"{text} twice", "Name it once.")
    if measure.kind == "decayed_sum":
        yield from duration_faults(f"{where}, half_life", measure.half_life)


def _filter_faults(
    where: str, aggregate: Aggregate, fields: dict[str, FieldType], *, needs_name: bool
) -> Iterator[Fault]:
    if aggregate.name is not None:
        yield from name_faults(f"{where}, name", aggregate.name)
    if aggregate.measure.where is None:
        return
    types: dict[str, pl.DataType] = {name: POLARS_TYPES[kind] for name, kind in fields.items() if kind in POLARS_TYPES}
    yield from expression_faults(f"{where}, where", aggregate.measure.where, types, "boolean")
    if aggregate.name is None and needs_name:
        remedy = 'Say what the filtered rows are, such as name="night_spend": the features are called night_spend_24h.'
        yield Fault(f"{where}, name", "a name beside where=", "none", remedy)


def _hop_faults(where: str, aggregate: Aggregate) -> Iterator[Fault]:
    hop_us = None if aggregate.hop is None else duration_us(aggregate.hop)
    if aggregate.hop is not None and hop_us is None:
        return
    for text in aggregate.over:
        size_us = duration_us(text)
        step_us = hop_us or default_hop(size_us or 0)
        hop = format_duration(step_us)
        if size_us is not None and size_us % step_us:
            remedy = (
                f'Choose another window, or a hop that divides it, such as hop="{_dividing_hop(size_us, step_us)}".'
            )
            yield Fault(f"{where}, over", f"a whole number of hops of {hop}", quote(text), remedy)
        elif size_us is not None and size_us // step_us > MOST_HOPS:
            longer = format_duration(_longer_hop(size_us))
            remedy = (
                f'Let its tail move in longer steps, such as hop="{longer}", or take the whole history: over="all".'
            )
            found = f"{text!r}, which is {size_us // step_us} hops of {hop}"
            yield Fault(f"{where}, over", f"a window of at most {MOST_HOPS} hops", found, remedy)


def _dividing_hop(size_us: int, hop_us: int) -> str:
    """Return the largest duration that divides the window and is no longer than the hop."""
    for parts in range(max(1, -(-size_us // hop_us)), 10_000):
        if size_us % parts == 0 and (size_us // parts) % 1_000_000 == 0:
            return format_duration(size_us // parts)
    return "1s"


def _longer_hop(size_us: int) -> int:
    """Return the shortest hop in whole seconds of which the window has few enough."""
    return next(
        size_us // parts
        for parts in range(MOST_HOPS, 0, -1)
        if size_us % parts == 0 and (size_us // parts) % 1_000_000 == 0
    )
