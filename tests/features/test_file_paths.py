"""Which files a declaration's path means: folders as Spark writes them, globs anywhere, and names that are no data."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import charkha as ck
from charkha.clock import SimulatedClock, to_micros
from charkha.features.batches import batches_of
from charkha.features.declared import DataError
from charkha.features.feed import Feed
from charkha.features.rows import read_rows
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
FIELDS = {"id": int, "shop": str, "at": datetime, "paid": float}


def source(pattern: str, **fields: Any) -> Any:
    return ck.Source("sales", {**FIELDS, **fields}, ck.parquet(pattern), time="at", key="id")


def write(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    at = NOON - timedelta(minutes=5)
    pl.DataFrame({"id": [number], "shop": ["a"], "at": [at], "paid": [float(number)]}).write_parquet(path)


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no data")


def as_spark_writes(folder: Path) -> None:
    """Write two parts in a folder each, and all that lies beside them while another job is running."""
    write(folder / "_lane=1" / "part-0.snappy.parquet", 1)
    write(folder / "_lane=2" / "part-1.snappy.parquet", 2)
    write(folder / "_temporary" / "0" / "part-2.parquet", 3)
    for name in ("_SUCCESS", "_lane=1/.part-0.snappy.parquet.crc", ".hidden/part-3.parquet"):
        touch(folder / name)


def names(pattern: str, root: Path) -> list[str]:
    return [batch.name for batch in batches_of(source(pattern), root)]


def test_a_folder_is_its_files(tmp_path: Path) -> None:
    as_spark_writes(tmp_path / "sales.parquet")
    whole = [f"sales.parquet/_lane={lane}/part-{lane - 1}.snappy.parquet" for lane in (1, 2)]
    for pattern in ("sales.parquet", "*.parquet", "sales.parquet/*", f"{tmp_path}/sales.parquet", f"{tmp_path}/*"):
        assert names(pattern, tmp_path) == whole
    rows = read_rows(source("sales.parquet", _lane=int), tmp_path)
    assert rows.select("id", "_lane").rows() == [(1, 1), (2, 2)]


def test_a_file_that_changes_in_a_folder_is_followed(tmp_path: Path) -> None:
    folder, declared = tmp_path / "sales.parquet", source("sales.parquet")
    write(folder / "part-0.parquet", 1)
    view = ck.FeatureView("shop", ck.Entity("shop"), declared, windows=[ck.sum("paid", over="1h")])
    log = SegmentLog(tmp_path / "log")
    feed = Feed({"sales": declared}, [view], log, LmdbOnline(tmp_path / "online"), SimulatedClock(to_micros(NOON)))
    feed.materialise(tmp_path, to_micros(NOON))
    write(folder / "part-0.parquet", 2)
    assert feed.follow(tmp_path)
    assert not feed.follow(tmp_path)


def test_what_a_glob_gives_is_no_data_where_its_name_says_so(tmp_path: Path) -> None:
    for number, name in enumerate(("a.parquet", "_b.parquet", ".c.parquet", "_old/d.parquet", "_old/_e.parquet")):
        write(tmp_path / "data" / name, number)
    assert names("data/**/*.parquet", tmp_path) == ["data/a.parquet"]
    assert names("data/_*.parquet", tmp_path) == ["data/_b.parquet"]
    assert names("data/_b.parquet", tmp_path) == ["data/_b.parquet"]
    assert names("data/_old/*.parquet", tmp_path) == ["data/_old/d.parquet"]
    assert names("data/_old", tmp_path) == ["data/_old/d.parquet"]
    assert names(f"../{tmp_path.name}/data/*.parquet", tmp_path) == [f"../{tmp_path.name}/data/a.parquet"]


def test_a_glob_may_be_anywhere(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    for number in range(3):
        write(tmp_path / "lake" / f"part-{number}.parquet", number)
    pattern = f"{tmp_path}/lake/part-[01].parquet"
    assert names(pattern, tmp_path / "project") == [f"{tmp_path}/lake/part-{number}.parquet" for number in (0, 1)]
    assert names(pattern, tmp_path) == ["lake/part-0.parquet", "lake/part-1.parquet"]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("gone/*.parquet", "no file matches 'gone/*.parquet' in {root}. Check the path"),
        ("{root}/gone/*.parquet", "no file matches '{root}/gone/*.parquet'. Check the path"),
        ("empty", "there is no file of data in the folder '{root}/empty'. Check the path"),
    ],
)
def test_no_data_is_told(tmp_path: Path, pattern: str, said: str) -> None:
    touch(tmp_path / "empty" / "_SUCCESS")
    with pytest.raises(DataError) as error:
        read_rows(source(pattern.format(root=tmp_path)), tmp_path)
    assert said.format(root=tmp_path) in str(error.value)
