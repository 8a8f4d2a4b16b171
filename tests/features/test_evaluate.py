"""Expressions that fail on some rows: those rows alone are without a value, however many are evaluated together."""

import logging
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.exceptions import ColumnNotFoundError, PolarsError
from polars.testing import assert_frame_equal

from charkha.engines.local import LocalEngine
from charkha.features import evaluate
from charkha.features.evaluate import Failure, logged, with_values
from charkha.features.numbers import finite
from charkha.features.offline import offline_features
from charkha.features.online import Fetched, online_columns
from charkha.features.plan import FeaturePlan, in_order_of_use
from charkha.features.request import Columns, frame_of

NOON_US = 1_714_564_800_000_000
FIELDS: dict[str, Any] = {"n": int, "x": float, "word": str, "flag": bool, "at": datetime}
n, x, word, flag, at = (pl.col(name) for name in FIELDS)
CAST = word.cast(pl.Int64)


def values(frame: pl.DataFrame, expression: pl.Expr, default: Any = None) -> tuple[list[Any], list[Failure]]:
    failures: list[Failure] = []
    instead = {} if default is None else {"v": default}
    found = with_values(frame, [expression.alias("v")], instead, failures.append)["v"]
    return found.to_list(), failures


def test_a_row_on_which_an_expression_fails_is_alone_without_a_value() -> None:
    frame = pl.DataFrame({"word": ["7", "x", "700", None, "y", "101"]})
    found, (failure,) = values(frame, CAST)
    assert found == [7, None, 700, None, None, 101]
    assert (failure.name, failure.rows, failure.of) == ("v", 2, 6)
    assert failure.reason == "conversion from `str` to `i64` failed in column 'word' for 1 out of 1 values: [\"x\"]"


def test_a_default_stands_where_it_fails_and_not_where_it_is_null() -> None:
    frame = pl.DataFrame({"word": ["7", "x", None]})
    assert values(frame, CAST, default=-1)[0] == [7, -1, None]


def test_others_of_the_same_step_are_what_they_are() -> None:
    frame = pl.DataFrame({"word": ["7", "x"], "n": [300, 1]})
    both = [CAST.alias("a"), n.cast(pl.Int8).alias("b"), (n + 1).alias("c")]
    assert with_values(frame, both, {"b": 5}).rows() == [("7", 300, 7, 5, 301), ("x", 1, None, 1, 2)]


def test_where_nothing_fails_all_rows_are_evaluated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "_values", None)
    found, failures = values(pl.DataFrame({"word": ["7", "8"]}), CAST)
    assert (found, failures) == ([7, 8], [])


def test_an_empty_table_stays_empty_and_keeps_its_type() -> None:
    frame = pl.DataFrame(schema={"word": pl.String()})
    found = with_values(frame, [pl.datetime(2024, 13, 1).dt.day().alias("v")], {})
    assert found.schema == {"word": pl.String, "v": pl.Int8}
    assert values(frame, pl.datetime(2024, 13, 1).dt.day()) == ([], [])


def test_an_expression_over_no_column_that_fails_fails_for_every_row() -> None:
    found, (failure,) = values(pl.DataFrame({"word": ["a", "b", "c"]}), pl.datetime(2024, 13, 1).dt.day(), 4)
    assert (found, failure.rows) == ([4, 4, 4], 3)


def test_a_column_that_is_not_there_is_no_odd_row() -> None:
    with pytest.raises(ColumnNotFoundError):
        values(pl.DataFrame({"word": ["7"]}), pl.col("wrod").cast(pl.Int64))


@pytest.mark.parametrize("rows", [999, 1000, 5000])
@pytest.mark.parametrize("different", [3, 4000])
def test_many_odd_rows_are_found_whether_they_repeat_or_not(rows: int, different: int) -> None:
    words = [None if row % 7 == 3 else f"{'x' * (row % 2)}{row % different}" for row in range(rows)]
    found, (failure,) = values(pl.DataFrame({"word": words}), CAST, default=-1)
    expected = [None if each is None else -1 if each.startswith("x") else int(each) for each in words]
    assert found == expected
    assert failure.rows == expected.count(-1)


