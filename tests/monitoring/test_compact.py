"""Compact or not, the same predictions: whatever was logged in whatever order, wherever a compaction died."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from logged import BUNDLES, MODEL, START_US, Version, label, make_model, predict
from polars.testing import assert_frame_equal

import charkha as ck
from charkha.monitoring import archive as archiving
from charkha.monitoring import logged as logged_rows
from charkha.monitoring.collect import collect, predictions_table
from charkha.monitoring.compact import compact
from charkha.monitoring.logged import archive_of, logged_predictions, logged_steps
from charkha.monitoring.outcomes import outcomes
from charkha.monitoring.performance import Span
from charkha.monitoring.prune import prune
from charkha.serving.prediction_log import prediction_stream
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.storage.home import Home, open_home
from charkha.storage.locks import locked
from charkha.storage.log import UnknownPosition
from charkha.storage.segment_log import SegmentLog

STREAM = prediction_stream(MODEL)
LATE = make_model()


def small(home: Home) -> Home:
    """Return a home whose segments are small."""
    return evolve(home, log=SegmentLog(home.folder / "log", segment_bytes=500))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path) as opened:
        yield small(opened)


def days_of(home: Home, days: int, hours: tuple[int, ...] = (1, 12, 23)) -> None:
    for day in range(days):
        for hour in hours:
            for partition in ("web-0", "web-1"):
                scores = [0.1, 0.4, 0.7]
                versions = [Version("v1", "champion", scores), Version("v2", "shadow", scores[::-1])]
                predict(home, START_US + day * DAY_US + hour * HOUR_US, versions, partition)


def rows(home: Home) -> pl.DataFrame:
    """Return all predictions in an order of their own, whichever form they have."""
    found = logged_predictions(home, MODEL, BUNDLES)
    return found.select(sorted(found.columns)).sort("id", "version", "role")


def compacted(home: Home, now_us: int) -> int:
    collect(home, LATE, BUNDLES)
    return compact(home, LATE, BUNDLES, now_us).rows


def test_past_days_become_compact_and_stay_what_they_were(home: Home) -> None:
    days_of(home, 3)
    before, now_us = rows(home), START_US + 2 * DAY_US + HOUR_US
    assert before.height == 3 * 3 * 2 * 6
    assert compacted(home, now_us) > 0
    assert_frame_equal(rows(home), before)
    assert next(home.log.read(STREAM)).start > 0  # the first ones are no longer in the log
    assert compacted(home, now_us) == 0
    assert compacted(home, now_us + DAY_US) > 0
    assert_frame_equal(rows(home), before)
    assert home.log.sealed(STREAM) == []
    files = sorted(path.parent.name for path in archive_of(home, MODEL).files())
    assert set(files) == {"day=2013-04-01", "day=2013-04-02", "day=2013-04-03"}
    days_of(home, 1, hours=(13,))  # the log goes on where it was
    assert rows(home).height == before.height + 12


def test_anybody_can_read_it(home: Home) -> None:
    days_of(home, 2)
    compacted(home, START_US + 5 * DAY_US)
    frame = pl.read_parquet(home.folder / "predictions" / "**" / "*.parquet", hive_partitioning=True)
    assert frame.columns[:8] == ["id", "time", "seen", "version", "role", "score", "decision", "rules"]
    assert {"request.carrier", "traffic.count_1h", "plane.maker", "model", "day"} <= set(frame.columns)
    assert frame["time"].dtype == pl.Datetime("us", "UTC")
    assert (frame["time"].dt.date() == frame["day"].cast(pl.Date)).all()
    assert (frame.height, set(frame["model"])) == (72, {MODEL})


def test_what_is_not_collected_yet_stays_in_the_log(home: Home) -> None:
    days_of(home, 1)
    assert compact(home, LATE, BUNDLES, START_US + 5 * DAY_US).rows == 0
    collect(home, LATE, BUNDLES)
    assert compact(home, LATE, BUNDLES, START_US + 5 * DAY_US).rows == 36


def test_what_is_being_read_is_dropped_later(home: Home) -> None:
    days_of(home, 1)
    collect(home, LATE, BUNDLES)
    before, now_us = rows(home), START_US + 5 * DAY_US
    with locked(home.folder / ".reading", shared=True):
        assert compact(home, LATE, BUNDLES, now_us).waits
        assert_frame_equal(rows(home), before)
        assert prune(home, LATE, now_us + 500 * DAY_US).waits
    assert home.log.sealed(STREAM)
    assert not compact(home, LATE, BUNDLES, now_us).waits
    assert home.log.sealed(STREAM) == []
    assert_frame_equal(rows(home), before)


def test_spans_positions_and_outcomes_are_the_same(home: Home) -> None:
    days_of(home, 3)
    ids = predict(home, START_US, [Version("v1", "champion", [0.3, 0.6])])
    label(home, ids, [1.0, 0.0], START_US + HOUR_US)
    span = Span(START_US + 12 * HOUR_US, START_US + DAY_US + 2 * HOUR_US)
    now_us = START_US + 9 * DAY_US

    def seen() -> list[pl.DataFrame]:
        steps = pl.concat([step.rows for step in logged_steps(home, MODEL, BUNDLES, span=span)], how="diagonal_relaxed")
        return [steps.sort("id", "version"), outcomes(home, LATE, START_US, now_us, now_us).sort("id", "version")]

    collect(home, LATE, BUNDLES)
    before = seen()
    compacted(home, now_us)
    for former, now in zip(before, seen(), strict=True):
        assert_frame_equal(now, former, check_column_order=False)
    stretch = archive_of(home, MODEL).stretches()[0]
    steps = logged_steps(home, MODEL, BUNDLES, {stretch.partition: stretch.end})
    assert next(step.start for step in steps if step.partition == stretch.partition) == stretch.end
    with pytest.raises(UnknownPosition):
        list(logged_steps(home, MODEL, BUNDLES, {stretch.partition: stretch.start + 1}))


def test_tables_are_built_anew_from_the_compact_form(home: Home) -> None:
    days_of(home, 2)
    compacted(home, START_US + 5 * DAY_US)
    table = predictions_table(MODEL)
    before = home.tables.scan(table).collect().sort("id", "version")
    home.ledger.set_checkpoint(f"collected/{STREAM}", {})
    collect(home, LATE, BUNDLES)
    found = home.tables.scan(table).collect().select(before.columns).sort("id", "version")
    assert_frame_equal(found, before)


def test_retention_removes_whole_days(home: Home) -> None:
    model = evolve(LATE, log=ck.LogPolicy(keep_days=34))
    days_of(home, 3)
    compacted(home, START_US + 5 * DAY_US)
    now_us = START_US + 36 * DAY_US - 1
    pruned = prune(home, model, now_us)
    assert (pruned.rows, pruned.before) == (36, "2013-04-02")
    assert rows(home).height == 72
    assert home.tables.scan(predictions_table(MODEL)).collect().height == 72
    assert prune(home, model, now_us).rows == 0
    assert prune(home, model, now_us + 99 * DAY_US).rows == 72
    assert rows(home).is_empty()
    assert archive_of(home, MODEL).files() == {}
    days_of(home, 1)
    assert rows(home).height == 36


BATCH = st.tuples(st.integers(0, 95), st.sampled_from(["web-0", "web-1", "web-2"]), st.integers(1, 9))


@given(
    logged=st.lists(st.one_of(BATCH, st.integers(20, 130)), max_size=30),
    segment_bytes=st.integers(200, 4000),
    step=st.integers(1, 9),
)
@settings(max_examples=25)
def test_whenever_it_is_compacted_all_is_there_once(
    logged: list[tuple[int, str, int] | int], segment_bytes: int, step: int
) -> None:
    """Batches at any hour of four days, in any order, and compactions at any hour in between."""
    with TemporaryDirectory() as folder, open_home(Path(folder)) as opened, pytest.MonkeyPatch.context() as patch:
        patch.setattr(logged_rows, "STEP_RECORDS", step)
        home = evolve(opened, log=SegmentLog(opened.folder / "log", segment_bytes=segment_bytes))
        expected: list[str] = []
        for each in logged:
            if isinstance(each, int):
                compacted(home, START_US + each * HOUR_US)
            else:
                hour, partition, size = each
                versions = [Version("v1", "champion", [0.5] * size)]
                expected += predict(home, START_US + hour * HOUR_US, versions, partition)
            assert sorted(rows(home)["id"]) == sorted(expected)
        before = rows(home)
        compacted(home, START_US + 200 * DAY_US)
        assert_frame_equal(rows(home), before)
        assert home.log.sealed(STREAM) == []


class Killed(BaseException):
    """The process is gone."""


def dying(change: Callable[..., Any], calls: Iterator[int], death: int, *, after: bool) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        dies = next(calls) == death
        if dies and not after:
            raise Killed
        result = change(*arguments, **named)
        if dies:
            raise Killed
        return result

    return call


@pytest.mark.parametrize("after", [False, True])
def test_wherever_it_dies_nothing_is_lost_and_nothing_twice(tmp_path: Path, *, after: bool) -> None:
    now_us, died = START_US + 5 * DAY_US, 0
    for death in count():
        with open_home(tmp_path / str(death)) as opened:
            home = small(opened)
            days_of(home, 2)
            collect(home, LATE, BUNDLES)
            before, calls = rows(home), count()
            with pytest.MonkeyPatch.context() as patch:
                for owner, name in ((os, "replace"), (Path, "replace"), (Path, "unlink"), (archiving, "flush")):
                    patch.setattr(owner, name, dying(getattr(owner, name), calls, death, after=after))
                try:
                    compact(home, LATE, BUNDLES, now_us)
                except Killed:
                    died += 1
                else:
                    break
            assert_frame_equal(rows(home), before)
            compact(home, LATE, BUNDLES, now_us)
            assert_frame_equal(rows(home), before)
            assert home.log.sealed(STREAM) == []
    assert died > 20


COMPACT_FOREVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from attrs import evolve
from logged import BUNDLES, START_US, make_model
from charkha.monitoring.compact import compact
from charkha.spec.durations import DAY_US
from charkha.storage.home import open_home
from charkha.storage.segment_log import SegmentLog
with open_home(Path(sys.argv[1])) as home:
    print("ready", flush=True)
    small = evolve(home, log=SegmentLog(home.folder / "log", segment_bytes=500))
    compact(small, make_model(), BUNDLES, START_US + 90 * DAY_US)
"""


def test_a_process_killed_while_it_compacts(tmp_path: Path) -> None:
    instants, killed = random.Random(3), 0
    with open_home(tmp_path) as opened:
        home = small(opened)
        days_of(home, 20)
        collect(home, LATE, BUNDLES)
        before = rows(home)
        for _ in range(6):
            arguments = [sys.executable, "-c", COMPACT_FOREVER, str(tmp_path), str(Path(__file__).parent)]
            with subprocess.Popen(arguments, stdout=subprocess.PIPE) as child:
                assert child.stdout is not None
                child.stdout.readline()
                time.sleep(instants.uniform(0, 0.15))
                killed += child.poll() is None
                child.kill()
            assert_frame_equal(rows(home), before)
        assert killed > 0
        compact(home, LATE, BUNDLES, START_US + 90 * DAY_US)
        assert_frame_equal(rows(home), before)
        assert home.log.sealed(STREAM) == []
