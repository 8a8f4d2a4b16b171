"""Rows become the same numbers, one by one or by the million, in training and in serving."""

import math
from datetime import date

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.bundles.encoding import (
    EncodingError,
    FeatureColumn,
    FeatureSchema,
    encode,
    encode_lists,
    learn_schema,
    most_frequent,
)

NUMBERS = st.none() | st.floats(allow_nan=True, allow_infinity=True)
WORDS = st.none() | st.text(max_size=3) | st.sampled_from(["JFK", "LGA", "EWR"])
FLAGS = st.none() | st.booleans()
COUNTS = st.none() | st.integers(-(2**53), 2**53)
TABLE = st.lists(st.tuples(NUMBERS, WORDS, FLAGS, COUNTS), max_size=650)
TYPES = {"delay": pl.Float64(), "origin": pl.String(), "long_haul": pl.Boolean(), "count": pl.Int64()}


def table(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=TYPES, orient="row")


def obvious(schema: FeatureSchema, frame: pl.DataFrame) -> list[list[float]]:
    """What encoding means, cell by cell."""

    def number(column: FeatureColumn, value: object) -> float:
        if value is None:
            return math.nan
        if column.kind == "numeric":
            return float(value)  # type: ignore[arg-type]
        return float(column.vocabulary.index(str(value))) if value in column.vocabulary else math.nan

    return [[number(column, row[column.name]) for column in schema.columns] for row in frame.to_dicts()]


@given(TABLE, TABLE, st.integers(0, 3), st.sampled_from([1, 65]))
def test_any_table_is_encoded_as_the_obvious_way_does(
    seen: list[tuple[object, ...]], later: list[tuple[object, ...]], most: int, times: int
) -> None:
    schema = learn_schema(table(seen), list(TYPES), max_categories=most)
    expected = np.array(obvious(schema, table(later)), dtype=np.float64).reshape(-1, len(TYPES))
    np.testing.assert_array_equal(encode(schema, table(later * times)), np.tile(expected, (times, 1)))


@given(TABLE)
def test_one_row_encodes_as_among_many(rows: list[tuple[object, ...]]) -> None:
    frame = table(rows * 3)
    schema = learn_schema(frame, list(TYPES))
    together = encode(schema, frame)
    np.testing.assert_array_equal(encode_lists(schema, frame.to_dict(as_series=False)), together)
    for position in range(frame.height):
        row = frame[position]
        np.testing.assert_array_equal(encode(schema, row), together[position : position + 1])
        np.testing.assert_array_equal(encode_lists(schema, row.to_dict(as_series=False)), encode(schema, row))


@given(TABLE)
def test_the_order_and_number_of_columns_of_the_table_do_not_matter(rows: list[tuple[object, ...]]) -> None:
    schema = learn_schema(table(rows), ["origin", "delay"])
    shuffled = table(rows).select("count", "delay", "long_haul", "origin")
    assert encode(schema, shuffled).shape == (len(rows), 2)
    np.testing.assert_array_equal(encode(schema, shuffled), encode(schema, table(rows)))


@given(TABLE)
def test_a_schema_survives_json(rows: list[tuple[object, ...]]) -> None:
    schema = learn_schema(table(rows), list(TYPES))
    assert msgspec.json.decode(msgspec.json.encode(schema), type=FeatureSchema) == schema


def test_the_matrix_is_what_estimators_want() -> None:
    for rows in (0, 1, 64, 65):
        frame = table([(1.0, "JFK", True, 3)] * rows)
        matrix = encode(learn_schema(table([(1.0, "JFK", True, 3)]), list(TYPES)), frame)
        assert (matrix.shape, str(matrix.dtype), matrix.flags.c_contiguous) == ((rows, 4), "float64", True)
        assert matrix.tolist() == [[1.0, 0.0, 1.0, 3.0]] * rows


def test_the_most_frequent_category_comes_first_and_ties_go_by_name() -> None:
    words = pl.Series("count", ["b", "c", "a", "c", None, None, None, "b", "z"])
    assert most_frequent(words, 10) == ("b", "c", "a", "z")
    assert most_frequent(words, 1) == ("b",)
    assert most_frequent(words.head(0), 1) == ()


def test_null_unseen_and_rare_categories_are_nan() -> None:
    schema = learn_schema(pl.DataFrame({"origin": ["JFK", "JFK", "LGA"]}), ["origin"], max_categories=1)
    assert schema.columns == (FeatureColumn("origin", "categorical", ("JFK",)),)
    matrix = encode(schema, pl.DataFrame({"origin": ["JFK", "LGA", "???", "", None]}))
    np.testing.assert_array_equal(matrix[:, 0], [0.0, np.nan, np.nan, np.nan, np.nan])


def test_the_positions_of_categories_are_known() -> None:
    schema = learn_schema(table([(1.0, "JFK", True, 3)]), ["count", "origin", "delay"])
    assert (schema.names, schema.categorical) == (("count", "origin", "delay"), (1,))


@pytest.mark.parametrize("rows", [1, 65])
@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("delay", "12", "feature 'delay': expected a number or a flag, as in training, got String"),
        ("delay", date(2013, 4, 1), "feature 'delay': expected a number or a flag, as in training, got Date"),
        ("origin", 3.0, "feature 'origin': expected text, as in training, got Float64"),
        ("origin", True, "feature 'origin': expected text, as in training, got Boolean"),
    ],
)
def test_a_column_of_another_type_is_refused(rows: int, column: str, values: object, message: str) -> None:
    schema = learn_schema(table([(1.0, "JFK", True, 3)]), list(TYPES))
    frame = table([(1.0, "JFK", True, 3)] * rows).with_columns(pl.Series(column, [values] * rows))
    with pytest.raises(EncodingError, match=message):
        encode(schema, frame)


@pytest.mark.parametrize("rows", [0, 1, 65])
def test_a_missing_column_is_refused(rows: int) -> None:
    schema = learn_schema(table([(1.0, "JFK", True, 3)]), list(TYPES))
    frame = table([(1.0, "JFK", True, 3)] * rows).drop("origin")
    with pytest.raises(EncodingError, match="feature 'origin': expected a column of this name, got the columns") as e:
        encode(schema, frame)
    assert e.value.feature == "origin"


@pytest.mark.parametrize("dtype", [pl.Null, pl.String, pl.Float64, pl.Date])
@pytest.mark.parametrize("rows", [1, 65])
def test_nulls_may_be_of_any_type(dtype: pl.DataType, rows: int) -> None:
    schema = learn_schema(table([(1.0, "JFK", True, 3)]), ["origin", "delay"])
    nulls = pl.DataFrame({"origin": [None] * rows, "delay": [None] * rows}, schema={"origin": dtype, "delay": dtype})
    assert np.isnan(encode(schema, nulls)).all()


def test_a_time_cannot_be_learnt_and_the_error_says_what_to_do() -> None:
    with pytest.raises(EncodingError, match=r"got Date\. Turn it into a number or text with a request feature"):
        learn_schema(pl.DataFrame({"day": [date(2013, 1, 1)]}), ["day"])
