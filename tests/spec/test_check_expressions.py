"""Which expressions a request feature may be: those that Polars answers from each row alone, without Python."""

import warnings
from collections.abc import Mapping

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.spec.checks.expressions import expression_faults, foreign_code
from charkha.spec.fields import TIME

COLUMNS: Mapping[str, pl.DataType] = {
    "n": pl.Int64(),
    "x": pl.Float64(),
    "word": pl.String(),
    "flag": pl.Boolean(),
    "at": TIME,
    "view.mean_x_6h": pl.Float64(),
}
n, x, word, flag, at = (pl.col(name) for name in ("n", "x", "word", "flag", "at"))


@pytest.mark.parametrize(
    "expression",
    [
        pl.col("km") > pl.col("km").mean() + 1000,
        pl.col("km").sum() > 10_000,
        pl.col("city").is_unique(),
        pl.col("km").is_duplicated(),
        pl.len().over("city") > 1,
        pl.col("km").cum_sum().over("city") > 4001,
        pl.col("km").max() - pl.col("km") > 5000,
        pl.col("km").rank() > 1,
        pl.col("km").cum_sum() > 0,
        pl.col("km").ewm_mean(alpha=0.5) > 0,
        pl.col("km").mode() > 0,
        pl.col("km").fill_null(pl.col("km").mean()) > 0,
        pl.col("km").cumulative_eval(pl.element().sum()) > 0,
        pl.col("city").str.join("-") == "a",
        pl.col("km").rolling_mean(2) > 0,
    ],
)
def test_whatever_looks_at_other_rows_is_refused_whichever_its_numbers(expression: pl.Expr) -> None:
    (fault,) = expression_faults("here", expression, {"km": pl.Float64(), "city": pl.String()}, "boolean")
    assert "one that depends on other rows" in str(fault)


@pytest.mark.parametrize(
    "expression",
    [
        pl.concat_list("km", "km").list.mean(),
        pl.concat_list("km", "km").list.eval(pl.element().rank()).list.first(),
        pl.min_horizontal("km", pl.lit(3.0)),
        pl.col("city").str.split(",").list.len(),
        pl.col("city").replace_strict({"a": 1}, default=0),
        pl.col("km").clip(0, 9).log1p().round(2),
        pl.when(pl.col("city").is_in(["a", "b"])).then(1).otherwise(pl.coalesce("km", pl.lit(2.0))),
        pl.col("city").hash() % 10,
    ],
)
def test_what_is_made_of_one_row_is_let_through(expression: pl.Expr) -> None:
    assert list(expression_faults("here", expression, {"km": pl.Float64(), "city": pl.String()}, "feature")) == []


def faults(expression: object) -> list[str]:
    return [fault.expected for fault in expression_faults("here", expression, COLUMNS, "feature")]


SOUND = [
    n + 1,
    n / x,
    x / 2.5,
    (x - 500).sqrt(),
    x.log() * pl.col("view.mean_x_6h"),
    pl.lit(1.5),
    pl.when(flag).then(n).otherwise(x),
    word.is_in(["a", "b"]),
    word.replace_strict({"a": 1, "b": 2}, default=None),
    word.str.to_uppercase() + "!",
    word.str.contains("^a|b$"),
    pl.concat_str("word", "n"),
    pl.coalesce("x", "n"),
    pl.max_horizontal("x", "n"),
    x.is_null() | flag,
    word.hash() % 16,
    at.dt.hour() + at.dt.weekday() * 24,
    (at - at.dt.truncate("1d")).dt.total_minutes(),
    n.cast(pl.String).str.zfill(5),
    x.round(1).clip(0, 10),
    word.str.to_datetime("%Y-%m-%d", strict=False).dt.hour(),
    word.str.to_time(strict=False).dt.hour(),
]


@pytest.mark.parametrize("expression", SOUND, ids=str)
def test_a_sound_expression_has_no_fault(expression: pl.Expr) -> None:
    assert faults(expression) == []


OTHER_ROWS = [
    x.mean(),
    x - x.mean(),
    x.shift(),
    x.rank(),
    x.cum_sum(),
    x.fill_null(x.mean()),
    x.fill_null(strategy="forward"),
    x.implode().list.sum(),
    x.mean().over("word"),
    x.rolling_mean(2, min_samples=1),
    n.filter(n > 10),
    n.unique(),
    n.sort(),
    pl.len(),
    pl.int_range(pl.len()),
    x.is_first_distinct(),
]


@pytest.mark.parametrize("expression", OTHER_ROWS, ids=str)
def test_an_expression_over_other_rows_is_refused(expression: pl.Expr) -> None:
    assert faults(expression) == ["a value made from its own row alone"]


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    FOREIGN = [
        n.map_elements(lambda value: value, return_dtype=pl.Int64),
        n.map_batches(lambda series: series),
        pl.fold(pl.lit(0), lambda one, other: one + other, [n, x]),
        (x + pl.struct("n", "x").map_elements(len, return_dtype=pl.Int64)) * 2,
    ]


@pytest.mark.parametrize("expression", FOREIGN, ids=range(len(FOREIGN)))
def test_python_inside_is_refused_however_deep(expression: pl.Expr) -> None:
    assert faults(expression) == ["no Python function"]


def test_the_text_of_a_literal_is_not_taken_for_code() -> None:
    expression = word == "python_object"
    assert foreign_code(expression.meta.serialize(format="json")) is None
    assert faults(expression) == []


@pytest.mark.parametrize(
    "expression",
    [
        word.str.to_datetime().dt.hour(),
        word.str.to_date(strict=False).dt.day(),
        1 + word.str.strptime(pl.Datetime).dt.hour(),
    ],
    ids=str,
)
def test_a_format_guessed_from_another_row_is_refused(expression: pl.Expr) -> None:
    assert faults(expression) == ["the format in which text is a time"]


@pytest.mark.parametrize("expression", [at, at - at, pl.struct("n", "x"), pl.concat_list("n", "x")], ids=str)
def test_a_feature_is_a_number_a_boolean_or_text(expression: pl.Expr) -> None:
    assert faults(expression) == ["a number, a boolean or text"]


def arithmetic(depth: st.SearchStrategy[pl.Expr]) -> st.SearchStrategy[pl.Expr]:
    pairs = st.tuples(depth, depth)
    return pairs.map(lambda pair: pair[0] + pair[1]) | pairs.map(lambda pair: pl.coalesce(pair[0] - pair[1], pair[0]))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.recursive(st.sampled_from([n, x, pl.lit(2), x.clip(0, 3), flag.cast(pl.Int64)]), arithmetic, max_leaves=6))
def test_arithmetic_of_any_depth_is_sound_until_one_row_is_shifted(expression: pl.Expr) -> None:
    assert faults(expression) == []
    assert faults(expression + n.shift(1, fill_value=-7)) == ["a value made from its own row alone"]
