"""Rows from files: their times, their types, their versions, and what is said when they cannot be read."""

from datetime import datetime
from typing import Any

import polars as pl
import pytest

import charkha as ck
from charkha.clock import SimulatedClock, to_micros
from charkha.features.data_check import check_source
from charkha.features.declared import DataError
from charkha.features.feed import Feed
from charkha.features.reading import Sources, opened_readings
from charkha.features.rows import read_rows
from charkha.features.spine import label_spine
from charkha.storage.home import open_home
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

FIELDS = {"id": int, "city": str, "at": datetime, "seen": datetime, "amount": float}


def source(pattern: str, **changes: Any) -> ck.Source:
    declared = {"time": "at", "known": "seen", "key": ["id"], **changes}
    formats = {"csv": ck.csv, "parquet": ck.parquet, "arrow": ck.arrow}
    return ck.Source("orders", FIELDS, formats[pattern.rpartition(".")[2]](pattern), **declared)


def frame(*rows: tuple[Any, ...]) -> pl.DataFrame:
    schema = pl.Schema(
        {
            "id": pl.Int64(),
            "city": pl.String(),
            "at": pl.Datetime("us"),
            "seen": pl.Datetime("us"),
            "amount": pl.Float64(),
        }
    )
    return pl.DataFrame(rows, schema=schema, orient="row")


NOON, ONE, TWO = datetime(2024, 5, 1, 12), datetime(2024, 5, 1, 13), datetime(2024, 5, 1, 14)


def test_rows_come_in_the_order_in_which_they_became_known(tmp_path: Any) -> None:
    frame((1, "a", NOON, TWO, 1.0), (2, "b", NOON, ONE, 2.0)).write_parquet(tmp_path / "1.parquet")
    frame((3, "c", NOON, NOON, 3.0)).write_parquet(tmp_path / "2.parquet")
    rows = read_rows(source("*.parquet"), tmp_path)
    assert rows["id"].to_list() == [3, 2, 1]
    assert rows["_known_us"].to_list() == [to_micros(NOON), to_micros(ONE), to_micros(TWO)]
    assert read_rows(source("*.parquet"), tmp_path, as_of_us=to_micros(ONE))["id"].to_list() == [3, 2]


def test_repetitions_go_and_corrections_are_marked(tmp_path: Any) -> None:
    rows = [(1, "a", NOON, NOON, 1.0), (1, "a", NOON, NOON, 1.0), (1, "a", NOON, ONE, 5.0), (2, "b", NOON, ONE, 2.0)]
    frame(*rows).write_parquet(tmp_path / "x.parquet")
    read = read_rows(source("x.parquet"), tmp_path)
    assert read.select("id", "amount", "_first").rows() == [(1, 1.0, True), (1, 5.0, False), (2, 2.0, True)]


@pytest.mark.parametrize("static", [False, True])
def test_a_row_that_was_pushed_before_it_came_in_a_file_is_known_from_its_push_on(tmp_path: Any, static: bool) -> None:
    """The file says that it was known earlier; then it was not there. Of static rows nobody asks when they came."""
    declared = source("*.parquet", **({"time": None, "known": None, "static": True} if static else {}))
    clock, log = SimulatedClock(to_micros(TWO)), SegmentLog(tmp_path / "log")
    online = LmdbOnline(tmp_path / "online")
    pushed = [(1, "a", NOON, NOON, 1.0), (2, "b", NOON, ONE, 2.0), (3, "c", NOON, ONE, 3.0)]
    Feed({"orders": declared}, [], log, online, clock).push("orders", pushed)
    of_file = [(1, "a", NOON, NOON, 1.0), (2, "b", NOON, ONE, 2.5), (4, "d", NOON, ONE, 4.0)]
    frame(*of_file).write_parquet(tmp_path / "1.parquet")
    frame(*of_file[:1]).write_parquet(tmp_path / "2.parquet")
    read = read_rows(declared, tmp_path, log).sort("id", "_known_us")
    known, two = [to_micros(time) for time in (NOON, ONE)], to_micros(TWO)
    if static:
        assert read.select("id", "_known_us").rows() == [(1, 0), (2, 0), (2, two), (3, two), (4, 0)]
        return
    assert read.select("id", "amount", "_known_us", "_pushed", "_first").rows() == [
        (1, 1.0, two, True, True),
        (2, 2.5, known[1], False, True),  # the file has another version: that one was known when it says
        (2, 2.0, two, True, False),
        (3, 3.0, two, True, True),
        (4, 4.0, known[1], False, True),
    ]
    assert read_rows(declared, tmp_path, log, as_of_us=known[1])["id"].to_list() == [2, 4]


