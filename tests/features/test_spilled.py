"""Sources larger than memory: cut into buckets in files they give what they give in memory, to the last bit."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest
from attrs import evolve
from feature_streams import Stream, as_frame, streams
from feature_ways import questions_in, spine_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_backfill import PLAN, SALES, in_memory, read, write_world

import charkha as ck
from charkha.clock import SimulatedClock
from charkha.engines.local import LocalEngine
from charkha.features.backfill import backfill, with_times
from charkha.features.buckets import Buckets
from charkha.features.declared import DataError
from charkha.features.feed import Feed
from charkha.features.offline import offline_features
from charkha.features.queries import query_frames
from charkha.features.reading import Sources
from charkha.features.rows import read_rows
from charkha.features.spool import spooled
from charkha.storage.home import open_home
from charkha.storage.parts import WORKPLACE

bounds = st.tuples(st.sampled_from([0, 5, 1000]), st.integers(1, 30), st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=30)  # each is some backfills' worth of kernels
@given(streams(), bounds, st.booleans(), st.randoms(use_true_random=False))
def test_whatever_the_bounds_the_features_are_those_of_memory(
    stream: Stream, bounds: tuple[int, int, int, int], keyed: bool, random: Random
) -> None:
    memory_rows, bucket_rows, rows_at_once, most_rows = bounds
    declared = stream.world.source if keyed else evolve(stream.world.source, key=())
    plan = evolve(stream.world.plan, views=tuple(evolve(each, source=declared) for each in stream.world.views))
    events = [*stream.files[0], *stream.files[1], *(event for push in stream.pushes for event in push.rows)]
    random.shuffle(events)  # in no order of time, over two files
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("charkha.features.pieces._MOST_ROWS", most_rows)
        root = Path(folder)
        for number in range(2):
            as_frame(events[number::2], stream.world).write_parquet(root / f"rows-{number}.parquet")
        asked, spine = questions_in(root, stream), spine_of(stream)
        sources = Sources(root, {"events": declared}, memory_rows=memory_rows, bucket_rows=bucket_rows)
        found = read(backfill(plan, asked, sources, root / "out", rows_at_once=rows_at_once))
        rows = {"events": read_rows(declared, root)}
        # By the same stretches: the last bit of a sum depends on which other questions are asked of its hop.
        stretches = [spine[low : low + rows_at_once] for low in range(0, max(1, spine.height), rows_at_once)]
        expected = pl.concat(offline_features(plan, stretch, rows, LocalEngine(1)) for stretch in stretches)
        assert found.select(plan.names).equals(expected)
        assert not (root / "out" / WORKPLACE).exists()


@pytest.mark.parametrize("bucket_rows", [50, 700, 10_000])
def test_large_files_are_cut_and_pushed_rows_come_behind_them(tmp_path: Path, bucket_rows: int) -> None:
    root = write_world(tmp_path)
    told: list[str] = []
    with open_home(tmp_path / "home") as home:
        feed = Feed({"sales": SALES}, PLAN.views, home.log, home.online, SimulatedClock(1_704_400_000_000_000))
        rows = pl.read_parquet(root / "sales-1.parquet").drop_nulls("at").head(200)
        feed.push("sales", rows.with_columns(pl.col("at", "known_at").dt.epoch("us"), amount=pl.lit(5.0)).rows())
        sources = Sources(root, {"sales": SALES}, home.log, memory_rows=0, bucket_rows=bucket_rows)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("charkha.features.pieces._MOST_ROWS", 333)
            patch.setattr("charkha.features.rows._PUSHED_AT_ONCE", 20)
            asked = root / "questions.parquet"
            found = read(backfill(PLAN, asked, sources, root / "out", on_progress=lambda *what: told.append(what[2])))
        spine = with_times(PLAN, pl.read_parquet(root / "questions.parquet")).select(*PLAN.request, "_at_us")
        whole = {"sales": read_rows(SALES, root, home.log)}
        assert found.select(PLAN.names).equals(offline_features(PLAN, spine, whole, LocalEngine(1)))
    assert "sorting sales into buckets: 333 of 3,200 rows read" in told


@pytest.mark.parametrize("bounds", [{"whole_rows": 0}, {"memory_rows": 0}])
def test_rows_that_were_pushed_and_came_in_a_file_later_are_told_alike(tmp_path: Path, bounds: dict[str, int]) -> None:
    """Column by column and in buckets as in memory: known from their push on."""
    root = write_world(tmp_path)
    with open_home(tmp_path / "home") as home:
        rows = pl.concat([pl.read_parquet(file) for file in sorted(root.glob("sales-*.parquet"))]).drop_nulls("at")
        middle = rows["known_at"].drop_nulls().dt.epoch("us").sort()[rows.height // 2]
        feed = Feed({"sales": SALES}, PLAN.views, home.log, home.online, SimulatedClock(middle))
        again = rows.sample(300, seed=5).with_columns(pl.col("at", "known_at").dt.epoch("us"))
        assert feed.push("sales", again.select(list(SALES.fields)).rows()).accepted > 200
        asked = root / "questions.parquet"
        found = read(backfill(PLAN, asked, Sources(root, {"sales": SALES}, home.log, **bounds), root / "out"))
        spine = with_times(PLAN, pl.read_parquet(asked)).select(*PLAN.request, "_at_us")
        whole = {"sales": read_rows(SALES, root, home.log)}
        assert whole["sales"]["_pushed"].sum() > 100
        assert found.select(PLAN.names).equals(offline_features(PLAN, spine, whole, LocalEngine(1)))
        alone = {"sales": read_rows(SALES, root)}
        assert not found.select(PLAN.names).equals(offline_features(PLAN, spine, alone, LocalEngine(1)))


def test_times_in_text_are_read_some_at_a_time(tmp_path: Path) -> None:
    root = write_world(tmp_path)
    frame = pl.concat([pl.read_parquet(root / f"sales-{number}.parquet") for number in range(2)])
    frame.write_csv(root / "sales.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    declared = ck.Source("sales", dict(SALES.fields), ck.csv("sales.csv"), time="at", known="known_at", key="id")
    plan = evolve(PLAN, views=tuple(evolve(each, source=declared) for each in PLAN.views))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("charkha.features.pieces._MOST_ROWS", 100)
        sources = Sources(root, {"sales": declared}, memory_rows=0, bucket_rows=500)
        found = read(backfill(plan, root / "questions.parquet", sources, root / "out"))
        assert found.select(PLAN.names).equals(in_memory(root))
        text = (root / "sales.csv").read_text().splitlines()
        text[-1] = text[-1].replace("2024-01-", "the day ")
        (root / "sales.csv").write_text("\n".join(text))
        with pytest.raises(DataError, match="cannot be read as declared"):
            backfill(plan, root / "questions.parquet", sources, root / "again")


def test_a_row_without_its_key_is_refused(tmp_path: Path) -> None:
    root = write_world(tmp_path)
    frame = pl.read_parquet(root / "sales-1.parquet")
    frame.with_columns(id=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("id")).write_parquet(
        root / "sales-1.parquet"
    )
    with pytest.raises(DataError, match=r"expected the key \['id'\] in every row, got 1"):
        backfill(PLAN, root / "questions.parquet", Sources(root, {"sales": SALES}, memory_rows=0), tmp_path / "out")
    assert not (tmp_path / "out" / WORKPLACE).exists()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_world(tmp_path)

    def full(buckets: Buckets, rows: pl.DataFrame) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Buckets, "add", full)
    with pytest.raises(DataError, match=r"3,000 rows are cut .* No space left on device\. Make room there"):
        backfill(PLAN, root / "questions.parquet", Sources(root, {"sales": SALES}, memory_rows=0), tmp_path / "out")
    assert not (tmp_path / "out" / WORKPLACE).exists()


def test_a_bucket_has_all_rows_of_its_keys_in_their_order(tmp_path: Path) -> None:
    schema = pl.Schema({"key": pl.Int64(), "text": pl.String(), "place": pl.Int64()})
    frame = pl.DataFrame(
        {"key": [value % 7 or None for value in range(100)], "text": ["é"] * 100, "place": range(100)}, schema=schema
    )
    buckets = Buckets(tmp_path / "buckets", ("key",), 3, schema)
    for low in range(0, 100, 9):
        buckets.add(frame[low : low + 9])
    parts = [buckets.read(number) for number in range(3)]
    assert pl.concat(parts).sort("place").equals(frame)
    assert sum(part["key"].n_unique() for part in parts) == 7
    assert all(part["place"].is_sorted() for part in parts)
    assert buckets.read(0, ["place"]).equals(parts[0].select("place"))
    buckets.delete(0)
    assert buckets.read(0).equals(frame.clear())


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_backfill import PLAN, SALES, backfill
from charkha.features import pieces
from charkha.features.reading import Sources
root, pieces._MOST_ROWS = Path(sys.argv[1]), 100
sources = Sources(root, {{"sales": SALES}}, memory_rows=0, bucket_rows=100)
backfill(PLAN, root / "questions.parquet", sources, root / "out", rows_at_once=100)
"""