def test_a_text_that_repeats_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    halves = evaluate._of_halves

    def counted(*given: Any) -> Any:
        tried.append(given)
        return halves(*given)

    monkeypatch.setattr(evaluate, "_of_halves", counted)
    frame = pl.DataFrame({"word": ["1", "x"] * 100_000})
    assert values(frame, CAST)[0] == [1, None] * 100_000
    assert len(tried) < 5


@pytest.mark.parametrize("heights", [(1,), (2,), (1, 1), (3, 1, 2)])
def test_a_row_by_itself_has_the_same_bits(heights: tuple[int, ...]) -> None:
    """Polars divides 3.0 by 2.5 for a constant, and multiplies it with 0.4 for a column."""
    frame = pl.concat([pl.DataFrame({"x": [3.0] * height}) for height in heights], rechunk=False)
    for constant in (frame, frame.with_columns(x=pl.lit(3.0))):
        found = with_values(constant, [(x / 2.5).alias("v")], {})
        assert found.rows() == [(3.0, 3.0 * (1 / 2.5))] * sum(heights)
    few = with_values(pl.DataFrame([(3.0,)] * sum(heights), ["x"], orient="row"), [x / 2.5], {}, in_turn=True)
    assert few["x"].to_list() == [3.0 * (1 / 2.5)] * sum(heights)


def test_zeros_of_either_sign_are_not_taken_for_one() -> None:
    frame = pl.DataFrame({"x": [0.0, -0.0] * 1000, "word": ["1"] * 1999 + ["x"]})
    found, _ = values(frame, 1 / x + CAST)
    assert found == [float("inf"), float("-inf")] * 999 + [float("inf"), None]


def test_a_failure_is_written_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        logged(Failure("ask.code", 2, 7, "strange text"))
    assert caplog.messages == ["ask.code could not be evaluated for 2 of 7 rows. One of them: strange text"]


