"""Checks of a source's contract."""

import math
from collections.abc import Iterator, Mapping
from datetime import datetime

from charkha.clock import to_micros
from charkha.spec.checks.expressions import expression_faults
from charkha.spec.checks.values import (
    are_equal,
    column_faults,
    duration_faults,
    number_faults,
    quote,
    text_faults,
    type_name,
)
from charkha.spec.contracts import Contract, Expect
from charkha.spec.faults import Fault
from charkha.spec.fields import POLARS_TYPES, FieldType
from charkha.spec.sources import Source

REQUESTS = ("refuse", "accept")
ORDERED: tuple[FieldType, ...] = (int, float, datetime)
LISTED: tuple[FieldType, ...] = (str, int, bool)


def contract_faults(where: str, source: Source, fields: dict[str, FieldType]) -> Iterator[Fault]:
    """Yield what is wrong with the contract of a source, if it has one."""
    contract = source.contract
    if contract is None:
        return
    where = f"{where}, contract"
    if not isinstance(contract, Contract):
        remedy = "Write contract=ck.Contract(fields={…})."
        yield Fault(where, "a ck.Contract", quote(contract), remedy)
        return
    found = [*_shape_faults(where, contract), *_fields_faults(where, source, fields), *_where_faults(where, source)]
    yield from found or _whole_faults(where, source)
    yield from _unique_faults(where, source)


def _shape_faults(where: str, contract: Contract) -> Iterator[Fault]:
    for parameter, value in (("fields", contract.fields), ("where", contract.where)):
        if not isinstance(value, Mapping):
            example = 'fields={"distance": ck.Expect(low=0)}'
            remedy = f"Write {example}." if parameter == "fields" else 'Write where={"a name": pl.col("x") > 0}.'
            yield Fault(f"{where}, {parameter}", "a dict", quote(value), remedy)
    if contract.requests not in REQUESTS:
        yield Fault(
            f"{where}, requests", '"refuse" or "accept"', quote(contract.requests), 'Leave it out for "refuse".'
        )


def _fields_faults(where: str, source: Source, fields: dict[str, FieldType]) -> Iterator[Fault]:
    contract = source.contract
    if contract is None or not isinstance(contract.fields, Mapping):
        return
    for name, expect in contract.fields.items():
        inner = f"{where}, field {name!r}"
        unknown = list(column_faults(f"{where}, fields", name, fields, source.name))
        if unknown or fields[name] not in POLARS_TYPES:
            yield from unknown
        elif not isinstance(expect, Expect):
            yield Fault(inner, "a ck.Expect", quote(expect), "Write ck.Expect(low=0, high=100, nulls=0).")
        else:
            yield from _expect_faults(inner, expect, fields[name])


def _expect_faults(where: str, expect: Expect, kind: FieldType) -> Iterator[Fault]:
    if are_equal(expect, Expect()):
        yield Fault(where, "something to expect", "nothing", "Give low, high, allowed or nulls, or leave it out.")
    if expect.nulls is not None:
        yield from number_faults(f"{where}, nulls", expect.nulls, "a share of the rows, 0 to 1", 0, 1)
    if expect.allowed is not None:
        yield from _allowed_faults(f"{where}, allowed", expect, kind)
    bounds = {name: bound for name, bound in (("low", expect.low), ("high", expect.high)) if bound is not None}
    if bounds and kind not in ORDERED:
        remedy = "List its values: allowed=[…]." if kind in LISTED else "Leave it out."
        yield Fault(f"{where}, {next(iter(bounds))}", "a field of numbers or times", type_name(kind), remedy)
        return
    wrong = [fault for name, bound in bounds.items() for fault in _bound_faults(f"{where}, {name}", bound, kind)]
    yield from wrong
    if not wrong and len(bounds) == 2 and _order(bounds["low"]) > _order(bounds["high"]):
        yield Fault(where, "low ≤ high", f"low={expect.low!s}, high={expect.high!s}", "Exchange the two.")


