from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.training.fingerprint import fingerprint

values = {
    pl.Float64(): st.none() | st.floats(allow_nan=False),
    pl.Int64(): st.none() | st.integers(-9, 9),
    pl.Boolean(): st.none() | st.booleans(),
    pl.String(): st.none() | st.text(max_size=3),
    pl.Datetime("us", "UTC"): st.none()
    | st.datetimes(datetime(1960, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
}
columns = st.sampled_from(list(values)).flatmap(
    lambda kind: st.lists(values[kind], max_size=6).map(lambda items: pl.Series("x", items, dtype=kind))
)


@given(columns, columns)
def test_it_differs_exactly_when_the_tables_do(a: pl.Series, b: pl.Series) -> None:
    same = a.dtype == b.dtype and a.equals(b, null_equal=True)
    assert (fingerprint(a.to_frame()) == fingerprint(b.to_frame())) == same


@given(columns, st.integers(0, 6))
def test_chunks_leave_no_trace(column: pl.Series, cut: int) -> None:
    pieces = pl.concat([column[:cut], column[cut:]], rechunk=False)
    assert fingerprint(pieces.to_frame()) == fingerprint(column.to_frame())


def test_names_order_and_borders_count() -> None:
    frame = pl.DataFrame({"a": ["xy", "z"], "b": [1, 2]})
    others = [
        frame.rename({"a": "c"}),
        frame.select("b", "a"),
        frame.reverse(),
        pl.DataFrame({"a": ["x", "yz"], "b": [1, 2]}),
        frame.cast({"b": pl.Int32}),
    ]
    assert len({fingerprint(table) for table in (frame, *others)}) == 6
    assert fingerprint(frame, frame) != fingerprint(frame)


def test_what_compares_equal_is_equal() -> None:
    tables = [pl.DataFrame({"x": [zero, float("nan")]}) for zero in (0.0, -0.0)]
    assert fingerprint(tables[0]) == fingerprint(tables[1])


def test_a_known_table_keeps_its_fingerprint() -> None:
    """A change here would make every recorded fingerprint unreproducible: give the scheme a new name instead."""
    frame = pl.DataFrame({"x": [1.5, None], "name": ["a", None], "flag": [True, False], "n": [1, 2]})
    assert fingerprint(frame) == "sha256:d4acbbef73d2ba7814cc982607f4b63a742c23b66845b1e16ff295ec56849414"


def test_unknown_types_are_refused() -> None:
    with pytest.raises(TypeError, match=r"in column 'x', got List\(Int64\)"):
        fingerprint(pl.DataFrame({"x": [[1]]}))
