"""State of sources larger than memory: made bucket by bucket in files it is what it is in memory, bit for bit."""

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest
from attrs import evolve
from feature_streams import Stream, as_frame, cases, streams
from feature_ways import Live
from hypothesis import given
from hypothesis import strategies as st
from test_backfill import BEGIN, SALES, VIEWS, sales

import charkha as ck
from charkha.clock import SimulatedClock, to_micros
from charkha.features.buckets import Buckets
from charkha.features.building import Followed
from charkha.features.declared import DataError
from charkha.features.feed import Feed
from charkha.features.materialise import plain_values
from charkha.features.prepared import Bounds
from charkha.features.progress import taken_of
from charkha.features.sorted_pairs import Pairs, SortedPairs
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.online import OnlineStore
from charkha.storage.segment_log import SegmentLog

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
DAY_10_US = to_micros(BEGIN + timedelta(days=10))
IN_MEMORY, SMALL = Bounds(), Bounds(whole_rows=0, bucket_rows=100)


@pytest.fixture(scope="module")
def store() -> Iterator[LmdbOnline]:
    """One store for all cases, each of which empties it."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        opened = LmdbOnline(Path(folder))
        yield opened
        opened.close()


class Built:
    """A source with its files in a folder, and its state in a store: as of a time, within bounds."""

    def __init__(self, root: Path, store: OnlineStore, source: Source, views: tuple[FeatureView, ...]) -> None:
        self.root, self.store, self.source = root, store, source
        self.views = tuple(evolve(view, source=source) for view in views)

    def feed(self, now_us: int, bounds: Bounds) -> Feed:
        log, clock = SegmentLog(self.root / "log"), SimulatedClock(now_us)
        return Feed({self.source.name: self.source}, self.views, log, self.store, clock, bounds=bounds)

    def state(self, now_us: int, bounds: Bounds, as_of_us: int | None = None) -> dict[bytes, bytes]:
        """Return all that the store has when it was built from nothing."""
        with self.store.write() as state:
            state.delete_prefix(b"")
        self.feed(now_us, bounds).materialise(self.root, now_us if as_of_us is None else as_of_us)
        return dict(self.store.scan(b""))


@cases(60)
@given(streams(), st.integers(1, 40), st.integers(1, 9), st.integers(0, 50), st.booleans(), st.randoms())
def test_whatever_the_bounds_the_state_is_that_of_memory(
    store: LmdbOnline, stream: Stream, bucket_rows: int, most_rows: int, hours: int, keyed: bool, random: Random
) -> None:
    declared = stream.world.source if keyed else evolve(stream.world.source, key=())
    bounds = Bounds(whole_rows=0, bucket_rows=bucket_rows)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("charkha.features.pieces._MOST_ROWS", most_rows)
        root = Path(folder)
        if keyed:
            live = Live.of(stream, root, store)
            live.run()
            now_us, as_of_us = live.clock.now(), live.clock.now()
        else:
            events = [*stream.files[0], *stream.files[1], *(event for push in stream.pushes for event in push.rows)]
            random.shuffle(events)
            as_frame(events, stream.world).write_parquet(root / "rows-0.parquet")
            now_us, as_of_us = stream.built_us, stream.built_us - hours * 3_600_000_000
        built = Built(root, store, declared, stream.world.views)
        assert built.state(now_us, bounds, as_of_us) == built.state(now_us, IN_MEMORY, as_of_us)


@pytest.fixture
def house(tmp_path: Path, store: LmdbOnline) -> Built:
    """Two files with corrections, repetitions, nulls and rows that are never known, and a log with pushed rows."""
    frames = [sales(number, 1500, 10_000 * number) for number in range(2)]
    frames[1] = pl.concat([frames[1], frames[0][::7]])
    for number, frame in enumerate(frames):
        frame.write_parquet(tmp_path / f"sales-{number}.parquet")
    built = Built(tmp_path, store, SALES, VIEWS)
    with store.write() as state:
        state.delete_prefix(b"")
    again = frames[0].drop_nulls(["at"])[::9]
    rows = pl.concat([again, again[:40].with_columns(amount=pl.lit(5.0), shop=pl.lit("s1"))])
    built.feed(DAY_10_US - 5 * 86_400_000_000, IN_MEMORY).push("sales", plain_values(rows).rows())
    return built


@pytest.mark.parametrize("bucket_rows", [25, 700, 100_000])
@pytest.mark.parametrize("day", [8, 20])
def test_files_and_pushed_rows_by_a_time(house: Built, bucket_rows: int, day: int) -> None:
    bounds, as_of_us = Bounds(whole_rows=0, bucket_rows=bucket_rows), to_micros(BEGIN + timedelta(days=day))
    found = house.state(DAY_10_US, bounds, as_of_us)
    with house.store.read() as state:
        taken = taken_of(state, "sales")
    assert taken is not None
    assert (taken.waiting_us is None) == (day == 20)
    assert found == house.state(DAY_10_US, IN_MEMORY, as_of_us)
    assert len(found) > 1500


def test_the_small_are_made_in_memory_and_the_large_in_files(
    house: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unwritable(buckets: Buckets, number: int, rows: pl.DataFrame) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Buckets, "append", unwritable)
    rows = 3000 + 215 + 320  # of the files, and pushed
    house.state(DAY_10_US, Bounds(whole_rows=rows))
    with pytest.raises(DataError, match=r"rows are cut into files in .* No space left on device\. Make room there"):
        house.state(DAY_10_US, Bounds(whole_rows=100))


@pytest.mark.parametrize(
    "source",
    [
        evolve(SALES, key=()),
        evolve(SALES, key=["id", "shop"]),
        evolve(SALES, time=None, known=None, static=True),
    ],
    ids=["no key", "composite", "static"],
)
@pytest.mark.parametrize("views", [VIEWS, VIEWS[1:2], ()], ids=["three", "one", "none"])
def test_sources_of_other_kinds(
    store: LmdbOnline, tmp_path: Path, source: Source, views: tuple[FeatureView, ...]
) -> None:
    sales(3, 2000, 0).drop_nulls("shop").write_parquet(tmp_path / "sales-0.parquet")
    views = tuple(evolve(view, windows=(), latest=["amount"]) for view in views) if source.static else views
    built = Built(tmp_path, store, source, views)
    found = built.state(DAY_10_US, SMALL)
    assert found == built.state(DAY_10_US, IN_MEMORY)
    assert bool(source.key) == any(place.startswith(b"\x00row:") for place in found)


def test_a_csv_file_and_filters_and_wide_states(
    store: LmdbOnline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charkha.features.prepared._BUCKET_FLOATS", 5000)
    times = "%Y-%m-%d %H:%M:%S"
    sales(3, 2000, 0).write_csv(tmp_path / "sales.csv", datetime_format=times)
    source = evolve(SALES, data=ck.csv("sales.csv"))
    odd = ck.sum("amount", over="1d", where=pl.col("city").cast(pl.Int64) > 0, name="odd")
    wide = [ck.distinct("city", over="1d"), ck.quantile("amount", q=0.5, over="7d"), odd]
    view = ck.FeatureView("wide", ck.Entity("shop"), source, windows=wide)
    other = ck.FeatureView("other", ck.Entity("shop"), source, windows=[odd], latest=["city"])
    built = Built(tmp_path, store, source, (view, other))
    assert built.state(DAY_10_US, SMALL) == built.state(DAY_10_US, IN_MEMORY)


def test_news_build_a_large_source_anew(house: Built) -> None:
    house.state(DAY_10_US, SMALL, DAY_10_US)
    (house.root / "sales-1.parquet").unlink()
    told: list[str] = []
    found = house.feed(DAY_10_US + 1, SMALL).follow(house.root, doing=told.append)
    assert found == [Followed("sales", anew="sales-1.parquet is not read any more")]
    kept = dict(house.store.scan(b""))
    house.state(DAY_10_US, IN_MEMORY, DAY_10_US)
    (house.root / "sales-0.parquet").touch()
    house.feed(DAY_10_US + 1, IN_MEMORY).follow(house.root)
    anew = dict(house.store.scan(b""))
    for state in (kept, anew):  # why it was built, and times that never go back
        for place in (b"\x00taken:sales", b"\x00newest:sales", b"\x00newest:"):
            del state[place]
    assert kept == anew
    assert "looking through sales" in told
    assert any(what.startswith("sorting sales into buckets: 1,500 of ") for what in told)
    assert any(what.startswith("telling corrections of sales apart: 1 of ") for what in told)
    assert any(what.startswith("building card: 1 of ") for what in told)
    assert told[-1] == "writing the state of sales"


def test_progress_is_told_by_source_and_bucket(house: Built) -> None:
    told: list[tuple[int, int, str]] = []
    with house.store.write() as state:
        state.delete_prefix(b"")
    house.feed(DAY_10_US, SMALL).materialise(house.root, DAY_10_US, lambda *what: told.append(what))
    assert told[0] == (0, 1, "looking through sales")
    assert told[-1] == (1, 1, "done")


@pytest.mark.parametrize("call", [0, 5, 60, 200])
def test_a_full_disk_leaves_the_state_and_no_files(
    house: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: int
) -> None:
    """Whichever file it is that cannot be written."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    before = house.state(DAY_10_US, SMALL, DAY_10_US)
    (house.root / "sales-1.parquet").unlink()
    append, calls = Buckets.append, [0]

    def full(buckets: Buckets, number: int, rows: pl.DataFrame) -> None:
        calls[0] += 1
        if calls[0] > call:
            raise OSError(28, "No space left on device")
        append(buckets, number, rows)

    monkeypatch.setattr(Buckets, "append", full)
    found = house.feed(DAY_10_US + 1, SMALL).follow(house.root)
    assert "No space left on device. Make room there" in found[0].problem
    assert dict(house.store.scan(b"")) == before
    assert not list((tmp_path / "temporary").iterdir())


