"""Parts: their names say what they hold, newer ones take the place of older ones, and none is read twice."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.clock import parse_time
from charkha.monitoring.parts import Part, PartReader, current, day_of, days, parse_part
from charkha.spec.durations import DAY_US
from charkha.storage.parquet_tables import ParquetTables
from charkha.storage.tables import UnknownPart

PARTS = st.builds(
    Part,
    day=st.dates().map(lambda day: day.isoformat()),
    partition=st.sampled_from(["web-0", "web.1", "replay"]),
    start=st.integers(0, 3),
    end=st.integers(4, 8),
)
NOON_US = parse_time("2013-04-02T12:00:00Z")


class Counted(ParquetTables):
    """Tables that count what is read, and can lose parts between listing and reading."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read_parts: list[str] = []
        self.lose: Iterator[None] = iter(())

    def read(self, table: str, part: str) -> pl.DataFrame:
        for _ in self.lose:
            raise UnknownPart(table, part)
        self.read_parts.append(part)
        return super().read(table, part)


@pytest.fixture
def tables(tmp_path: Path) -> Counted:
    tables = Counted(tmp_path)
    for day in ("2013-04-01", "2013-04-02", "2013-04-03"):
        tables.write("t", Part(day, "web-0", 0, 10).name, pl.DataFrame({"day": [day]}))
    return tables


@given(PARTS)
def test_a_name_says_all(part: Part) -> None:
    assert parse_part(part.name) == part


@given(st.lists(PARTS))
def test_names_sort_as_parts_do(parts: list[Part]) -> None:
    same = [part for part in parts if part.partition == "web-0"]
    assert sorted(same) == [parse_part(name) for name in sorted(part.name for part in same)]


@given(st.lists(PARTS))
def test_what_is_current_has_no_replacement(parts: list[Part]) -> None:
    kept = current(parts)
    assert len({(part.day, part.partition, part.start) for part in kept}) == len(kept)
    for part in parts:
        assert any(part == other or other.replaces(part) for other in kept)
        assert part not in kept or not any(other.replaces(part) for other in parts)


@pytest.mark.parametrize("name", ["2013-04-01", "2013-04-01.web-0.1-2", "x.web-0.000000000000000-000000000000010"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected a part named like"):
        parse_part(name)


@given(st.integers(0, 4 * 10**15))
def test_days_agree(time_us: int) -> None:
    assert pl.select(days(pl.lit(time_us))).item() == day_of(time_us)


def test_only_the_days_of_a_window_are_read(tables: Counted) -> None:
    reader = PartReader(tables, "t", lambda part: part.item())
    assert reader.between(NOON_US, NOON_US + DAY_US // 2) == ["2013-04-02"]
    assert reader.between(NOON_US, NOON_US + DAY_US // 2 + 1) == ["2013-04-02", "2013-04-03"]
    assert reader.between(NOON_US, NOON_US) == []


def test_what_windows_share_is_read_once(tables: Counted) -> None:
    reader = PartReader(tables, "t", lambda part: part.item())
    reader.between(NOON_US - DAY_US, NOON_US)
    reader.between(NOON_US, NOON_US + DAY_US)
    assert [name[:10] for name in tables.read_parts] == ["2013-04-01", "2013-04-02", "2013-04-03"]


def test_a_part_in_the_place_of_another_is_read(tables: Counted) -> None:
    reader = PartReader(tables, "t", lambda part: part.item())
    reader.between(NOON_US, NOON_US + 1)
    tables.write("t", Part("2013-04-02", "web-0", 0, 20).name, pl.DataFrame({"day": ["more"]}))
    assert reader.between(NOON_US, NOON_US + 1) == ["more"]


def test_a_part_that_went_while_it_was_read_is_looked_for_again(tables: Counted) -> None:
    reader = PartReader(tables, "t", lambda part: part.item())
    tables.lose = iter([None])
    assert reader.between(NOON_US, NOON_US + 1) == ["2013-04-02"]
    tables.lose = iter([None, None])
    other = PartReader(tables, "t", lambda part: part.item())
    with pytest.raises(UnknownPart):
        other.between(NOON_US, NOON_US + 1)
