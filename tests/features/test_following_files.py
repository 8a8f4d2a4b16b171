"""News in a source's files: taken into state that is there, which then is what it would be if it were built anew."""

import os
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_backfill import BEGIN, SALES, VIEWS, sales
from test_feed_killed import killed_at_random

from charkha.clock import SimulatedClock, to_micros
from charkha.features.building import Followed, KnownLater
from charkha.features.feed import Feed
from charkha.features.file_marks import FileMark, write_marks
from charkha.features.materialise import plain_values
from charkha.features.state import ViewState
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

LONG_AFTER_US = to_micros(BEGIN + timedelta(days=40))


class House:
    """A folder with files, a log and a state."""

    def __init__(self, root: Path, state: str = "online") -> None:
        self.root, self.clock = root, SimulatedClock(to_micros(BEGIN))
        self.log, self.store = SegmentLog(root / "log"), LmdbOnline(root / state)
        self.feed = Feed({"sales": SALES}, VIEWS, self.log, self.store, self.clock)

    def write(self, number: int, rows: pl.DataFrame) -> None:
        rows.write_parquet(self.root / f"sales-{number}.parquet")

    def build(self, as_of_us: int | None = None) -> None:
        self.feed.materialise(self.root, self.clock.now() if as_of_us is None else as_of_us)

    def follow(self) -> list[Followed]:
        return self.feed.follow(self.root)

    def mark(self, number: int, word: str) -> None:
        mark = FileMark(f"sales-{number}.parquet", word, "", 1, self.clock.now(), "ann", "odd")  # type: ignore[arg-type]
        write_marks(self.log, "sales", [mark])


def close(kept: dict[bytes, bytes], anew: dict[bytes, bytes]) -> None:
    """Say that two states are the same: all that is remembered, all keys, and tiles but for the order of additions."""
    rings = {view.ring_place(index): ring for view in map(ViewState.of, VIEWS) for index, ring in enumerate(view.rings)}
    assert kept.keys() == anew.keys()
    for place, value in kept.items():
        ring = rings.get(place[:7])
        if ring is None:
            assert value == anew[place], place
            continue
        size = ring.tile.size
        assert len(value) == len(anew[place])
        for start in range(0, len(value), size):
            ours, theirs = ring.tile.unpack_from(value, start), ring.tile.unpack_from(anew[place], start)
            assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9, nan_ok=True)


def whole_tiles(state: dict[bytes, bytes], now_us: int) -> dict[bytes, bytes]:
    """Return state without the tiles that no window asked for from now on reaches: they are dropped when it changes."""
    rings = {view.ring_place(index): ring for view in map(ViewState.of, VIEWS) for index, ring in enumerate(view.rings)}
    kept = {}
    for place, value in state.items():
        ring = rings.get(place[:7])
        if ring is not None:
            newest = now_us // ring.ring.hop_us
            size = ring.tile.size
            tiles = [value[start : start + size] for start in range(0, len(value), size)]
            reached = b"".join(tile for tile in tiles if ring.tile.unpack(tile)[0] >= newest - ring.ring.hops)
            kept.update({place: reached} if reached else {})
        elif not place.startswith((b"\x00newest", b"\x00taken")):  # times never go back
            kept[place] = value
    return kept


def as_if_built_anew(house: House) -> None:
    """Say that the state is what building it anew from the files and the log gives."""
    other = House(house.root, "anew")
    try:
        other.clock.advance_to(house.clock.now())
        other.build()
        kept, anew = (whole_tiles(dict(each.store.scan(b"")), house.clock.now()) for each in (house, other))
        close(kept, anew)
    finally:
        other.store.delete_prefix(b"")
        other.store.close()


def days(rows: pl.DataFrame, low: float, high: float) -> pl.DataFrame:
    """Return the rows that became known between two days, and half of those that never do."""
    begin, end = (BEGIN + timedelta(days=day) for day in (low, high))
    return rows.filter(
        pl.col("known_at").is_between(begin, end, closed="left") | (pl.col("known_at").is_null() & (low == 0))
    )


def test_a_file_of_later_rows_is_applied(tmp_path: Path) -> None:
    house, rows = House(tmp_path), sales(3, 2000, 0)
    house.write(0, days(rows, 0, 4))
    house.clock.advance_to(to_micros(BEGIN + timedelta(days=4)))
    house.build()
    assert house.follow() == []
    house.write(1, days(rows, 4, 6))
    house.write(2, days(rows, 6, 20))
    house.clock.advance_to(to_micros(BEGIN + timedelta(days=8)))
    [found] = house.follow()
    assert (found.source, found.anew, found.problem) == ("sales", "", "")
    assert found.rows == days(rows, 4, 8).drop_nulls("at").filter(pl.col("known_at").is_not_null()).height
    as_if_built_anew(house)
    assert house.follow() == []
    house.clock.advance_to(LONG_AFTER_US)  # what waited in the last file has become known
    [found] = house.follow()
    assert found.rows > 0
    assert found.anew == ""
    as_if_built_anew(house)
    assert house.follow() == []


def test_a_file_that_changed_vanished_or_was_set_aside_builds_its_source_anew(tmp_path: Path) -> None:
    house, rows = House(tmp_path), sales(4, 1000, 0)
    house.clock.advance_to(LONG_AFTER_US)
    for number, low in enumerate((0, 3, 6)):
        house.write(number, days(rows, low, low + 3))
    house.build()
    house.write(1, days(rows, 3, 6).with_columns(amount=pl.col("amount") + 1))
    assert house.follow() == [Followed("sales", anew="sales-1.parquet is not what it was")]
    as_if_built_anew(house)
    house.mark(0, "aside")
    assert house.follow() == [Followed("sales", anew="sales-0.parquet is not read any more")]
    as_if_built_anew(house)
    (tmp_path / "sales-2.parquet").unlink()
    assert house.follow() == [Followed("sales", anew="sales-2.parquet is not read any more")]
    as_if_built_anew(house)
    house.write(5, days(rows, 1, 2))
    assert house.follow() == [Followed("sales", anew="rows became known before others that the state has")]
    as_if_built_anew(house)


