"""Checks of one Polars expression: columns, types, no Python inside, and each row answered from that row alone.

Nothing is read: types are resolved on an empty table, and the last check runs on four made-up rows.
"""

import json
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal

import polars as pl
from polars.exceptions import PolarsError

from charkha.spec.checks.values import quote, way_to
from charkha.spec.faults import Fault

Wanted = Literal["feature", "boolean", "number"]
WORDS: Mapping[Wanted, str] = {
    "feature": "a number, a boolean or text",
    "boolean": "a boolean",
    "number": "a number",
}
REMEDIES: Mapping[Wanted, str] = {
    "feature": "Make it one of these: a time as .dt.hour(), a difference of times as .dt.total_minutes().",
    "boolean": 'Compare it with something: pl.col("x") > 15.',
    "number": "Leave out the comparison, or cast it: .cast(pl.Float64).",
}


def expression_faults(
    where: str, expression: object, columns: Mapping[str, pl.DataType], wanted: Wanted
) -> Iterator[Fault]:
    """Yield what is wrong with an expression over a table of these columns; at most one kind of fault, the deepest."""
    if not isinstance(expression, pl.Expr):
        remedy = 'Write it with Polars, such as pl.col("x") > 15.'
        yield Fault(where, "a Polars expression", quote(expression), remedy)
        return
    early = list(_form_faults(where, expression, columns))
    yield from early or _type_faults(where, expression, columns, wanted)


def uses_python(expression: pl.Expr) -> bool:
    """Say whether a Python function hides in an expression: it could be stored only as pickled code."""
    try:
        tree = json.loads(expression.meta.serialize(format="json"))
    except Exception:
        # Polars cannot write down what holds a function it cannot pickle.
        return True
    return _has_function(tree)


def _has_function(node: object) -> bool:
    if isinstance(node, dict):
        return any("Anonymous" in key or "Python" in key or _has_function(value) for key, value in node.items())
    return isinstance(node, list) and any(_has_function(value) for value in node)


def roots(expression: pl.Expr) -> list[str]:
    """Return the columns an expression uses, each once."""
    return list(dict.fromkeys(expression.meta.root_names()))


def type_of(expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> pl.DataType:
    """Return the type an expression has over these columns. Raises PolarsError.

    It is run on an empty table: some functions refuse a type only then.
    """
    return pl.DataFrame(schema=dict(columns)).select(expression.alias("value")).schema["value"]


def _form_faults(where: str, expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> Iterator[Fault]:
    if expression.meta.has_multiple_outputs():
        remedy = 'Name one column: pl.col("x"), without patterns, selectors or lists.'
        yield Fault(where, "one value for each row", "an expression over several columns", remedy)
    elif uses_python(expression):
        remedy = "Write it with Polars expressions alone: they are stored as data and run without Python."
        yield Fault(where, "no Python function", "map_elements, map_batches or the like", remedy)
    else:
        for name in roots(expression):
            if name not in columns:
                yield Fault(where, "a known column", quote(name), way_to(name, columns, "It may use"))


def _type_faults(
    where: str, expression: pl.Expr, columns: Mapping[str, pl.DataType], wanted: Wanted
) -> Iterator[Fault]:
    try:
        kind = type_of(expression, columns)
    except PolarsError as error:
        types = ", ".join(f"{name}: {columns[name]}" for name in roots(expression))
        yield Fault(where, "an expression that fits its columns", _first_line(error), f"The columns are {types}.")
        return
    if not _fits(kind, wanted):
        yield Fault(where, WORDS[wanted], str(kind), REMEDIES[wanted])
    elif _looks_at_other_rows(expression, columns):
        remedy = (
            "Served rows come one at a time: use no aggregation, order, shift or window here. "
            "A figure over many rows is a feature view."
        )
        yield Fault(where, "a value made from its own row alone", "one that depends on other rows", remedy)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _fits(kind: pl.DataType, wanted: Wanted) -> bool:
    if wanted == "boolean":
        return kind == pl.Boolean
    if wanted == "number":
        return kind.is_numeric() and not kind.is_decimal()
    return (kind.is_numeric() and not kind.is_decimal()) or kind in (pl.Boolean, pl.String)


def _looks_at_other_rows(expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> bool:
    """Compare four made-up rows answered together, with each answered alone.

    Polars' own answer (`meta.is_row_separable`) misses an aggregation inside `fill_null` or a list; the value tells.
    An expression that fails on the made-up values, such as a strict cast of text, is given the benefit of the doubt.
    """
    frame = _made_up_rows({name: columns[name] for name in roots(expression)})
    try:
        together = frame.select(expression.alias("value"))["value"]
        alone = [frame[row : row + 1].select(expression.alias("value"))["value"] for row in range(frame.height)]
    except PolarsError:
        return False
    one_each = all(len(value) == 1 for value in alone)
    # A literal is one value for any number of rows.
    if len(together) == 1 and not roots(expression):
        return False
    return not one_each or len(together) != frame.height or not together.equals(pl.concat(alone))


def _made_up_rows(columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return four rows of different values, the last one null, for every column."""
    draw = random.Random(7)
    values: dict[pl.DataType, list[object]] = {
        pl.String(): ["b", "a", "c"],
        pl.Boolean(): [True, False, True],
        pl.Datetime("us", "UTC"): [datetime(2020, month, 3, month, tzinfo=UTC) for month in (5, 2, 11)],
    }
    data = {}
    for name, kind in columns.items():
        numbers = [draw.randrange(1, 1000) for _ in range(3)]
        data[name] = pl.Series(name, [*values.get(kind, numbers), None], dtype=kind, strict=False)
    # Without columns the table still needs its four rows.
    return pl.DataFrame(data) if data else pl.DataFrame({"": range(4)})
