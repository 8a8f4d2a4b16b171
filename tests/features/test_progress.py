"""What is remembered of rows: of many at once the very bytes that are remembered of one that is pushed."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

import charkha as ck
from charkha.clock import to_micros
from charkha.features.events import RowLayout
from charkha.features.materialise import plain_values
from charkha.features.progress import row_contents, row_places, rows_to_remember
from charkha.spec.fields import polars_schema

FIELDS: dict[str, Any] = {"name": str, "number": int, "size": float, "on": bool, "at": datetime}
VALUES = {
    "name": st.text() | st.sampled_from(["", "None", "\x1f", "\\", "\\u", "x" * 500, "é" * 250]),
    "number": st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 127, 128, 2**32]),
    "size": st.floats() | st.sampled_from([0.0, -0.0, 1e16, 1e-7, 0.1, 1e22]),
    "on": st.booleans(),
    "at": st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
}


def rows_of(key: list[str]) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Rows in which only what is no key may be null, as those of a source are."""
    values = [kind if name in key else st.none() | kind for name, kind in VALUES.items()]
    return st.lists(st.tuples(*values), max_size=30)


keys_and_rows = st.lists(st.sampled_from(list(FIELDS)), min_size=1, max_size=3, unique=True).flatmap(
    lambda key: st.tuples(st.just(key), rows_of(key))
)


@given(keys_and_rows)
def test_many_rows_are_remembered_as_each_alone(case: tuple[list[str], list[tuple[Any, ...]]]) -> None:
    key, rows = case
    source = ck.Source("trips", FIELDS, time="at", key=key)
    layout = RowLayout.of(source)
    frame = plain_values(pl.DataFrame(rows, schema=polars_schema(FIELDS), orient="row"))
    pushed = [tuple(map(as_pushed, row)) for row in rows]
    alone = [(*row_places(layout, [row]), *row_contents(layout, [row])) for row in pushed]
    assert list(rows_to_remember(layout, frame)) == alone
    assert list(zip(row_places(layout, pushed), row_contents(layout, pushed), strict=True)) == alone


def as_pushed(value: Any) -> Any:
    """Return a value as the feed has it: times as µs."""
    return to_micros(value) if isinstance(value, datetime) else value
