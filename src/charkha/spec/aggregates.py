"""Windowed aggregates: what is summed up, of which rows, over which windows, and what the features are called."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import polars as pl
from attrs import evolve, field, frozen

from charkha.spec.durations import DAY_US, HOUR_US, parse_duration

AggregateKind = Literal[
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "first",
    "last",
    "last_k",
    "variance",
    "std",
    "distinct",
    "quantile",
    "top_k",
    "time_since_last",
    "decayed_sum",
]

# What tells values apart reads their fingerprints, and so text as well as numbers.
FINGERPRINTED: frozenset[AggregateKind] = frozenset({"distinct"})
# What counts rows, whatever is in them.
WITHOUT_COLUMN: frozenset[AggregateKind] = frozenset({"count", "time_since_last"})

ALL = "all"
# The whole history is a window like any other, of one hop that no time is ever beyond: times before 1970 lie in the
# hop before that of all later ones.
ALL_US = 1 << 62


def _as_text(expression: pl.Expr | None) -> str | None:
    """Return what tells filters apart: two expressions compare to a third one, not to a truth."""
    if not isinstance(expression, pl.Expr):
        return expression
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Polars warns that the text may not outlive its version.
        try:
            return expression.meta.serialize(format="json")
        except Exception:
            # Polars cannot write down every Python function; `spec.check` refuses them.
            return str(expression)


def _many(values: float | Sequence[float]) -> tuple[float, ...]:
    return (values,) if isinstance(values, int | float) else tuple(values)


@frozen
class Measure:
    """What is summed up, whatever the window: which aggregation, of which column, of which rows.

    where: rows for which it is not true (false or null) are left out, as if they had not come.
    k: how many values `last_k` and `top_k` give. q: the quantiles of `quantile`. half_life: of `decayed_sum`.
    """

    kind: AggregateKind
    column: str | None = None
    where: pl.Expr | None = field(default=None, eq=_as_text, kw_only=True)
    k: int | None = field(default=None, kw_only=True)
    q: tuple[float, ...] = field(default=(), converter=_many, kw_only=True)
    half_life: str | None = field(default=None, kw_only=True)

    @property
    def stem(self) -> str:
        """What its features are called before the window is named, such as `last_3_amount`."""
        parts = (self.kind.removesuffix("_k"), self.k, self.half_life, self.column)
        return "_".join(str(part) for part in parts if part is not None)

    @property
    def endings(self) -> tuple[str, ...]:
        """What tells the features of one window apart: places for the first k, percentages for quantiles."""
        if self.k is not None:
            return tuple(f"_{place + 1}" for place in range(self.k))
        return tuple(f"_p{100 * q:.10g}".replace(".", "_") for q in self.q) or ("",)


@frozen
class Window:
    """One window of one measure: the features `names`, over `size_us`, its tail moving in steps of `hop_us`."""

    names: tuple[str, ...]
    measure: Measure
    size_us: int
    hop_us: int

    @property
    def hops(self) -> int:
        """How many whole hops the window holds."""
        return self.size_us // self.hop_us


@frozen
class Aggregate:
    """One measure over one or more windows; made by `count`, `sum`, `mean`, …. `name` stands for the measure's own."""

    measure: Measure
    over: tuple[str, ...]
    hop: str | None = None
    name: str | None = None

    def windows(self) -> Iterator[Window]:
        """Yield a window per duration. Raises ValueError on a duration that cannot be read (see `spec.check`)."""
        for text in self.over:
            names = tuple(f"{self.name or self.measure.stem}_{text}{ending}" for ending in self.measure.endings)
            yield Window(names, self.measure, *window_sizes(text, self.hop))

    def features(self) -> list[str]:
        """Return the names of its features, in order."""
        return [name for window in self.windows() for name in window.names]


@frozen
class Ratio:
    """One window divided by another; made by `ratio`. Both must be aggregates that give one feature each."""

    numerator: Aggregate
    denominator: Aggregate
    given_name: str | None = None

    @property
    def name(self) -> str:
        """What the feature is called, such as `sum_amount_1h_per_sum_amount_24h`."""
        return self.given_name or "_per_".join((*self.numerator.features(), *self.denominator.features()))

    @property
    def sides(self) -> tuple[str, str]:
        """Under which names its two windows are computed: no feature can be called so."""
        return f"{self.name}/numerator", f"{self.name}/denominator"

    def windows(self) -> Iterator[Window]:
        """Yield the two windows."""
        for side, aggregate in zip(self.sides, (self.numerator, self.denominator), strict=True):
            for window in aggregate.windows():
                yield evolve(window, names=(side,))

    def features(self) -> list[str]:
        """Return the name of its only feature."""
        return [self.name]


