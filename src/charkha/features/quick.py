"""Expressions over a small batch, by NumPy: for few rows a query engine costs more than the work.

Only what IEEE 754 and three-valued logic define to the last bit is done here (see `quick_nodes`). Whatever else an
expression does, logarithms and text functions among it, is left to Polars, and so is one that gives other bits than
Polars on `odd_rows`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import polars as pl

from charkha.features.expressions import expression_to_json
from charkha.features.latest import Column
from charkha.features.numbers import finite
from charkha.features.quick_nodes import DTYPES, KINDS, Evaluate, Kind, NotQuick, Values
from charkha.features.quick_reading import node_of
from charkha.spec.model import FloatArray

_BLANKS: Mapping[Kind, Any] = {"float": 0.0, "int": 0, "bool": False, "text": ""}


def values_of(column: Column, kind: pl.DataType) -> Values:
    """Return a column as values. kind: of the column as a table would have it."""
    of = KINDS[kind]
    if isinstance(column, np.ndarray):
        null = np.isnan(column)
        if not null.any():
            return Values(column if of == "float" else column.astype(DTYPES[of]))
        return Values(column if of == "float" else np.where(null, 0.0, column).astype(DTYPES[of]), null)
    if None not in column:
        return Values(np.array(column, dtype=DTYPES[of]))
    null = np.array([value is None for value in column], np.bool_)
    blank = _BLANKS[of]
    return Values(np.array([blank if value is None else value for value in column], dtype=DTYPES[of]), null)


def column_of(values: Values, kind: pl.DataType) -> Column:
    """Return values as a column: of floats an array with NaN for null, of others a list."""
    if KINDS[kind] == "float":
        usable = np.isfinite(values.data)
        if values.null is not None:
            usable &= ~values.null
        found: FloatArray = np.where(usable, values.data + 0.0, np.nan)  # 0.0 has one sign
        return found
    plain: list[Any] = values.data.tolist()
    if values.null is None:
        return plain
    return [None if null else value for value, null in zip(plain, values.null.tolist(), strict=True)]


def quick(expression: pl.Expr, inputs: Mapping[str, pl.DataType], output: pl.DataType) -> Evaluate | None:
    """Return what evaluates an expression with NumPy; None where it is left to Polars.

    inputs: the types of the columns that it may read. output: its own.
    """
    try:
        node = node_of(msgspec.json.decode(expression_to_json(expression)), inputs)
    except NotQuick:
        return None
    read = {name: inputs[name] for name in expression.meta.root_names()}
    if not read or KINDS.get(output) != node.kind:  # one that reads nothing does not know how many rows there are
        return None
    return node.evaluate if _agrees(expression, node.evaluate, read, output) else None


def odd_rows(types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return rows with values at which implementations differ, in many combinations: the rows of a fixed seed."""
    random = np.random.default_rng(7)
    pools: Mapping[Kind, list[Any]] = {
        "float": [None, 0.0, 1.0, -1.0, 0.1, 1 / 3, 2.5, -7.25, 1e-310, 1e300, -1e300, 3.0, 7.0, 1e15 + 0.3],
        "int": [None, 0, 1, -1, 2, 3, 7, 10, -10, 1 << 53, (1 << 53) + 1, -(1 << 31)],
        "bool": [None, True, False],
        "text": [None, "", "a", "A", "ab", "é"],
    }
    rows = 256
    return pl.DataFrame(
        {
            name: pl.Series([pool[at] for at in random.integers(0, len(pool), rows)], dtype=kind)
            for name, kind in types.items()
            for pool in [pools[KINDS[kind]]]
        }
    )


def _agrees(expression: pl.Expr, evaluate: Evaluate, types: Mapping[str, pl.DataType], output: pl.DataType) -> bool:
    rows = odd_rows(types)
    whole = finite(expression) if output == pl.Float64() else expression
    try:
        expected = rows.select(whole.alias("found"))["found"]
        with np.errstate(all="ignore"):
            found = evaluate({name: values_of(rows[name].to_list(), kind) for name, kind in types.items()})
        if not len(found.data) == len(expected) == rows.height:  # as of constants alone
            return False
        got = pl.Series("found", column_of(found, output), dtype=output, nan_to_null=True)
    except Exception:  # whatever happens to either is no reason to be quick
        return False
    return expected.equals(got, null_equal=True)
