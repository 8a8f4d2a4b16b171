"""Expressions over a table in which some rows may be odd: text that a strict cast refuses, a time that no calendar has.

All rows are tried together, so that nothing is paid where nothing fails. Otherwise the rows on which an expression
fails are found by halving: they alone get null, or the value declared for them, and every other row what it gets alone.

A row by itself is evaluated twice over. Polars takes a column of one value for a constant, and that is not the same: it
divides a column by 2.5 by multiplying with 0.4 and a constant by dividing, so that they differ in the last bit; and it
refuses a strange offset of a null time for a constant only.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import polars as pl
from attrs import evolve, frozen

from charkha.spec.failures import POLARS_FAILS

Plain = str | int | float | bool

_logger = logging.getLogger(__name__)
# From how many rows on it pays to see whether the odd ones repeat.
_MANY_ROWS = 1000
_LONGEST_REASON = 200
# So many rows, and their values: None where the expression fails on each of them.
_Part = tuple[int, pl.Series | None]


@frozen
class Failure:
    """An expression that failed on some rows. name: whose it is. rows: how many of `of`. reason: what one row gave."""

    name: str
    rows: int
    of: int
    reason: str


OnFailure = Callable[[Failure], None]


def unheard(failure: Failure) -> None:
    """Do nothing about a failure."""


def logged(failure: Failure) -> None:
    """Write a failure into the log, as a warning: for paths that run once over many rows."""
    said = (failure.name, failure.rows, failure.of, failure.reason)
    _logger.warning("%s could not be evaluated for %d of %d rows. One of them: %s", *said)


def twice(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a table of one row with that row twice."""
    return pl.DataFrame([column.new_from_index(0, 2) for column in frame])


def of_one(on_failure: OnFailure) -> OnFailure:
    """Return who is told of the failures of one row that is evaluated twice over."""
    return lambda failure: on_failure(evolve(failure, rows=1, of=1))


def with_values(
    frame: pl.DataFrame,
    expressions: Sequence[pl.Expr],
    instead: Mapping[str, Plain],
    on_failure: OnFailure = unheard,
    *,
    in_turn: bool = False,
) -> pl.DataFrame:
    """Return a table with the values of expressions, each under its name; none may use another.

    instead: by name, the value of rows on which an expression fails; null for those that are not there. on_failure:
    told of each expression that failed. in_turn: one expression after the other, which costs least for the few rows
    of a table made of rows. Raises PolarsError for what is wrong with every row: a column that is not there, a type
    that does not fit.
    """
    if frame.height == 1:
        return with_values(twice(frame), expressions, instead, of_one(on_failure), in_turn=in_turn)[:1]
    if not in_turn and frame.width:
        frame = pl.DataFrame(frame.get_columns())  # so that no column is a constant, however the table was made
        if any(1 in column.chunk_lengths() for column in frame):
            frame = frame.rechunk()  # a chunk of one value is a constant, too
    try:
        return frame.with_columns_seq(expressions) if in_turn else frame.with_columns(expressions)
    except POLARS_FAILS:
        values = [_values(frame, each, instead, on_failure) for each in expressions]
        return frame.with_columns(values)


def _values(frame: pl.DataFrame, expression: pl.Expr, instead: Mapping[str, Plain], on_failure: OnFailure) -> pl.Series:
    """Return the values of one expression, each row's as if it were alone."""
    name = expression.meta.output_name()
    kind = frame.lazy().select(expression).collect_schema()[name]  # raises for what no row could mend
    read = list(dict.fromkeys(expression.meta.root_names()))
    rows = frame.select(read) if read else frame
    distinct, places = _distinct(rows) if read else (rows, None)
    reasons: list[str] = []
    parts = list(_of_halves(distinct, expression, reasons))
    other = pl.Series(name, [instead.get(name)], dtype=kind, strict=False)
    values = pl.concat(other.new_from_index(0, height) if part is None else part.cast(kind) for height, part in parts)
    failed = pl.concat(pl.repeat(part is None, height, eager=True) for height, part in parts)
    if places is not None:
        values, failed = values.gather(places), failed.gather(places)
    if reasons:
        on_failure(Failure(name, int(failed.sum()), frame.height, reasons[0]))
    return values.alias(name)


def _of_halves(rows: pl.DataFrame, expression: pl.Expr, reasons: list[str]) -> Iterator[_Part]:
    """Yield the values of rows, part by part in their order. reasons: takes why a row failed, the first one's."""
    try:
        tried = twice(rows) if rows.height == 1 else rows
        yield rows.height, _evaluated(tried, expression)[: rows.height]
        return
    except POLARS_FAILS as error:
        if rows.height <= 1:
            if rows.height and not reasons:
                reasons.append(_reason(rows, expression) or _first_line(error))
            yield rows.height, None
            return
    half = rows.height // 2
    yield from _of_halves(rows[:half], expression, reasons)
    yield from _of_halves(rows[half:], expression, reasons)


def _evaluated(rows: pl.DataFrame, expression: pl.Expr) -> pl.Series:
    """Return the values of an expression, one a row.

    Where every row takes the same constant, as in `2 > pl.when(pl.col("b")).then(0).otherwise(pl.col("x"))` while `b`
    holds, Polars makes one value of it, and then refuses its own column as too short.
    """
    values = rows.select(expression).to_series()
    return values if len(values) == rows.height else values.new_from_index(0, rows.height)


def _reason(row: pl.DataFrame, expression: pl.Expr) -> str | None:
    """Return why an expression fails on a row that is there once, so that it is said of one value and not of two."""
    try:
        row.with_columns_seq(expression)
    except POLARS_FAILS as error:
        return _first_line(error)
    return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:_LONGEST_REASON]


def _distinct(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series | None]:
    """Return the different ones among rows, and the place among them of each row; all and None where few repeat.

    Halving tries every odd row by itself: a million times the same strange text is tried once instead. Rows with
    floats are not compared, for 0.0 equals -0.0 and is not the same.
    """
    if rows.height < _MANY_ROWS or any(kind.is_float() for kind in rows.dtypes):
        return rows, None
    distinct = rows.unique(maintain_order=True)
    if 2 * distinct.height > rows.height:
        return rows, None
    numbered = distinct.with_row_index("_place")
    joined = rows.join(numbered, on=rows.columns, how="left", nulls_equal=True, maintain_order="left")
    return distinct, joined["_place"]
