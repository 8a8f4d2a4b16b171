"""What all tables must do; a new backend adds one line to TABLES."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from charkha.storage.names import BadName
from charkha.storage.parquet_tables import ParquetTables
from charkha.storage.tables import Tables, UnknownPart, UnknownTable

TABLES: dict[str, Callable[[Path], Tables]] = {
    "parquet": ParquetTables,
    "synced parquet": lambda folder: ParquetTables(folder, sync=True),
}
FRAME = pl.DataFrame(
    {
        "id": ["a", None, "ä"],
        "_at_us": [1, 2, 3],
        "congestion.mean_6h": [0.1, None, float("nan")],
        "hit": [True, False, None],
        "seen": [datetime(2013, 4, 1, tzinfo=UTC)] * 3,
        "rules": [["one"], [], None],
    },
    schema_overrides={"seen": pl.Datetime("us", "UTC"), "rules": pl.List(pl.String)},
)


@pytest.fixture(params=list(TABLES.values()), ids=list(TABLES))
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> Tables:
    opened: Tables = request.param(tmp_path / "x=1")
    return opened


def test_a_part_comes_back_as_it_was_written(tables: Tables) -> None:
    tables.write("predictions/late_arrival", "2013-04-01", FRAME)
    assert_frame_equal(tables.read("predictions/late_arrival", "2013-04-01"), FRAME)
    assert_frame_equal(tables.scan("predictions/late_arrival").collect(), FRAME)


def test_the_same_part_again_replaces_it(tables: Tables) -> None:
    tables.write("t", "one", FRAME)
    tables.write("t", "one", FRAME.head(1))
    assert tables.parts("t") == ["one"]
    assert_frame_equal(tables.scan("t").collect(), FRAME.head(1))


def test_parts_are_scanned_in_name_order(tables: Tables) -> None:
    for part in ("2013-04-02", "2013-04-10", "2013-04-01"):
        tables.write("t", part, pl.DataFrame({"part": [part]}))
    assert tables.parts("t") == ["2013-04-01", "2013-04-02", "2013-04-10"]
    assert tables.scan("t").collect()["part"].to_list() == ["2013-04-01", "2013-04-02", "2013-04-10"]


def test_parts_may_differ_in_columns_and_width_of_types(tables: Tables) -> None:
    tables.write("t", "1", pl.DataFrame({"a": [1], "b": ["x"]}))
    tables.write("t", "2", pl.DataFrame({"a": [2], "b": ["y"]}))
    tables.write("t", "3", pl.DataFrame({"a": [2.5], "c": [True]}))
    tables.write("t", "4", pl.DataFrame({"a": [None], "b": [None]}))
    expected = pl.DataFrame({"a": [1.0, 2.0, 2.5, None], "b": ["x", "y", None, None], "c": [None, None, True, None]})
    assert_frame_equal(tables.scan("t").collect(), expected)


def test_an_empty_part_keeps_its_schema(tables: Tables) -> None:
    tables.write("t", "1", FRAME.clear())
    assert tables.scan("t").collect_schema() == FRAME.schema
    assert tables.read("t", "1").height == 0


def test_a_table_inside_a_tables_name_is_another_table(tables: Tables) -> None:
    tables.write("predictions", "late_arrival", FRAME.head(1))
    tables.write("predictions/late_arrival", "1", FRAME)
    assert tables.parts("predictions") == ["late_arrival"]
    assert tables.scan("predictions").collect().height == 1


def test_what_is_not_there_says_so(tables: Tables) -> None:
    assert tables.parts("t") == []
    with pytest.raises(UnknownTable, match="table 't': expected at least one part"):
        tables.scan("t")
    with pytest.raises(UnknownPart, match="table 't' has no part 'one'"):
        tables.read("t", "one")


def test_a_deleted_part_is_gone(tables: Tables) -> None:
    tables.write("t", "one", FRAME)
    tables.delete("t", "one")
    tables.delete("t", "one")
    assert tables.parts("t") == []
    with pytest.raises(UnknownTable):
        tables.scan("t")


def test_a_scan_can_be_filtered_before_it_is_read(tables: Tables) -> None:
    for number in range(3):
        tables.write("t", str(number), FRAME)
    assert tables.scan("t").filter(pl.col("_at_us") > 2).select("id").collect()["id"].to_list() == ["ä"] * 3


def test_readers_see_one_part_or_the_other(tables: Tables) -> None:
    frames = [pl.DataFrame({"n": [number] * 500}) for number in (1, 2)]
    tables.write("t", "one", frames[0])

    def write(frame: pl.DataFrame) -> None:
        for _ in range(20):
            tables.write("t", "one", frame)

    threads = [Thread(target=write, args=(frame,)) for frame in frames]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        seen = tables.read("t", "one")
        assert (seen.height, seen["n"].n_unique()) == (500, 1)
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../out", "/etc", "a//b", "a/", ".hidden", "a b", "a\x00b", "a*", "a=b"]
)
def test_names_that_could_lead_out_are_refused(tables: Tables, name: str, tmp_path: Path) -> None:
    for call in (
        lambda: tables.write(name, "one", FRAME),
        lambda: tables.write("t", name, FRAME),
        lambda: tables.read(name, "one"),
        lambda: tables.delete("t", name),
        lambda: tables.parts(name),
        lambda: tables.scan(name),
    ):
        with pytest.raises(BadName, match=r"expected .*letters, digits"):
            call()
    assert not any(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("table", "part"), [("t", "one.parquet"), ("t.parquet", "one"), ("a.parquet/t", "one"), ("t", "a/b")]
)
def test_names_that_could_be_taken_for_others_are_refused(tables: Tables, table: str, part: str) -> None:
    with pytest.raises(BadName):
        tables.write(table, part, FRAME)
