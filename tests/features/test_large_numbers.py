"""Numbers that no float can hold are null on both paths, and so is what comes of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import charkha as ck
from charkha.clock import SimulatedClock, to_micros
from charkha.engines.local import LocalEngine
from charkha.features.backfill import BackfillRefused, with_times
from charkha.features.feed import ClockBehind, Feed
from charkha.features.offline import offline_features
from charkha.features.online import online_features
from charkha.features.plain_rows import NotPushable
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.rows import read_rows
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
ORDERS = ck.Source("orders", {"order": int, "shop": str, "at": datetime, "paid": float}, time="at", key="order")
KINDS = (ck.sum, ck.mean, ck.variance, ck.std)
VIEW = ck.FeatureView(
    "v",
    ck.Entity("shop"),
    ORDERS,
    windows=[
        *(kind("paid", over="1h") for kind in KINDS),
        ck.ratio(ck.max("paid", over="1h"), ck.min("paid", over="1h")),
    ],
)
ASKED = {
    "ask.share": pl.col("top") / pl.col("below"),
    "ask.much": pl.col("ask.share") > 1,
}
PLAN = FeaturePlan(
    (VIEW,), {"shop": str, "top": float, "below": float}, "asked_at", ASKED, (*feature_names(VIEW), *ASKED)
)
LARGEST = 1.7976931348623157e308


class Shop:
    """A feed without files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, SimulatedClock(to_micros(NOON))
        self.log, self.store = SegmentLog(folder / "log"), LmdbOnline(folder / "online")
        self.feed = Feed({"orders": ORDERS}, (VIEW,), self.log, self.store, self.clock)
        self.feed.materialise(folder, self.clock.now())

    def answers(self, top: float | None, below: float | None, copies: int = 1) -> list[tuple[object, ...]]:
        """Answers to one question, asked so many times in one call: online, and offline."""
        asked = pl.DataFrame({"shop": "a", "top": [top] * copies, "below": [below] * copies}, strict=False)
        asked = asked.cast({"top": pl.Float64, "below": pl.Float64})
        now_us = self.clock.now()
        with self.store.read() as state:
            online = online_features(PLAN, state, asked, now_us)
        spine = asked.with_columns(_at_us=pl.lit(now_us, pl.Int64))
        rows = {"orders": read_rows(ORDERS, self.folder, self.log)}
        return [online.row(copies - 1), offline_features(PLAN, spine, rows, LocalEngine(1)).row(copies - 1)]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("paid", "expected"),
    [
        ([LARGEST, LARGEST], (None, None, 0.0, 0.0, 1.0)),
        ([1e160, 2e160, 1.0], (3e160, 1e160, None, None, 2e160)),
        ([1e-200, 1e200], (1e200, 5e199, None, None, None)),
        ([None, LARGEST], (LARGEST, LARGEST, None, None, 1.0)),
    ],
)
def test_what_is_beyond_a_float_is_null(shop: Shop, paid: list[float | None], expected: tuple[object, ...]) -> None:
    for number, value in enumerate(paid):
        shop.feed.push("orders", [(number, "a", NOON, value)])
    assert [answer[:5] for answer in shop.answers(1.0, 1.0)] == [pytest.approx(expected)] * 2


@pytest.mark.parametrize("copies", [1, 3, 200])
@pytest.mark.parametrize(("top", "below"), [(0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (1e300, 1e-300), (None, 1.0)])
def test_a_request_feature_that_is_not_finite_is_null_and_so_is_what_reads_it(
    shop: Shop, top: float | None, below: float, copies: int
) -> None:
    assert [answer[5:] for answer in shop.answers(top, below, copies)] == [(None, None)] * 2
    assert [answer[5:] for answer in shop.answers(3.0, 2.0, copies)] == [(1.5, True)] * 2


def test_numbers_of_questions_are_finite_whole_ones_fit_and_times_are_of_this_calendar() -> None:
    plan = FeaturePlan((), {"number": int, "share": float}, "at", {}, ())
    asked = pl.DataFrame({"number": [1, 2, 3], "share": [float("nan"), float("inf"), -0.0], "at": [NOON] * 3})
    assert with_times(plan, asked)["share"].to_list() == [None, None, 0.0]
    with pytest.raises(BackfillRefused, match="expected questions that fit the request's types"):
        with_times(plan, asked.with_columns(number=pl.lit(2**64 - 1, pl.UInt64)))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((1, "a\ud800", NOON, 1.0), "a lone surrogate"),
        ((1, "a", 300_000_000_000_000_000, 1.0), "'at' in the years 1 to 9999"),
        ((1, "a", -63_000_000_000_000_000, 1.0), "'at' in the years 1 to 9999"),
    ],
)
def test_what_no_file_could_hold_is_refused(shop: Shop, row: tuple[object, ...], said: str) -> None:
    with pytest.raises(NotPushable, match=said):
        shop.feed.push("orders", [(0, "a", NOON, 1.0), row])
    assert shop.answers(1.0, 1.0)[0][0] is None


def test_a_clock_that_is_far_behind_the_state_takes_no_rows(tmp_path: Path) -> None:
    ahead = Shop(tmp_path)
    ahead.clock.advance_to(to_micros(NOON + timedelta(days=365)))
    ahead.feed.push("orders", [(1, "a", NOON, 1.0)])
    slow = Feed({"orders": ORDERS}, (VIEW,), ahead.log, ahead.store, SimulatedClock(to_micros(NOON)))
    with pytest.raises(
        ClockBehind, match="newest row of source 'orders', known at 2025-05-01T12:00:00Z, got 2024-05-01T12:00:00Z"
    ):
        slow.push("orders", [(2, "a", NOON, 1.0)])