def is_there(folder: Path, name: str) -> bool:
    """Say whether a folder has something so called, at any depth; it may be deleted meanwhile."""
    try:
        return any(folder.rglob(name))
    except FileNotFoundError:
        return False


def test_killed_while_cutting_and_joining_it_ends_as_if_never_killed(tmp_path: Path) -> None:
    root, dice = write_world(tmp_path), np.random.default_rng(3)
    command = [sys.executable, "-c", CHILD.format(tests=str(Path(__file__).parent)), str(root)]
    buckets = root / "out" / WORKPLACE
    killed = {"cutting": 0, "joining": 0}
    for what in ("cutting", "joining", "cutting", "joining"):
        with subprocess.Popen(command) as child:
            have = len(list((root / "out").glob("part-*.parquet")))
            deadline = time.monotonic() + 60
            while child.poll() is None and time.monotonic() < deadline:
                begun = is_there(buckets, "by-row" if what == "cutting" else "by-entity-2")
                parts = len(list((root / "out").glob("part-*.parquet")))
                if begun and (what == "cutting" or parts > have):
                    time.sleep(dice.uniform(0, 0.05))
                    os.kill(child.pid, signal.SIGKILL)
                    killed[what] += 1
                    break
                time.sleep(0.002)
        assert buckets.exists()  # left behind
    assert min(killed.values()) >= 1
    assert subprocess.run(command, check=True).returncode == 0
    assert read(sorted((root / "out").glob("part-*.parquet"))).select(PLAN.names).equals(in_memory(root))
    assert sorted(path.name for path in (root / "out").iterdir()) == [
        "backfill.json",
        *(f"part-{number:05d}.parquet" for number in range(5)),
    ]