def test_files_that_cannot_be_read_leave_the_state_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    house = House(tmp_path)
    house.write(0, sales(1, 100, 0))
    house.clock.advance_to(LONG_AFTER_US)
    house.build()
    before = dict(house.store.scan(b""))
    (tmp_path / "sales-1.parquet").write_bytes(b"no parquet")
    [found] = house.follow()
    assert "sales-1.parquet" in found.problem
    assert "its files are not followed" in caplog.text
    assert dict(house.store.scan(b"")) == before
    (tmp_path / "sales-0.parquet").unlink()
    (tmp_path / "sales-1.parquet").unlink()
    assert "no file matches" in house.follow()[0].problem
    assert dict(house.store.scan(b"")) == before


def test_touching_a_file_is_told_and_harmless(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.write(0, sales(1, 100, 0))
    house.clock.advance_to(LONG_AFTER_US)
    house.build()
    os.utime(tmp_path / "sales-0.parquet", (1, 1))
    assert house.follow()[0].anew
    as_if_built_anew(house)


def test_state_as_of_a_time_has_what_was_known_by_then(tmp_path: Path) -> None:
    house, rows = House(tmp_path), sales(3, 1000, 0)
    house.write(0, rows)
    house.clock.advance_to(LONG_AFTER_US)
    then_us = to_micros(BEGIN + timedelta(days=5))
    house.feed.materialise(tmp_path, then_us, exactly=True)
    assert max(house.feed.newest_known_us().values()) <= then_us
    earlier_us = to_micros(BEGIN + timedelta(days=3))
    with pytest.raises(KnownLater, match=r"2024.*--anew"):
        house.feed.materialise(tmp_path, earlier_us, exactly=True)
    with pytest.raises(KnownLater, match=r"2024.*--anew"):
        house.feed.follow(tmp_path, earlier_us)
    house.feed.materialise(tmp_path, earlier_us, exactly=True, anew=True)
    assert max(house.feed.newest_known_us().values()) <= earlier_us
    house.feed.follow(tmp_path, then_us)
    assert earlier_us < max(house.feed.newest_known_us().values()) <= then_us
    house.follow()
    as_if_built_anew(house)
    house.feed.push("sales", plain_values(sales(9, 3, 90_000)).rows()[:1])
    with pytest.raises(KnownLater, match="stays in the log"):
        house.feed.materialise(tmp_path, earlier_us, exactly=True, anew=True)


Steps = st.lists(
    st.one_of(
        st.tuples(st.just("file"), st.integers(0, 4), st.integers(0, 11)),
        st.tuples(st.just("push"), st.integers(0, 3), st.integers(1, 9)),
        st.tuples(st.just("aside"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("wait"), st.integers(0, 3), st.just(0)),
    ),
    min_size=1,
    max_size=7,
)


@settings(max_examples=60)
@given(Steps)
@example([("file", 0, 0), ("wait", 1, 0), ("push", 3, 6)])  # a correction that the log has and the file has not
@example([("file", 1, 2), ("push", 0, 3), ("file", 2, 5), ("wait", 3, 0), ("file", 3, 9)])
def test_whatever_comes_the_state_is_as_if_built_anew(steps: list[tuple[str, int, int]]) -> None:
    rows = sales(8, 150, 0)
    with TemporaryDirectory() as folder:
        house = House(Path(folder))
        house.write(0, days(rows, 0, 1))
        house.clock.advance_to(to_micros(BEGIN + timedelta(days=1)))
        house.build()
        for number, (what, place, size) in enumerate(steps):
            if what == "file":
                house.write(place, days(rows, size, size + 2))
            elif what == "push":
                pushed = plain_values(rows[place * 7 : place * 7 + size].drop_nulls(["at", "id"])).rows()
                house.feed.push("sales", pushed)
            elif what == "aside":
                house.mark(place, "aside")
            else:
                house.clock.advance_to(house.clock.now() + place * 86_400_000_000)
            house.clock.advance_to(house.clock.now() + 1 + number)
            found = house.follow()
            if not any(each.problem for each in found):
                as_if_built_anew(house)


def begin(root: Path) -> None:
    house = House(root)
    house.clock.advance_to(LONG_AFTER_US)
    house.build()


def follow(root: Path) -> None:
    house = House(root)
    house.clock.advance_to(LONG_AFTER_US)
    house.follow()


def test_killed_while_it_takes_news_in(tmp_path: Path) -> None:
    rows = sales(5, 3000, 0)
    roots = [tmp_path / "undisturbed", tmp_path / "killed"]
    for root in roots:
        root.mkdir()
        days(rows, 0, 5).write_parquet(root / "sales-0.parquet")
        os.utime(root / "sales-0.parquet", (1, 1))
        begin(root)
        days(rows, 5, 30).write_parquet(root / "sales-1.parquet")
        os.utime(root / "sales-1.parquet", (1, 1))
    follow(roots[0])
    killed_at_random(roots[1], "follow", 6, 0.4, module="test_following_files")
    states = [dict(LmdbOnline(root / "online").scan(b"")) for root in roots]
    assert states[0] == states[1]
