"""What the rows of a source promise: the values of each field, rules over a row, keys, freshness and volume."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import polars as pl
from attrs import Factory, field, frozen

from charkha.spec.durations import parse_duration

Bound = int | float | datetime


def _values(values: Any) -> Any:
    """Return allowed values as a tuple; what is no collection of them is left for the check to name."""
    return tuple(values) if isinstance(values, list | tuple | set | frozenset) else values


@frozen(kw_only=True)
class Expect:
    """What the values of one field may be. A null is judged by `nulls` alone.

    low, high: the smallest and the largest value, both allowed; numbers, or times for a `datetime` field.
    allowed: the only values there may be, of a text, whole number or boolean.
    nulls: the share of rows in which the value may be null, 0 to 1; any unless given. With 0 there is never one.
        Another share is asked of files only: one pushed row or request says nothing about a share.
    """

    low: Bound | None = None
    high: Bound | None = None
    allowed: tuple[str | int | bool, ...] | None = field(default=None, converter=_values)
    nulls: float | None = None


# Compared by identity: an expression cannot be compared.
@frozen(eq=False, kw_only=True)
class Contract:
    """What every batch of a source's rows must keep: a file, a push, and, field by field, a request.

    fields: field → what its values may be.
    where: name → an expression over the row's fields that must be true; where it is null, nothing is known, and it
        holds.
    unique: each row key at most once in a batch. Without it a batch may bring a row again, or correct it.
    max_age: how long ago the newest row may have become known, such as "2h".
    rows_per_day: the fewest and the most rows that may become known on a whole day (UTC).
    requests: what becomes of a request with a value that `fields` or `where` forbid, of a model whose label this source
        is: "refuse" it, or "accept" it as if there were no contract.
    """

    fields: Mapping[str, Expect] = Factory(dict)
    where: Mapping[str, pl.Expr] = Factory(dict)
    unique: bool = False
    max_age: str | None = None
    rows_per_day: tuple[float, float] | None = field(default=None, converter=_values)
    requests: Literal["refuse", "accept"] = "refuse"

    @property
    def max_age_us(self) -> int | None:
        """`max_age` in µs."""
        return None if self.max_age is None else parse_duration(self.max_age)
