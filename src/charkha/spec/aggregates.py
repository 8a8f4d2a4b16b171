"""Windowed aggregates: what is summed up, of which rows, over which windows, and what the features are called."""

import warnings
from collections.abc import Iterator, Sequence
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
    """One measure over one or more windows; made by the words of `windowed`. `name` stands for the measure's own."""

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
    """One window divided by another; made by `windowed.ratio`. Both must be aggregates that give one feature each."""

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
