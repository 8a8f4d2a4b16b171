"""Checks of one Polars expression: columns, types, no Python inside, and each row answered from that row alone.

Nothing is read: types are resolved on an empty table, and the last check runs on a few made-up rows.
"""

import json
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Literal

import polars as pl
from polars.exceptions import ShapeError

from charkha.spec.checks.row_by_row import other_rows
from charkha.spec.checks.values import listing, quote, way_to
from charkha.spec.failures import POLARS_FAILS
from charkha.spec.faults import Fault
from charkha.spec.fields import TIME
from charkha.spec.rules import SCORE

# Node names under which Polars keeps code of others or opaque objects.
FOREIGN = ("anonymous", "python", "plugin", "pickle", "object")
Wanted = Literal["feature", "boolean", "number"]
_CLOCK = {"Literal": "Time"}  # the type whose one format needs no guess
ROWS = 12
MADE_UP: Mapping[pl.DataType, tuple[object, ...]] = {
    pl.String(): ("b", "a", "c"),
    pl.Boolean(): (True, False),
    TIME: tuple(datetime(2020, month, 3, month, tzinfo=UTC) for month in (5, 2, 11)),
}
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


def foreign_code(serialised: str) -> str | None:
    """Return the node of an expression, given as Polars' JSON, that holds code of others; None when there is none.

    Python functions, plugins and opaque objects: none can be stored or loaded safely. Polars keeps a Python function
    as pickled bytes under names that differ by release, so bytes anywhere but in a literal are refused as well.
    """
    return next((node for node, below in _nodes(json.loads(serialised)) if _is_foreign(node, below)), None)


def _is_foreign(node: str, below: object) -> bool:
    named = any(word in node.lower() for word in FOREIGN)
    return named or (isinstance(below, list) and len(below) > 16 and all(isinstance(item, int) for item in below))


def _nodes(tree: object) -> Iterator[tuple[str, object]]:
    """Yield every node's name and what is below it; the data of a literal is none."""
    if isinstance(tree, dict):
        for name, below in tree.items():
            yield name, None if name == "Literal" else below
            if name == "function" and isinstance(below, str):
                yield below, None
            yield from _literal_kinds(below) if name == "Literal" else _nodes(below)
    elif isinstance(tree, list):
        for below in tree:
            yield from _nodes(below)


def _literal_kinds(tree: object) -> Iterator[tuple[str, object]]:
    while isinstance(tree, dict) and len(tree) == 1:
        ((name, tree),) = tree.items()
        yield name, None


def _holds_foreign_code(expression: pl.Expr) -> bool:
    try:
        return foreign_code(expression.meta.serialize(format="json")) is not None
    except Exception:
        # Polars cannot write down what holds a function it cannot pickle.
        return True


def _guesses_a_format(expression: pl.Expr) -> bool:
    """Say whether an expression reads text as a time without saying how: one row is then read as another one is."""
    tree = json.loads(expression.meta.serialize(format="json"))
    return any(
        node == "Strptime" and isinstance(below, list) and below[-1].get("format") is None and below[0] != _CLOCK
        for node, below in _nodes(tree)
    )


def _way_to(name: str, columns: Mapping[str, pl.DataType]) -> str:
    """Return the remedy for an unknown column: of a view's or group's features, those of that one."""
    if name == SCORE:
        return "Only rules may read the score: it is there once the features are."
    part, dot, short = name.partition(".")
    its = [column.removeprefix(f"{part}.") for column in columns if dot and column.startswith(f"{part}.")]
    if not its:
        return way_to(name, columns, "It may use")
    close = get_close_matches(short, its, n=1)
    return f"Did you mean '{part}.{close[0]}'?" if close else f"Features of {part!r}: {listing(its)}."


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
    elif _holds_foreign_code(expression):
        remedy = "Write it with Polars expressions alone: they are stored as data and run without Python."
        yield Fault(where, "no Python function", "map_elements, map_batches, a plugin or the like", remedy)
    elif _guesses_a_format(expression):
        remedy = 'Name it: .str.to_datetime("%Y-%m-%d %H:%M"). Polars guesses it from the first of many rows.'
        yield Fault(where, "the format in which text is a time", "none", remedy)
    else:
        for name in roots(expression):
            if name not in columns:
                yield Fault(where, "a known column", quote(name), _way_to(name, columns))


def _type_faults(
    where: str, expression: pl.Expr, columns: Mapping[str, pl.DataType], wanted: Wanted
) -> Iterator[Fault]:
    try:
        kind = type_of(expression, columns)
    except POLARS_FAILS as error:
        types = ", ".join(f"{name}: {columns[name]}" for name in roots(expression))
        yield Fault(where, "an expression that fits its columns", _first_line(error), f"The columns are {types}.")
        return
    if not _fits(kind, wanted):
        yield Fault(where, WORDS[wanted], str(kind), REMEDIES[wanted])
    elif (part := other_rows(expression)) is not None or _looks_at_other_rows(expression, columns):
        remedy = (
            "Served rows come one at a time: use no aggregation, order, shift or window here. "
            "A figure over many rows is a feature view."
        )
        named = f" ({part})" if part else ""
        yield Fault(where, "a value made from its own row alone", f"one that depends on other rows{named}", remedy)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _fits(kind: pl.DataType, wanted: Wanted) -> bool:
    if wanted == "boolean":
        return kind == pl.Boolean
    if wanted == "number":
        return kind.is_numeric() and not kind.is_decimal()
    return (kind.is_numeric() and not kind.is_decimal()) or kind in (pl.Boolean, pl.String)


def _looks_at_other_rows(expression: pl.Expr, columns: Mapping[str, pl.DataType]) -> bool:
    """Compare made-up rows answered together with each of them answered alone.

    What `other_rows` lets through is held to it here: Polars' own answer (`meta.is_row_separable`) misses much.
    A row alone is there twice, as it is wherever one is evaluated: Polars takes a column of one value for a constant,
    which it divides otherwise, in the last bit. An expression that fails on the made-up values, such as a strict cast
    of text, is given the benefit of the doubt.
    """
    frame = _made_up_rows({name: columns[name] for name in roots(expression)})
    try:
        together = frame.with_columns(expression.alias("value"))["value"]
        pairs = [pl.DataFrame([column.new_from_index(row, 2) for column in frame]) for row in range(ROWS)]
        alone = [pair.with_columns(expression.alias("value"))["value"][:1] for pair in pairs]
    except ShapeError:
        return True
    except POLARS_FAILS:
        return False
    return not together.equals(pl.concat(alone))


def _made_up_rows(columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return a few rows in which values repeat, differ and lack, in no order."""
    draw = random.Random(7)
    data = {}
    for name, kind in columns.items():
        values: list[object] = [*MADE_UP.get(kind, (512, 3, 77)), None]
        rows = values + [draw.choice(values) for _ in range(ROWS - len(values))]
        draw.shuffle(rows)
        data[name] = pl.Series(name, rows, dtype=kind, strict=False)
    # Without columns the table still needs its rows.
    return pl.DataFrame(data) if data else pl.DataFrame({"": range(ROWS)})