def test_ctrl_c_leaves_no_files_behind(tmp_path: Path) -> None:
    root = write_world(tmp_path)

    def interrupt(done: int, total: int, what: str) -> None:
        if what.startswith("joining"):
            assert any((tmp_path / "out" / WORKPLACE).rglob("by-entity-*"))
            raise KeyboardInterrupt

    sources = Sources(root, {"sales": SALES}, memory_rows=0, bucket_rows=100)
    with pytest.raises(KeyboardInterrupt):
        backfill(PLAN, root / "questions.parquet", sources, tmp_path / "out", on_progress=interrupt)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["backfill.json"]


def test_a_query_that_gives_much_is_kept_in_files_and_is_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_world(tmp_path)
    frame = pl.concat([pl.read_parquet(root / f"sales-{number}.parquet") for number in range(2)])
    texts = frame.with_columns(pl.col("at", "known_at").dt.to_string("iso:strict"))
    texts.write_database("sales", f"sqlite:///{root}/sales.db", engine="sqlalchemy")
    declared = ck.Source(
        "sales",
        dict(SALES.fields),
        ck.sql("select * from sales", "sqlite:///sales.db"),
        time="at",
        known="known_at",
        key="id",
    )
    plan = evolve(PLAN, views=tuple(evolve(each, source=declared) for each in PLAN.views))
    run: list[str] = []
    kept: list[int] = []

    def fetched(*what: Any) -> Iterator[pl.DataFrame]:
        run.append("once")
        return query_frames(*what, rows_at_once=50)

    monkeypatch.setattr("charkha.features.batches.query_frames", fetched)
    monkeypatch.setattr("charkha.features.batches.spooled", partial(spooled, rows_at_once=200))

    def look(done: int, total: int, what: str) -> None:
        if what.startswith("joining"):
            kept.append(len(list((tmp_path / "out" / WORKPLACE).rglob("*.arrow"))))

    for memory_rows in (0, 10_000):
        kept.clear()
        run.clear()
        sources = Sources(root, {"sales": declared}, memory_rows=memory_rows, bucket_rows=10_000)
        out = tmp_path / "out"
        parts = backfill(plan, root / "questions.parquet", sources, out, rows_at_once=200, on_progress=look)
        assert read(parts).select(PLAN.names).equals(in_memory(root))
        assert run == ["once"]
        assert set(kept) == {15}
        for part in parts:
            part.unlink()
