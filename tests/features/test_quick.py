"""Expressions over a small batch by NumPy, against Polars: the same bits, the same nulls, or left to Polars."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.features import quick_nodes
from charkha.features.evaluate import with_values
from charkha.features.numbers import finite
from charkha.features.quick import column_of, quick, values_of

TYPES: dict[str, pl.DataType] = {
    "x": pl.Float64(),
    "y": pl.Float64(),
    "i": pl.Int64(),
    "j": pl.Int64(),
    "b": pl.Boolean(),
    "s": pl.String(),
}
floats = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.0, 0.1, 1e308, -1e308, 5e-324]), st.floats(-1e6, 1e6))
ints = st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))
row = st.tuples(floats, floats, ints, ints, st.sampled_from([None, True, False]), st.sampled_from([None, "", "a", "b"]))

leaves = st.sampled_from(
    [pl.col("x"), pl.col("y"), pl.col("i"), pl.col("j"), pl.lit(2), pl.lit(2.5), pl.lit(-0.0), pl.lit(0)]
)
truths = st.sampled_from([pl.col("b"), pl.col("s") == "a", pl.col("x").is_null(), pl.col("s") != pl.lit("b")])


def numbers(inner: Any) -> Any:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(lambda ab: ab[0] + ab[1]),
        pairs.map(lambda ab: ab[0] - ab[1]),
        pairs.map(lambda ab: ab[0] * ab[1]),
        pairs.map(lambda ab: ab[0] / ab[1]),
        pairs.map(lambda ab: ab[0].fill_null(ab[1])),
        inner.map(lambda a: a.abs()),
        inner.map(lambda a: -a),
        inner.map(lambda a: a.cast(pl.Float64)),
        st.tuples(truths, inner, inner).map(lambda tab: pl.when(tab[0]).then(tab[1]).otherwise(tab[2])),
        st.tuples(inner, inner, inner, inner).map(
            lambda abcd: pl.when(abcd[0] > abcd[1]).then(abcd[2]).otherwise(abcd[3])
        ),
    )


def conditions(number: Any) -> Any:
    pairs = st.tuples(number, number)
    compared = st.one_of(
        pairs.map(lambda ab: ab[0] > ab[1]),
        pairs.map(lambda ab: ab[0] >= ab[1]),
        pairs.map(lambda ab: ab[0] < ab[1]),
        pairs.map(lambda ab: ab[0] <= ab[1]),
        pairs.map(lambda ab: ab[0] == ab[1]),
        pairs.map(lambda ab: ab[0] != ab[1]),
        number.map(lambda a: a.is_between(-1, 1)),
        truths,
    )
    return st.recursive(
        compared,
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(lambda ab: ab[0] & ab[1]),
            st.tuples(inner, inner).map(lambda ab: ab[0] | ab[1]),
            inner.map(lambda a: ~a),
            inner.map(lambda a: a.fill_null(value=False)),
            inner.map(lambda a: a.is_not_null()),
        ),
        max_leaves=4,
    )


number = st.recursive(leaves, numbers, max_leaves=6)


@given(st.one_of(number, conditions(number)), st.lists(row, min_size=2, max_size=20))
def test_what_is_quick_gives_the_bits_of_polars(expression: pl.Expr, rows: list[Any]) -> None:
    table = pl.DataFrame(rows, schema=TYPES, orient="row")
    table = table.with_columns(finite(pl.col("x")).alias("x"), finite(pl.col("y")).alias("y"))  # as columns come
    output = table.lazy().select(found=expression).collect_schema()["found"]
    evaluate = quick(expression, TYPES, output)
    if evaluate is None:
        return
    whole = finite(expression) if output == pl.Float64() else expression
    expected = with_values(table, [whole.alias("found")], {})["found"]
    with np.errstate(all="ignore"):
        found = evaluate({name: values_of(table[name].to_list(), kind) for name, kind in TYPES.items()})
    got = pl.Series("found", column_of(found, output), dtype=output, nan_to_null=True)
    assert got.equals(expected, null_equal=True), (expression, got.to_list(), expected.to_list())


@pytest.mark.parametrize(
    "expression",
    [
        (pl.col("x") > 900) & (pl.col("y") > 3),
        ((pl.col("x") > 900) & (pl.col("s") == "a")).cast(pl.Boolean).fill_null(value=False),
        pl.col("x") / (1 + pl.col("y")),
        pl.col("x") / 2.5,
        (pl.col("i") / 7).fill_null(0.0),
        pl.when(pl.col("x").is_null()).then(0.0).otherwise(pl.col("x").abs() * 2),
        ~pl.col("b") | pl.col("i").is_between(1, 3),
        pl.col("i") * pl.col("j") - 3,
    ],
)
def test_what_rules_are_made_of_is_quick(expression: pl.Expr) -> None:
    output = pl.LazyFrame(schema=TYPES).select(found=expression).collect_schema()["found"]
    assert quick(expression, TYPES, output) is not None


@pytest.mark.parametrize(
    "expression",
    [
        pl.col("x").log(),
        pl.col("s").str.len_chars() > 2,
        pl.col("s").str.to_integer() + 1,
        pl.col("i") // pl.col("j"),
        pl.col("x").cast(pl.Int64),
        pl.lit(1.0) + 2,
        pl.col("x").rank(),
        pl.col("x").sum(),
        pl.col("x").shift(1),
    ],
)
def test_what_is_not_exact_or_not_of_one_row_is_left_to_polars(expression: pl.Expr) -> None:
    output = pl.LazyFrame(schema=TYPES).select(found=expression).collect_schema()["found"]
    assert quick(expression, TYPES, output) is None


def test_one_that_gives_other_bits_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_nodes, "_ARITHMETIC", {**quick_nodes._ARITHMETIC, "Plus": np.subtract})
    assert quick(pl.col("x") + pl.col("y"), TYPES, pl.Float64()) is None
    assert quick(pl.col("x") - pl.col("y"), TYPES, pl.Float64()) is not None
