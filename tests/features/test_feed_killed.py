"""kill -9 while rows are applied and while state is built: afterwards it is what it would have been, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_backfill import BEGIN, SALES, VIEWS, sales

from charkha.clock import SimulatedClock, to_micros
from charkha.features.feed import Feed
from charkha.features.materialise import plain_values
from charkha.features.prepared import Bounds
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

BATCHES, BATCH = 40, 25
BUILT_US = to_micros(BEGIN + timedelta(days=20))
CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from {module} import {what}
root = Path(sys.argv[1])
(root / "begun").touch()
{what}(root)
"""


def make_feed(root: Path, clock: SimulatedClock) -> Feed:
    return Feed({"sales": SALES}, VIEWS, SegmentLog(root / "log"), LmdbOnline(root / "online"), clock)


def build(root: Path) -> None:
    """Build the state from files, and say when it is there."""
    make_feed(root, SimulatedClock(BUILT_US)).materialise(root, BUILT_US)
    (root / "built").touch()


def rebuild_in_files(root: Path) -> None:
    """Build it anew, as of a later time, of so many buckets that it takes a while; say when it is written."""

    def doing(done: int, total: int, what: str) -> None:
        if what.startswith("writing"):
            (root / "writing").touch()

    clock, bounds = SimulatedClock(BUILT_US), Bounds(whole_rows=0, bucket_rows=100)
    log, store = SegmentLog(root / "log"), LmdbOnline(root / "online")
    Feed({"sales": SALES}, VIEWS, log, store, clock, bounds=bounds).materialise(root, BUILT_US, doing, anew=True)


def push_all(root: Path) -> None:
    """Push every batch at its own time, from the one on that is not yet known to be acknowledged."""
    ids = pl.int_range(50_000, 50_000 + BATCHES * BATCH)
    rows = plain_values(sales(7, BATCHES * BATCH, 0).with_columns(id=ids).drop_nulls("at")).rows()
    acknowledged = root / "acknowledged"
    first = int(acknowledged.read_text()) if acknowledged.exists() else 0
    clock = SimulatedClock(BUILT_US)
    feed = make_feed(root, clock)
    for batch in range(first, BATCHES):
        clock.advance_to(BUILT_US + batch * 60_000_000)
        feed.push("sales", rows[batch * BATCH : (batch + 1) * BATCH])
        partial = root / "acknowledged.partial"
        partial.write_text(str(batch + 1))
        os.replace(partial, acknowledged)


def world(root: Path) -> Path:
    root.mkdir()
    for number in range(2):
        file = root / f"sales-{number}.parquet"
        sales(number, 1500, 10_000 * number).write_parquet(file)
        os.utime(file, (1, 1))  # the state remembers what it was built from
    return root


def state_of(root: Path) -> dict[bytes, bytes]:
    store = LmdbOnline(root / "online")
    try:
        return dict(store.scan(b""))
    finally:
        store.close()


def killed_at_random(
    root: Path,
    what: str,
    kills: int,
    longest_seconds: float,
    module: str = "test_feed_killed",
    *,
    sign: str = "begun",
    afterwards: Callable[[], None] = lambda: None,
) -> int:
    """Start it again and again, killed after a random time, then let it end; return how many kills met it at work.

    sign: the file from whose appearance on it may be killed. afterwards: called after each kill.
    """
    command = [
        sys.executable,
        "-c",
        CHILD.format(tests=str(Path(__file__).parent), module=module, what=what),
        str(root),
    ]
    environment = {**os.environ, "TMPDIR": str(root)}  # what a killed process leaves
    dice, met, begun = np.random.default_rng(5), 0, root / sign
    for _ in range(kills):
        begun.unlink(missing_ok=True)
        with subprocess.Popen(command, env=environment) as child:
            while child.poll() is None and not begun.exists():
                time.sleep(0.001)
            time.sleep(dice.uniform(0, longest_seconds))
            if child.poll() is None:
                os.kill(child.pid, signal.SIGKILL)
                met += 1
        afterwards()
    subprocess.run(command, env=environment, check=True)
    return met


def test_pushes(tmp_path: Path) -> None:
    undisturbed, killed = world(tmp_path / "undisturbed"), world(tmp_path / "killed")
    for root in (undisturbed, killed):
        build(root)
    push_all(undisturbed)
    assert killed_at_random(killed, "push_all", 6, 0.05) >= 2
    assert state_of(killed) == state_of(undisturbed)
    assert list(SegmentLog(killed / "log").read("events/sales")) == list(
        SegmentLog(undisturbed / "log").read("events/sales")
    )


def test_building_the_state(tmp_path: Path) -> None:
    undisturbed, killed = world(tmp_path / "undisturbed"), world(tmp_path / "killed")
    build(undisturbed)
    assert killed_at_random(killed, "build", 5, 0.05) >= 2
    assert state_of(killed) == state_of(undisturbed)


@pytest.mark.parametrize(("sign", "longest_seconds"), [("begun", 0.4), ("writing", 0.05)])
def test_building_the_state_of_a_large_source_anew(tmp_path: Path, sign: str, longest_seconds: float) -> None:
    """The former state is there until the new one is, and that is the one of memory."""
    undisturbed, killed = world(tmp_path / "undisturbed"), world(tmp_path / "killed")
    build(undisturbed)
    former_us = BUILT_US - 15 * 86_400_000_000
    make_feed(killed, SimulatedClock(former_us)).materialise(killed, former_us)
    states = [state_of(killed), state_of(undisturbed)]
    assert states[0] != states[1]
    met: list[int] = []

    def look() -> None:
        met.append(states.index(state_of(killed)))

    assert killed_at_random(killed, "rebuild_in_files", 6, longest_seconds, sign=sign, afterwards=look) >= 2
    # Once one has come as far as its commit, all later looks find the new state: the first may do so while it writes.
    assert sign == "writing" or met.count(0) >= 1
    assert any(killed.glob("charkha-state-*"))
    assert state_of(killed) == states[1]
