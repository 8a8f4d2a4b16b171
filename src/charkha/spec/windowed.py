"""The words for windowed aggregates: `count`, `sum`, `mean`, … and `ratio`.

Each takes: over, the windows ("10m", "24h", "30d", or "all" for the whole history); hop, the steps in which the tails
of the windows move; where, a filter over the row's own fields; name, what the features are called before the window is
named, needed with `where`.
"""

from collections.abc import Iterable, Sequence

import polars as pl

from charkha.spec.aggregates import ALL, Aggregate, Measure, Ratio

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
