"""The newest row of a key as bytes: nothing is lost, one row or many, packed or not."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import charkha as ck
from charkha.clock import to_micros
from charkha.features.latest import DOUBLES, FLOATS, Column, LatestRows, LatestStack, latest_stacks
from charkha.spec.fields import TIME, polars_schema

FIELDS = {"id": str, "at": datetime, "x": float, "n": int, "flag": bool, "seen": datetime, "city": str}
NUMBERS = ("x", "n", "flag", "seen")
FAR_US = 1 << 52

around = st.sampled_from([sign * ((1 << 53) + aside) for sign in (-1, 1) for aside in (-1, 0, 1, 2)])
whole = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-1000, 1000) | around
numbers = st.tuples(
    st.none() | st.floats(allow_nan=False) | st.floats(width=32, allow_nan=False),
    st.none() | whole,
    st.none() | st.booleans(),
    st.none() | st.integers(-FAR_US, FAR_US),
)
rows = st.lists(st.tuples(st.integers(-FAR_US, FAR_US), numbers, st.none() | st.text()), min_size=1, max_size=16)


def layout(*columns: str, max_age: str | None = None) -> LatestRows:
    source = ck.Source("visits", FIELDS, time="at", key="id")
    return LatestRows.of(ck.FeatureView("v", ck.Entity("city"), source, latest=columns, max_age=max_age))


def read(latest: LatestRows, stored: list[bytes | None], at_us: Any) -> dict[str, Column]:
    return LatestStack((latest,)).values([stored], at_us)


def listed(column: Any) -> list[Any]:
    values = column.tolist() if isinstance(column, np.ndarray) else list(column)
    return [None if value is None or value != value else value for value in values]


@given(rows)
def test_nothing_is_lost_on_the_way(history: list[tuple[int, tuple[Any, ...], str | None]]) -> None:
    times = np.array([event for event, _, _ in history], np.int64)
    for names, contents in (
        (NUMBERS, [values for _, values, _ in history]),
        ((*NUMBERS, "city"), [(*values, city) for _, values, city in history]),
    ):
        latest = layout(*names)
        stored = [latest.encode(event, row) for (event, _, _), row in zip(history, contents, strict=True)]
        assert [latest.event_us(row) for row in stored] == times.tolist()
        assert [int.from_bytes(latest.stamp(row), "little", signed=True) for row in stored] == times.tolist()
        found = read(latest, [None, *stored], np.append(0, times))
        for place, name in enumerate(names):
            assert listed(found[f"v.{name}"]) == [None, *(row[place] for row in contents)]


@given(rows)
def test_many_rows_are_encoded_as_one_by_one(history: list[tuple[int, tuple[Any, ...], str | None]]) -> None:
    times = np.array([event for event, _, _ in history], np.int64)
    for names, contents in ((NUMBERS, [v for _, v, _ in history]), (("city", "n"), [(c, v[1]) for _, v, c in history])):
        latest, schema = layout(*names), {name: FIELDS[name] for name in names}
        plain = {name: pl.Int64() if kind == TIME else kind for name, kind in polars_schema(schema).items()}
        frame = pl.DataFrame(contents, schema=plain, orient="row").cast(polars_schema(schema))
        expected = [latest.encode(event, row) for event, row in zip(times.tolist(), contents, strict=True)]
        assert latest.encode_many(times, frame) == expected
        assert latest.encode_columns(times.tolist(), list(zip(*contents, strict=True))) == expected


def test_ten_short_floats_take_49_bytes() -> None:
    assert len(layout("x").encode(0, [0.5])) == 1 + 8 + 4
    assert layout("x").encode(0, [0.5])[0] == FLOATS
    assert layout("x").encode(0, [0.1])[0] == DOUBLES
    assert layout("x").encode(0, [1e300])[0] == DOUBLES


@pytest.mark.parametrize("columns", [("x",), ("x", "city"), ("x", "n")])
def test_values_expire_to_the_microsecond(columns: tuple[str, ...]) -> None:
    latest = layout(*columns, max_age="1h")
    event_us = to_micros(datetime(2024, 1, 1, tzinfo=UTC))
    stored: list[bytes | None] = [latest.encode(event_us, [0.1, None][: len(columns)])] * 3
    hour = 3_600_000_000
    found = read(latest, stored, np.array([event_us, event_us + hour, event_us + hour + 1]))
    assert listed(found["v.x"]) == [0.1, 0.1, None]


def test_keys_of_both_packings_and_none_together() -> None:
    latest = layout("x", "n")
    stored = [latest.encode(1, [0.5, 1]), None, latest.encode(2, [0.1, 2]), latest.encode(3, [0.25, 1 << 60])]
    for known in (stored[:3], stored):
        found = read(latest, known, np.full(len(known), 5))
        assert listed(found["v.x"]) == [0.5, None, 0.1, 0.25][: len(known)]
        assert listed(found["v.n"]) == [1, None, 2, 1 << 60][: len(known)]


def test_views_that_look_alike_are_read_together() -> None:
    aging, ageless, text = layout("x", "n", max_age="1h"), layout("n", "flag"), layout("x", "city")
    assert latest_stacks([aging, text, ageless, layout(), layout("x")]) == [[0, 2], [1], [4]]
    stored: list[list[bytes | None]] = [[aging.encode(0, [0.1, 7]), None], [ageless.encode(0, [3, True]), None]]
    long_after = np.array([1 << 50, 1 << 50])
    found = LatestStack((aging, ageless)).values(stored, long_after)
    assert listed(found["v.x"]) == [None, None]
    assert (listed(found["v.n"]), listed(found["v.flag"])) == ([3, None], [True, None])
