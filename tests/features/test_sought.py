"""Rows that are sought in a large source are those of the same source in memory."""

import tempfile
from pathlib import Path

import polars as pl
import pytest
from feature_streams import Stream, as_frame, cases, streams
from feature_ways import spine_of
from hypothesis import given
from hypothesis import strategies as st

from charkha.features.keys import key_column
from charkha.features.rows import read_rows
from charkha.features.sought import SoughtRows
from charkha.storage.segment_log import SegmentLog


@cases(60)
@given(stream=streams(), most_rows=st.integers(1, 9))
def test_rows_sought_are_those_of_all_rows(stream: Stream, most_rows: int) -> None:
    source, asked = stream.world.source, spine_of(stream)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("charkha.features.pieces._MOST_ROWS", most_rows)
        patch.setattr("charkha.features.sought.WHOLE_ROWS", -1)
        root = Path(folder)
        for number, events in enumerate(stream.files):
            as_frame(events, stream.world).write_parquet(root / f"rows-{number}.parquet")
        log = SegmentLog(root / "log")
        everything = read_rows(source, root, log)
        views = [view.entity.keys for view in stream.world.views]
        wanted = [(keys, key_column(asked, keys).unique().drop_nulls()) for keys in views]
        mine = pl.repeat(value=False, n=everything.height, eager=True)
        for keys, texts in wanted:
            mine |= key_column(everything, keys).is_in(texts.implode()).fill_null(value=False)
        sought = SoughtRows.of(source, root, log, root / "spool")
        assert sought.whole is None
        found = sought.of_keys(wanted)
        assert found.equals(everything.filter(mine).select(found.columns))