def _bound_faults(where: str, bound: object, kind: FieldType) -> Iterator[Fault]:
    if kind is datetime:
        if not isinstance(bound, datetime):
            remedy = "Write datetime(2013, 1, 1); without a zone it is UTC."
            yield Fault(where, "a datetime", quote(bound), remedy)
    elif not isinstance(bound, int | float) or isinstance(bound, bool) or not math.isfinite(bound):
        yield Fault(where, "a finite number", quote(bound), "Leave it out where there is no limit.")


def _order(bound: object) -> float:
    return to_micros(bound) if isinstance(bound, datetime) else float(bound)  # type: ignore[arg-type]


def _allowed_faults(where: str, expect: Expect, kind: FieldType) -> Iterator[Fault]:
    if kind not in LISTED:
        yield Fault(where, "a field of type str, int or bool", type_name(kind), "Give low and high instead.")
    elif not isinstance(expect.allowed, tuple) or not expect.allowed:
        yield Fault(where, "a list of values", quote(expect.allowed), "Write allowed=[…] with every value.")
    elif expect.low is not None or expect.high is not None:
        yield Fault(where, "either allowed values, or low and high", "both", "Leave one of them out.")
    else:
        for value in expect.allowed:
            if type(value) is not kind:
                remedy = "Say how many nulls there may be with nulls=." if value is None else "Write it as that type."
                yield Fault(where, f"values of type {type_name(kind)}", quote(value), remedy)


def _where_faults(where: str, source: Source) -> Iterator[Fault]:
    contract = source.contract
    if contract is None or not isinstance(contract.where, Mapping):
        return
    columns = {name: POLARS_TYPES[kind] for name, kind in source.fields.items() if kind in POLARS_TYPES}
    for name, expression in contract.where.items():
        yield from text_faults(f"{where}, where", name, "what the rule demands")
        yield from expression_faults(f"{where}, where {name!r}", expression, columns, "boolean")


def _unique_faults(where: str, source: Source) -> Iterator[Fault]:
    unique = source.contract is not None and source.contract.unique
    if not isinstance(unique, bool):
        yield Fault(f"{where}, unique", "True or False", quote(unique), "Leave it out where rows may repeat.")
    elif unique and not source.key:
        yield Fault(f"{where}, unique", "a source with a row key", "none", "Declare key=[…] on the source.")


def _whole_faults(where: str, source: Source) -> Iterator[Fault]:
    """Yield what is wrong with what is expected of the source as a whole."""
    contract = source.contract
    if contract is None:
        return
    if not (contract.fields or contract.where or contract.unique or contract.max_age or contract.rows_per_day):
        remedy = "Leave contract= out, or let it be suggested: charkha data suggest."
        yield Fault(where, "something to keep", "nothing", remedy)
    for parameter, value in (("max_age", contract.max_age), ("rows_per_day", contract.rows_per_day)):
        if value is not None and source.static:
            remedy = "Leave it out: rows without time have neither age nor day."
            yield Fault(f"{where}, {parameter}", "a source with time", "a static one", remedy)
    if contract.max_age is not None:
        yield from duration_faults(f"{where}, max_age", contract.max_age)
    if contract.rows_per_day is not None:
        yield from _volume_faults(f"{where}, rows_per_day", contract.rows_per_day)


def _volume_faults(where: str, volume: object) -> Iterator[Fault]:
    if not isinstance(volume, tuple) or len(volume) != 2:
        yield Fault(where, "the fewest and the most rows of a day", quote(volume), "Write rows_per_day=(500, 1500).")
        return
    wrong = [fault for value in volume for fault in number_faults(where, value, "a number of rows", 0)]
    yield from wrong
    if not wrong and volume[0] > volume[1]:
        yield Fault(where, "the fewest before the most", quote(volume), "Exchange the two.")
