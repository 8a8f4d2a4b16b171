"""Files whose folders say some of their columns, and numbers that say the same in other bits."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest

import charkha as ck
from charkha.clock import SimulatedClock, to_micros
from charkha.features.declared import DataError
from charkha.features.feed import Feed
from charkha.features.rows import read_rows
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
FIELDS = {"id": int, "shop": str, "lane": int, "day": datetime, "open": bool, "paid": float}


def source(pattern: str = "data/**/*.parquet") -> Any:
    return ck.Source("sales", FIELDS, ck.parquet(pattern), time="day", key="id")


def write(folder: Path, ids: list[int], **columns: Any) -> None:
    folder.mkdir(parents=True)
    pl.DataFrame({"id": ids, "paid": [1.5] * len(ids), **columns}).write_parquet(folder / "part-0.parquet")


def test_folders_say_columns(tmp_path: Path) -> None:
    write(tmp_path / "data/day=2024-05-01/shop=a%2Fb/lane=-3/open=True", [1, 2])
    write(tmp_path / "data/day=2024-05-02 06:00:00/shop=__HIVE_DEFAULT_PARTITION__/lane=4/open=false", [3])
    write(tmp_path / "data/day=2024-05-03/shop=x/lane=5/open=true", [4], shop=["in the file"])
    rows = read_rows(source(), tmp_path)
    assert rows.select("id", "shop", "lane", "open").rows() == [
        (1, "a/b", -3, True),
        (2, "a/b", -3, True),
        (3, None, 4, False),
        (4, "in the file", 5, True),
    ]
    assert rows["day"].to_list()[1:3] == [
        datetime(2024, 5, 1, tzinfo=UTC),
        datetime(2024, 5, 2, 6, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("lane", "four", "int"),
        ("lane", "1.5", "int"),
        ("day", "oops", "a time such as 2026-02-11 or 2026-02-11T08:30:00Z"),
        ("day", "01/05", "a time such as 2026-02-11 or 2026-02-11T08:30:00Z"),
        ("open", "perhaps", "true or false"),
    ],
)
def test_a_folder_that_does_not_fit_is_told(tmp_path: Path, field: str, value: str, wanted: str) -> None:
    folders = {"day": "2024-05-01", "shop": "a", "lane": "4", "open": "true", field: value}
    write(tmp_path.joinpath("data", *(f"{name}={quote(text, safe='')}" for name, text in folders.items())), [1])
    with pytest.raises(DataError) as error:
        read_rows(source(), tmp_path)
    said = f"expected {wanted} for {field!r} in the name of its folder '{field}={value}', got {value!r}"
    assert str(error.value).startswith(f"source 'sales': '{tmp_path}/data/")
    assert said in str(error.value)


def test_folders_of_csv_are_iso_whatever_its_times(tmp_path: Path) -> None:
    folder = tmp_path / "data/day=2024-05-02"
    folder.mkdir(parents=True)
    (folder / "x.csv").write_text("id,paid,sold\n1,2.5,03/05/2024\n")
    fields = {"id": int, "paid": float, "day": datetime, "sold": datetime}
    sales = ck.Source("sales", fields, ck.csv("data/*/*.csv", times="%d/%m/%Y"), time="day", key="id")
    assert read_rows(sales, tmp_path).select("day", "sold").row(0) == (
        datetime(2024, 5, 2, tzinfo=UTC),
        datetime(2024, 5, 3, tzinfo=UTC),
    )


def test_a_field_that_nobody_says_is_missing(tmp_path: Path) -> None:
    write(tmp_path / "data/day=2024-05-01/shop=a/open=true", [1])
    with pytest.raises(DataError, match="lane"):
        read_rows(source(), tmp_path)


def test_nan_and_minus_zero_say_what_null_and_zero_say(tmp_path: Path) -> None:
    orders = ck.Source("orders", {"id": int, "at": datetime, "paid": float}, time="at", key="id")
    log = SegmentLog(tmp_path / "log")
    feed = Feed({"orders": orders}, [], log, LmdbOnline(tmp_path / "online"), SimulatedClock(to_micros(NOON)))
    feed.push("orders", [(1, NOON, float("nan")), (2, NOON, -0.0), (3, NOON, float("inf"))])
    again = feed.push("orders", [(1, NOON, None), (2, NOON, 0.0), (3, NOON, float("inf"))])
    assert (again.accepted, again.corrections, again.duplicates) == (0, 0, 3)
    assert str(read_rows(orders, tmp_path, log)["paid"].to_list()) == "[None, 0.0, None]"
    frame = pl.DataFrame({"id": [1, 1, 2, 2], "at": [NOON] * 4, "paid": [float("nan"), None, -0.0, 0.0]})
    frame.write_parquet(tmp_path / "orders.parquet")
    filed = ck.Source(
        "orders", {"id": int, "at": datetime, "paid": float}, ck.parquet("orders.parquet"), time="at", key="id"
    )
    assert str(read_rows(filed, tmp_path)["paid"].to_list()) == "[None, 0.0]"