def test_rows_that_never_become_known_are_last_and_no_part_of_any_time(tmp_path: Any) -> None:
    frame((1, "a", NOON, None, 1.0), (2, "b", NOON, ONE, 2.0)).write_parquet(tmp_path / "x.parquet")
    assert read_rows(source("x.parquet"), tmp_path)["id"].to_list() == [2, 1]
    assert read_rows(source("x.parquet"), tmp_path, as_of_us=to_micros(TWO))["id"].to_list() == [2]


def test_times_with_a_zone_are_brought_to_utc(tmp_path: Any) -> None:
    local = frame((1, "a", NOON, NOON, 1.0)).with_columns(pl.col("at", "seen").dt.replace_time_zone("Asia/Kolkata"))
    local.write_parquet(tmp_path / "x.parquet")
    read = read_rows(source("x.parquet"), tmp_path)
    assert read["_event_us"].to_list() == [to_micros(datetime(2024, 5, 1, 6, 30))]


def test_csv_and_arrow_read_like_parquet(tmp_path: Any) -> None:
    table = frame((1, "a", NOON, ONE, 1.5), (2, None, NOON, TWO, None))
    table.write_parquet(tmp_path / "x.parquet")
    table.write_csv(tmp_path / "x.csv")
    table.write_ipc(tmp_path / "x.arrow")
    expected = read_rows(source("x.parquet"), tmp_path)
    assert read_rows(source("x.csv"), tmp_path).equals(expected)
    assert read_rows(source("x.arrow"), tmp_path).equals(expected)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (frame((1, "a", NOON, NOON, 1.0)).drop("amount"), "amount"),
        (frame((1, "a", NOON, NOON, 1.0)).with_columns(amount=pl.lit("n/a")), "n/a"),
        (frame((None, "a", NOON, NOON, 1.0)), "the key"),
    ],
    ids=["missing column", "wrong type", "null key"],
)
def test_what_cannot_be_read_is_said(tmp_path: Any, table: Any, says: Any) -> None:
    table.write_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="source 'orders'") as error:
        read_rows(source("x.parquet"), tmp_path)
    assert says in str(error.value)


def test_no_file_is_said_with_the_pattern(tmp_path: Any) -> None:
    with pytest.raises(DataError, match=r"no file matches '\*\.parquet'"):
        read_rows(source("*.parquet"), tmp_path)


def test_a_correction_changes_the_truth_and_not_what_was_asked(tmp_path: Any) -> None:
    frame((1, "a", NOON, ONE, 1.0), (1, "rewritten", NOON, TWO, 9.0)).write_parquet(tmp_path / "x.parquet")
    declared = source("x.parquet")
    label = ck.Label(declared, pl.col("amount") > 5, at="at", delay="1h")
    spine = label_spine(label, ["city"], read_rows(declared, tmp_path))
    assert spine.select("city", "_label", "_label_known_us").rows() == [("a", 1.0, to_micros(TWO))]


def test_a_row_without_its_key_is_told_with_its_file(tmp_path: Any) -> None:
    """Wherever it turns out: in a whole source, one in pieces, and a check of its files."""
    bound = ck.Source("pay", {"id": int, "card": str, "at": datetime}, ck.csv("pay*.csv"), time="at", key="id")
    (tmp_path / "pay1.csv").write_text("id,card,at\n1,a,2026-01-01\n,b,\n")
    (tmp_path / "pay2.csv").write_text("id,card,at\n2,a,2026-01-02\n,b,2026-01-03\n,c,2026-01-03\n")
    says = r"expected the key \['id'\] in every row, got 2 with null in it, the first in row 1 of '.*pay2\.csv'\. Fill"
    with pytest.raises(DataError, match=says):
        read_rows(bound, tmp_path)
    with (
        open_home(tmp_path / "home") as home,
        opened_readings(Sources(tmp_path, {"pay": bound}, home.log), ()) as readings,
    ):
        with pytest.raises(DataError, match=says):
            readings.of("pay")
        found = check_source(bound, tmp_path, home.log, 0)
        assert [bool(each.problem) for each in found] == [False, True, False]
        assert "row 1 of" in found[1].problem
        assert [each.unknown for each in found] == [1, 0, 0]