def window_sizes(over: str, hop: str | None) -> tuple[int, int]:
    """Return the length of a window and of its hop in µs. Raises ValueError on a duration that cannot be read."""
    if over == ALL:
        return ALL_US, ALL_US
    size_us = parse_duration(over)
    return size_us, parse_duration(hop) if hop else default_hop(size_us)


def default_hop(size_us: int) -> int:
    """Return the hop of a window in µs: 5 minutes up to 12 hours, 1 hour up to 7 days, 1 day above."""
    if size_us <= 12 * HOUR_US:
        return HOUR_US // 12
    return HOUR_US if size_us <= 7 * DAY_US else DAY_US


# The words. Each takes: over, the windows ("10m", "24h", "30d", or "all" for the whole history); hop, the steps in
# which the tails of the windows move; where, a filter over the row's own fields; name, what the features are called
# before the window is named, needed with `where`.
Over = str | Sequence[str]


def _aggregate(measure: Measure, over: Over, hop: str | None, name: str | None) -> Aggregate:
    several = not isinstance(over, str) and isinstance(over, Iterable)  # what is neither is told by the checks
    return Aggregate(measure, tuple(over) if several else (over,), hop, name)  # type: ignore[arg-type]


def count(*, over: Over, hop: str | None = None, where: pl.Expr | None = None, name: str | None = None) -> Aggregate:
    """How many rows became known in each window; 0 when there were none."""
    return _aggregate(Measure("count", where=where), over, hop, name)


def sum(
    column: str,
    *,
    over: Over,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """The sum of the values that are not null; null when there were none."""
    return _aggregate(Measure("sum", column, where=where), over, hop, name)


def mean(
    column: str,
    *,
    over: Over,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """The mean of the values that are not null; null when there were none."""
    return _aggregate(Measure("mean", column, where=where), over, hop, name)


def min(
    column: str,
    *,
    over: Over,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """The smallest value; null when there were none."""
    return _aggregate(Measure("min", column, where=where), over, hop, name)


def max(
    column: str,
    *,
    over: Over,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """The largest value; null when there were none."""
    return _aggregate(Measure("max", column, where=where), over, hop, name)


def first(
    column: str,
    *,
    over: Over,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """The value that became known first and is not null; null when there were none."""
    return _aggregate(Measure("first", column, where=where), over, hop, name)


def last(
    column: str,
    *,
    over: Over,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """The value that became known last and is not null; null when there were none."""
    return _aggregate(Measure("last", column, where=where), over, hop, name)


def last_k(
    column: str,
    *,
    k: int,
    over: Over,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """The k values that became known last and are not null, newest first; null where there were fewer."""
    return _aggregate(Measure("last_k", column, where=where, k=k), over, hop, name)


def variance(
    column: str,
    *,
    over: Over,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """The sample variance (n - 1) of the values that are not null; null when there were fewer than two."""
    return _aggregate(Measure("variance", column, where=where), over, hop, name)


def std(
    column: str,
    *,
    over: Over,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """The sample standard deviation (n - 1) of the values that are not null; null below two of them."""
    return _aggregate(Measure("std", column, where=where), over, hop, name)


def distinct(
    column: str,
    *,
    over: Over,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """About how many different values there were, text or numbers; null when there were none."""
    return _aggregate(Measure("distinct", column, where=where), over, hop, name)


def quantile(
    column: str,
    *,
    q: float | Sequence[float],
    over: Over,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """About the quantiles q of the values that are not null, such as q=[0.5, 0.95]; null when there were none."""
    return _aggregate(Measure("quantile", column, where=where, q=q), over, hop, name)


def top_k(
    column: str,
    *,
    k: int,
    over: Over,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """The k most frequent numbers, the most frequent first; null where there were fewer."""
    return _aggregate(Measure("top_k", column, where=where, k=k), over, hop, name)


def decayed_sum(
    column: str,
    *,
    half_life: str,
    over: Over = ALL,
    hop: str | None = None,
    where: pl.Expr | None = None,
    name: str | None = None,
) -> Aggregate:
    """The sum of the values, each halved with every half-life since it became known; null when there were none."""
    return _aggregate(Measure("decayed_sum", column, where=where, half_life=half_life), over, hop, name)


def time_since_last(
    *, over: Over = ALL, hop: str | None = None, where: pl.Expr | None = None, name: str | None = None
) -> Aggregate:
    """How many seconds before the prediction the newest row became known; null when there was none."""
    return _aggregate(Measure("time_since_last", where=where), over, hop, name)


def ratio(numerator: Aggregate, denominator: Aggregate, *, name: str | None = None) -> Ratio:
    """One feature over another, such as `ratio(sum("x", over="1h"), sum("x", over="24h"))`; null over null or 0."""
    return Ratio(numerator, denominator, name)