# Random features, some of which fail on some rows, and use each other.
FAILING = [
    CAST,
    n.cast(pl.Int8),
    x.cast(pl.Int64),
    word.str.to_integer(base=2),
    word.str.to_datetime("%Y-%m-%d").dt.month(),
    word.replace_strict({"7": 1, "1": 2}),
    pl.datetime(2024, n, 1).dt.weekday(),
    at.dt.offset_by(word + "d").dt.day(),
    at.dt.replace(month=n).dt.year(),
    pl.when(flag).then(CAST).otherwise(n),
]
SOUND = [
    n,
    x,
    x / 2.5,
    n / 7.0,
    x.log(),
    word.str.len_chars(),
    flag.cast(pl.Int64),
    at.dt.hour(),
    pl.coalesce(n, 3),
    pl.lit(2),
]
LATER = [pl.col("g.f0") + n, pl.col("g.f0").cast(pl.Int8), pl.coalesce(pl.col("g.f0"), x), pl.col("g.f1").is_null()]
numbers = st.none() | st.sampled_from([0, 1, 2, 3, 7, 13, 200, -3])
rows_of = st.tuples(
    numbers,
    st.none() | st.sampled_from([0.0, -0.0, 1.5, 3.0, 77.0, 1e300, float("inf"), -2.0]),
    st.none() | st.sampled_from(["7", "1", "10", "x", "", "2024-02-30", "2024-03-01", "99999999999999999999"]),
    st.none() | st.booleans(),
    st.none() | st.sampled_from([datetime(2024, 1, 31, 5, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]),
)

TYPES = (pl.Int64(), pl.Float64(), pl.String(), pl.Boolean(), pl.Datetime("us", "UTC"))


@st.composite
def plans(draw: Any) -> FeaturePlan:
    """A plan without views whose features fail here and there."""
    base = st.sampled_from(FAILING) | st.sampled_from(SOUND)
    sums = st.tuples(base, base).map(lambda pair: pair[0] + pair[1])
    first = draw(st.lists(st.sampled_from(FAILING) | base | sums, min_size=2, max_size=3))
    found = {f"g.f{number}": each for number, each in enumerate(first)}
    found |= {f"g.l{number}": each for number, each in enumerate(draw(st.lists(st.sampled_from(LATER), max_size=2)))}
    defaults = draw(st.dictionaries(st.sampled_from(sorted(found)), st.integers(0, 1), max_size=3))
    return FeaturePlan((), FIELDS, "asked_at", in_order_of_use(found), tuple(found), defaults)


def served(plan: FeaturePlan, rows: list[tuple[Any, ...]]) -> tuple[pl.DataFrame, dict[str, int]]:
    """The features of some requests together, and how many of each failed."""
    failed: dict[str, int] = {}
    asked: Columns = {name: [row[place] for row in rows] for place, name in enumerate(FIELDS)}
    columns = online_columns(
        plan, asked, Fetched((), ()), [NOON_US] * len(rows), lambda failure: count(failed, failure)
    )
    return frame_of(plan, columns), failed


def count(failed: dict[str, int], failure: Failure) -> None:
    failed[failure.name] = failed.get(failure.name, 0) + failure.rows


@settings(max_examples=150, deadline=None)
@given(plans(), st.lists(rows_of, min_size=1, max_size=12), st.integers(1, 5))
def test_one_row_a_batch_and_a_column_agree_online_and_offline(
    plan: FeaturePlan, rows: list[tuple[Any, ...]], size: int
) -> None:
    alone, failed_alone = zip(*(served(plan, [row]) for row in rows), strict=True)
    batches, failed_in_batches = zip(
        *(served(plan, rows[low : low + size]) for low in range(0, len(rows), size)), strict=True
    )
    whole, failed = served(plan, rows)
    schema = dict(zip(FIELDS, TYPES, strict=True))
    spine = pl.DataFrame(rows, schema=schema, orient="row").with_columns(_at_us=pl.lit(NOON_US))
    failed_offline: dict[str, int] = {}
    offline = offline_features(
        plan, spine, {}, LocalEngine(1), on_failure=lambda failure: count(failed_offline, failure)
    )
    for each in (pl.concat(alone), pl.concat(batches), whole):
        assert_frame_equal(each, offline, check_exact=True)
    assert failed == failed_offline == totals(failed_alone) == totals(failed_in_batches)
    assert_they_are_the_obvious(plan, rows, whole)


def totals(counted: tuple[dict[str, int], ...]) -> dict[str, int]:
    return {name: sum(each.get(name, 0) for each in counted) for name in {name for each in counted for name in each}}


def assert_they_are_the_obvious(plan: FeaturePlan, rows: list[tuple[Any, ...]], found: pl.DataFrame) -> None:
    """The obvious version: one expression at a time on a row and its like; an exception is the default."""
    for place, row in enumerate(rows):
        frame = pl.DataFrame([row] * 2, schema=dict(zip(FIELDS, TYPES, strict=True)), orient="row")
        for name, declared in plan.expressions.items():
            kind = frame.lazy().with_columns(declared.alias(name)).collect_schema()[name]
            computed = kind.is_float() and not declared.meta.is_column()
            try:
                frame = frame.with_columns((finite(declared) if computed else declared).alias(name))
            except PolarsError:
                frame = frame.with_columns(pl.Series(name, [plan.defaults.get(name)] * 2, dtype=kind, strict=False))
        assert_frame_equal(frame[:1].select(plan.names), found[place : place + 1], check_exact=True)


def test_what_takes_the_same_constant_on_every_row_is_no_failure() -> None:
    chosen = pl.lit(2) > pl.when(pl.col("b")).then(pl.lit(0)).otherwise(pl.col("x"))
    rows = pl.DataFrame({"b": [True, True, True], "x": [None, 1.0, 5.0]})
    failures: list[Failure] = []
    assert with_values(rows, [chosen.alias("y")], {}, failures.append)["y"].to_list() == [True] * 3
    assert with_values(rows[:1], [chosen.alias("y")], {}, failures.append)["y"].to_list() == [True]
    mixed = rows.with_columns(b=pl.Series([True, False, False]))
    assert with_values(mixed, [chosen.alias("y")], {}, failures.append)["y"].to_list() == [True, True, False]
    assert failures == []
