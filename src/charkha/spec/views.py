"""Features: windowed aggregates and latest values of an entity, and expressions over the request."""

from collections.abc import Iterator, Sequence
from typing import Literal

import polars as pl
from attrs import field, frozen

from charkha.spec.durations import DAY_US, HOUR_US, parse_duration
from charkha.spec.fields import one_or_many
from charkha.spec.sources import Entity, Source

AggregateKind = Literal["count", "sum", "mean", "min", "max", "last", "variance"]


@frozen
class Window:
    """One window of one aggregate: the feature `name`, over `size_us`, its tail moving in steps of `hop_us`."""

    name: str
    kind: AggregateKind
    column: str | None
    size_us: int
    hop_us: int

    @property
    def hops(self) -> int:
        """How many whole hops the window holds."""
        return self.size_us // self.hop_us


@frozen
class Aggregate:
    """One aggregation over one or more windows; made by `count`, `sum`, `mean`, …."""

    kind: AggregateKind
    column: str | None
    over: tuple[str, ...]
    hop: str | None = None

    def windows(self) -> Iterator[Window]:
        """Yield a window per duration. Raises ValueError on a duration that cannot be read (see `spec.check`)."""
        for text in self.over:
            size_us = parse_duration(text)
            hop_us = parse_duration(self.hop) if self.hop else default_hop(size_us)
            middle = f"_{self.column}" if self.column else ""
            yield Window(f"{self.kind}{middle}_{text}", self.kind, self.column, size_us, hop_us)


def default_hop(size_us: int) -> int:
    """Return the hop of a window in µs: 5 minutes up to 12 hours, 1 hour up to 7 days, 1 day above."""
    if size_us <= 12 * HOUR_US:
        return HOUR_US // 12
    return HOUR_US if size_us <= 7 * DAY_US else DAY_US


def _aggregate(kind: AggregateKind, column: str | None, over: str | Sequence[str], hop: str | None) -> Aggregate:
    return Aggregate(kind, column, (over,) if isinstance(over, str) else tuple(over), hop)


def count(*, over: str | Sequence[str], hop: str | None = None) -> Aggregate:
    """How many rows became known in each window; 0 when there were none."""
    return _aggregate("count", None, over, hop)


def sum(column: str, *, over: str | Sequence[str], hop: str | None = None) -> Aggregate:
    """The sum of the values that are not null; null when there were none."""
    return _aggregate("sum", column, over, hop)


def mean(column: str, *, over: str | Sequence[str], hop: str | None = None) -> Aggregate:
    """The mean of the values that are not null; null when there were none."""
    return _aggregate("mean", column, over, hop)


def min(column: str, *, over: str | Sequence[str], hop: str | None = None) -> Aggregate:
    """The smallest value; null when there were none."""
    return _aggregate("min", column, over, hop)


def max(column: str, *, over: str | Sequence[str], hop: str | None = None) -> Aggregate:
    """The largest value; null when there were none."""
    return _aggregate("max", column, over, hop)


def last(column: str, *, over: str | Sequence[str], hop: str | None = None) -> Aggregate:
    """The value that became known last and is not null; null when there were none."""
    return _aggregate("last", column, over, hop)


def variance(column: str, *, over: str | Sequence[str], hop: str | None = None) -> Aggregate:
    """The sample variance (n - 1) of the values that are not null; null when there were fewer than two."""
    return _aggregate("variance", column, over, hop)


@frozen
class FeatureView:
    """Features of one entity from one source. Each is called `view.feature`, such as `congestion.mean_arr_delay_6h`.

    windows: aggregates over *known* time: what an online system had seen when it was asked.
    latest: columns whose value is that of the newest row by event time, among those known.
    max_age: latest values of rows older than this (by event time) are null; they never age unless given.
    """

    name: str
    entity: Entity
    source: Source
    windows: tuple[Aggregate, ...] = field(default=(), converter=tuple[Aggregate, ...], kw_only=True)
    latest: tuple[str, ...] = field(default=(), converter=one_or_many, kw_only=True)
    max_age: str | None = field(default=None, kw_only=True)

    def all_windows(self) -> list[Window]:
        """Return every window of every aggregate, in the order declared."""
        return [window for aggregate in self.windows for window in aggregate.windows()]

    @property
    def max_age_us(self) -> int | None:
        """`max_age` in µs."""
        return parse_duration(self.max_age) if self.max_age else None


@frozen(eq=False, init=False)
class RequestFeatures:
    """Features computed when a prediction is asked for, over the request's fields and the features fetched for it.

    Each is a Polars expression and is called `group.name`. It may use the request's fields by name, the time of the
    prediction by the name of the label's `at` column, and any other feature by its full name.
    """

    name: str
    expressions: dict[str, pl.Expr]

    def __init__(self, name: str, **expressions: pl.Expr) -> None:
        self.__attrs_init__(name, expressions)

    def by_full_name(self) -> dict[str, pl.Expr]:
        """Return the expressions under their full names."""
        return {f"{self.name}.{feature}": expression for feature, expression in self.expressions.items()}
