"""Range reductions and searches against loops."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from charkha.features.segments import (
    KeyTimeIndex,
    range_chunks,
    range_members,
    reduce_ranges,
    run_ends,
    run_starts,
)

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=20)


@given(st.lists(st.integers(-9, 9), max_size=15), st.data())
def test_reduce_ranges_is_a_loop(values: Any, data: Any) -> None:
    cut = st.integers(0, len(values))
    ranges = sorted(tuple(sorted(pair)) for pair in data.draw(st.lists(st.tuples(cut, cut), max_size=8)))
    lows, highs = (np.array([pair[side] for pair in ranges], np.int64) for side in (0, 1))
    table = np.array([values, values], np.float64).T.reshape(-1, 2)
    found = reduce_ranges(np.add, table, lows, highs, 0.0)
    assert found[:, 0].tolist() == found[:, 1].tolist()
    assert found[:, 0].tolist() == [sum(values[low:high]) for low, high in ranges]


@given(pairs, pairs, st.booleans())
def test_count_until_is_a_loop(rows: Any, asked: Any, equal: Any) -> None:
    rows = sorted(rows)
    columns = [[np.array([pair[side] for pair in table], np.int64) for side in (0, 1)] for table in (rows, asked)]
    found = KeyTimeIndex(*columns[0]).count_until(*columns[1], equal=equal)

    def before(row: Any, question: Any) -> Any:
        return row[0] < question[0] or (row[0] == question[0] and (row[1] < question[1] or (equal and row == question)))

    assert found.tolist() == [sum(before(row, question) for row in rows) for question in asked]


@given(pairs)
def test_runs_cover_every_row_once(rows: Any) -> None:
    rows = sorted(rows)
    keys, times = (np.array([pair[side] for pair in rows], np.int64) for side in (0, 1))
    starts = run_starts(keys, times)
    ends = run_ends(starts, len(rows))
    runs = [rows[low:high] for low, high in zip(starts, ends, strict=True)]
    assert [row for run in runs for row in run] == rows
    assert all(len(set(run)) == 1 for run in runs)
    assert len(runs) == len(set(rows))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12), st.integers(1, 20))
def test_chunks_cover_every_range_once_and_members_are_those_of_the_range(ranges: Any, most: Any) -> None:
    lows = np.array([low for low, _ in ranges], np.int64)
    highs = lows + np.array([length for _, length in ranges], np.int64)
    covered = []
    for chunk in range_chunks(lows, highs, most):
        owner, index = range_members(lows[chunk], highs[chunk])
        covered += [(place + chunk.start, member) for place, member in zip(owner.tolist(), index.tolist(), strict=True)]
    assert covered == [(place, member) for place in range(len(ranges)) for member in range(lows[place], highs[place])]