def test_what_fails_while_it_is_written_leaves_the_state_and_no_files(
    house: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    before = house.state(DAY_10_US, SMALL, DAY_10_US)
    (house.root / "sales-1.parquet").unlink()
    read = SortedPairs.read

    def spoilt(pairs: SortedPairs) -> Iterator[Pairs]:
        yield next(read(pairs))
        assert list((tmp_path / "temporary").iterdir())
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(SortedPairs, "read", spoilt)
    with pytest.raises(OSError, match="Input/output error"):
        house.feed(DAY_10_US + 1, SMALL).follow(house.root)
    assert dict(house.store.scan(b"")) == before
    assert not list((tmp_path / "temporary").iterdir())


def test_a_row_without_its_key_is_refused_if_it_counts(store: LmdbOnline, tmp_path: Path) -> None:
    frame = sales(3, 2000, 0).drop_nulls(["at", "known_at"]).sort("known_at")
    frame = frame.with_columns(id=pl.when(pl.int_range(pl.len()) == 1500).then(None).otherwise("id"))
    frame.write_parquet(tmp_path / "sales-0.parquet")
    built, known_us = Built(tmp_path, store, SALES, VIEWS), to_micros(frame["known_at"][1500])
    assert built.state(DAY_10_US, SMALL, known_us - 1) == built.state(DAY_10_US, IN_MEMORY, known_us - 1)
    for bounds in (SMALL, IN_MEMORY):
        with pytest.raises(DataError, match=r"expected the key \['id'\] in every row, got 1"):
            built.state(DAY_10_US, bounds, known_us)
