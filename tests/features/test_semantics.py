"""The awkward rows on which feature stores lose data, leak or disagree: one meaning, offline and online, of files and
of pushed rows. Each test is a row of docs/features.md.
"""

from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from attrs import evolve, field, frozen

import charkha as ck
from charkha.clock import SimulatedClock, to_datetime, to_micros
from charkha.engines.local import LocalEngine
from charkha.features.backfill import backfill
from charkha.features.feed import Feed
from charkha.features.offline import offline_features
from charkha.features.online import online_features
from charkha.features.plan import FeaturePlan
from charkha.features.reading import Sources
from charkha.features.rows import read_rows
from charkha.spec.fields import polars_schema
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

NOON_US = to_micros(datetime(2024, 5, 1, 12, tzinfo=UTC))
MICROSECOND, MINUTE, DAY = 1, 60_000_000, 86_400_000_000
MAX_AGE = 30 * DAY

FIELDS = {"order": int, "shop": str, "at": datetime, "seen": datetime, "amount": float}
ORDERS = ck.Source("orders", FIELDS, ck.parquet("orders.parquet"), time="at", known="seen", key="order")
PUSHED = ck.Source("orders", FIELDS, time="at", known="seen", key="order")
SHOP = ck.FeatureView(
    "shop", ck.Entity("shop"), ORDERS, windows=[ck.count(over="1h")], latest=["amount"], max_age="30d"
)
PLAN = FeaturePlan(
    (SHOP,),
    {"shop": str, "price": float},
    "asked_at",
    {"ask.ratio": pl.col("price") / pl.col("shop.amount") + 0.1},
    ("shop.count_1h", "shop.amount", "ask.ratio"),
)


@frozen
class Row:
    """An order. Times are µs after noon; it becomes known when it happens unless told."""

    order: int
    shop: str
    amount: float | None
    at_us: int = 0
    seen_us: int = field()

    @seen_us.default
    def _when_it_happens(self) -> int:
        return self.at_us

    def values(self) -> tuple[Any, ...]:
        times = (to_datetime(NOON_US + self.at_us), to_datetime(NOON_US + self.seen_us))
        return (self.order, self.shop, *times, self.amount)


@frozen
class Ask:
    """A prediction that is asked for, µs after noon."""

    shop: str
    at_us: int = 0
    price: float = 1.0


Answers = list[tuple[Any, ...]]


class World:
    """Rows and questions, answered in four ways: offline and online, rows from files and rows pushed."""

    def __init__(self, folder: Path, rows: list[Row], asks: list[Ask]) -> None:
        self.folder = folder
        self.rows = sorted(rows, key=lambda row: row.seen_us)
        self.asks = asks

    def answers(self) -> dict[str, Answers]:
        log, online_of_pushes = self.pushed()
        self.write(self.folder)
        return {
            "offline, files": self.offline(read_rows(ORDERS, self.folder)),
            "online, files": [self.online_of_files(ask) for ask in self.asks],
            "offline, pushed": self.offline(read_rows(PUSHED, self.folder, log)),
            "online, pushed": online_of_pushes,
        }

    def write(self, folder: Path) -> None:
        values = [row.values() for row in self.rows]
        pl.DataFrame(values, schema=polars_schema(FIELDS), orient="row").write_parquet(folder / "orders.parquet")

    def offline(self, rows: pl.DataFrame) -> Answers:
        spine = pl.DataFrame(
            [(ask.shop, ask.price, NOON_US + ask.at_us) for ask in self.asks],
            schema={"shop": pl.String(), "price": pl.Float64(), "_at_us": pl.Int64()},
            orient="row",
        )
        return offline_features(PLAN, spine, {"orders": rows}, LocalEngine(1)).rows()

    def online_of_files(self, ask: Ask) -> tuple[Any, ...]:
        """Return the answer of a state that is built when it is asked."""
        place = self.folder / f"built-{ask.at_us}-{ask.shop}"
        store, clock = LmdbOnline(place / "online"), SimulatedClock(NOON_US + ask.at_us)
        Feed({"orders": ORDERS}, [SHOP], SegmentLog(place / "log"), store, clock).materialise(self.folder, clock.now())
        return tuple(served(store, ask))

    def pushed(self) -> tuple[SegmentLog, Answers]:
        """Push each row when it becomes known, those of one moment together, and ask in between."""
        log, store = SegmentLog(self.folder / "log"), LmdbOnline(self.folder / "online")
        first = min((row.seen_us for row in self.rows), default=0)
        clock = SimulatedClock(NOON_US + min(first, *(ask.at_us for ask in self.asks)))
        feed = Feed({"orders": PUSHED}, [SHOP], log, store, clock)
        batches = [(seen, list(rows)) for seen, rows in groupby(self.rows, key=lambda row: row.seen_us)]
        answers: dict[int, tuple[Any, ...]] = {}
        for place, ask in sorted(enumerate(self.asks), key=lambda numbered: numbered[1].at_us):
            while batches and batches[0][0] <= ask.at_us:
                push(feed, clock, *batches.pop(0))
            answers[place] = served(store, ask)
        for batch in batches:
            push(feed, clock, *batch)
        return log, [answers[place] for place in range(len(self.asks))]


def push(feed: Feed, clock: SimulatedClock, seen_us: int, rows: list[Row]) -> None:
    clock.advance_to(NOON_US + seen_us)
    feed.push("orders", [row.values() for row in rows])


def served(store: LmdbOnline, *asks: Ask) -> Any:
    """Return the answer to one question, or to several of one time in one call."""
    request = pl.DataFrame(
        [(ask.shop, ask.price) for ask in asks], schema={"shop": pl.String(), "price": pl.Float64()}, orient="row"
    )
    with store.read() as state:
        rows = online_features(PLAN, state, request, NOON_US + asks[0].at_us).rows()
    return rows[0] if len(asks) == 1 else rows


def assert_all(folder: Path, rows: list[Row], expected: dict[Ask, tuple[Any, ...]] | list[tuple[Ask, Any]]) -> None:
    """Expect (count over an hour, latest amount) of each question, in all four ways."""
    pairs = list(expected.items()) if isinstance(expected, dict) else expected
    found = World(folder, rows, [ask for ask, _ in pairs]).answers()
    wanted = [values for _, values in pairs]
    assert {way: [answer[:2] for answer in answers] for way, answers in found.items()} == dict.fromkeys(found, wanted)


def test_a_value_just_older_than_max_age_is_null_and_its_question_stays(tmp_path: Path) -> None:
    exactly, over = Ask("a", MAX_AGE), Ask("a", MAX_AGE + MICROSECOND)
    assert_all(tmp_path, [Row(1, "a", 7.0)], {exactly: (0.0, 7.0), over: (0.0, None)})


def test_a_value_months_past_its_max_age_is_null(tmp_path: Path) -> None:
    assert_all(tmp_path, [Row(1, "a", 7.0)], {Ask("a", 200 * DAY): (0.0, None)})


def test_a_question_before_all_rows_of_its_key_stays(tmp_path: Path) -> None:
    rows = [Row(1, "a", 7.0, at_us=DAY), Row(2, "b", 1.0, at_us=-MINUTE)]
    assert_all(tmp_path, rows, {Ask("a"): (0.0, None), Ask("nobody"): (0.0, None), Ask("b"): (1.0, 1.0)})


def test_two_questions_of_one_key_and_time_stay_two(tmp_path: Path) -> None:
    asks = [Ask("a", MINUTE), Ask("a", MINUTE), Ask("a", MINUTE)]
    assert_all(tmp_path, [Row(1, "a", 7.0)], [(ask, (1.0, 7.0)) for ask in asks])


def test_a_correction_is_not_seen_before_it_was_written(tmp_path: Path) -> None:
    rows = [Row(1, "a", 7.0), Row(1, "a", 9.0, seen_us=5 * MINUTE)]
    before, at = Ask("a", 5 * MINUTE - MICROSECOND), Ask("a", 5 * MINUTE)
    assert_all(tmp_path, rows, {before: (1.0, 7.0), at: (1.0, 9.0)})


def test_a_late_row_is_not_seen_before_it_was_known(tmp_path: Path) -> None:
    rows = [Row(1, "a", 7.0), Row(2, "a", 8.0, at_us=MINUTE, seen_us=5 * MINUTE)]
    assert_all(tmp_path, rows, {Ask("a", 4 * MINUTE): (1.0, 7.0), Ask("a", 5 * MINUTE): (2.0, 8.0)})


def test_an_older_event_that_comes_after_a_newer_changes_no_latest_value(tmp_path: Path) -> None:
    rows = [Row(1, "a", 2.0, at_us=MINUTE), Row(2, "a", 1.0, at_us=0, seen_us=2 * MINUTE)]
    assert_all(tmp_path, rows, {Ask("a", MINUTE): (1.0, 2.0), Ask("a", 3 * MINUTE): (2.0, 2.0)})


def test_of_rows_out_of_order_in_one_batch_the_newest_event_counts(tmp_path: Path) -> None:
    rows = [
        Row(1, "a", 1.0, at_us=2 * MINUTE, seen_us=5 * MINUTE),
        Row(2, "a", 2.0, at_us=3 * MINUTE, seen_us=5 * MINUTE),
        Row(3, "a", 3.0, at_us=MINUTE, seen_us=5 * MINUTE),
        # Within one second, which a store that keeps seconds cannot tell apart.
        Row(4, "b", 2.0, at_us=MINUTE + 900_000, seen_us=5 * MINUTE),
        Row(5, "b", 1.0, at_us=MINUTE + 100_000, seen_us=5 * MINUTE),
    ]
    assert_all(tmp_path, rows, {Ask("a", 6 * MINUTE): (3.0, 2.0), Ask("b", 6 * MINUTE): (2.0, 2.0)})


def test_a_correction_with_the_same_event_time_is_taken(tmp_path: Path) -> None:
    rows = [Row(1, "a", 1.0), Row(1, "a", 9.0, seen_us=MINUTE)]
    assert_all(tmp_path, rows, {Ask("a", MINUTE): (1.0, 9.0)})


def test_of_two_rows_of_one_event_time_the_later_to_arrive_counts(tmp_path: Path) -> None:
    rows = [Row(1, "a", 1.0), Row(2, "a", 9.0), Row(3, "b", 1.0), Row(4, "b", 9.0, at_us=0, seen_us=MINUTE)]
    assert_all(tmp_path, rows, {Ask("a", MINUTE): (2.0, 9.0), Ask("b", MINUTE): (2.0, 9.0)})


def test_a_null_in_the_newest_row_is_the_value(tmp_path: Path) -> None:
    rows = [Row(1, "a", 7.0), Row(2, "a", None, at_us=MINUTE)]
    assert_all(tmp_path, rows, {Ask("a", 2 * MINUTE): (2.0, None)})


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_times_of_files_in_any_unit_mean_the_same(tmp_path: Path, unit: Any) -> None:
    World(tmp_path, [Row(1, "a", 7.0), Row(2, "a", 9.0, at_us=2_000)], []).write(tmp_path)
    path = tmp_path / "orders.parquet"
    expected = read_rows(ORDERS, tmp_path)
    pl.read_parquet(path).with_columns(pl.col("at", "seen").cast(pl.Datetime(unit, "UTC"))).write_parquet(path)
    assert read_rows(ORDERS, tmp_path).equals(expected)


def test_with_a_lag_a_row_is_not_seen_by_the_prediction_that_is_asked_at_its_time(tmp_path: Path) -> None:
    """Nor until the lag is over; online and offline, and in a backfill, whichever way it reads."""
    world = World(tmp_path, [Row(1, "a", 7.0)], [Ask("a"), Ask("a", 2_000_000 - 1), Ask("a", 2_000_000)])
    world.write(tmp_path)
    lagging = evolve(ORDERS, lag="2s")
    plan = evolve(PLAN, views=(evolve(SHOP, source=lagging),))
    answers = [(0.0, None), (0.0, None), (1.0, 7.0)]
    assert [row[:2] for row in world.offline(read_rows(lagging, tmp_path))] == answers
    asked = pl.DataFrame(
        {
            "shop": ["a"] * 3,
            "price": [1.0] * 3,
            "asked_at": [to_datetime(NOON_US + ask.at_us) for ask in world.asks],
        }
    )
    asked.write_parquet(tmp_path / "questions.parquet")
    whole = Sources(tmp_path, {"orders": lagging})
    for number, sources in enumerate([whole, evolve(whole, whole_rows=0), evolve(whole, memory_rows=0)]):
        (part,) = backfill(plan, tmp_path / "questions.parquet", sources, tmp_path / f"out-{number}")
        assert pl.read_parquet(part).select("shop.count_1h", "shop.amount").rows() == answers
    store, clock = LmdbOnline(tmp_path / "online"), SimulatedClock(NOON_US + 2_000_000 - 1)
    feed = Feed({"orders": lagging}, plan.views, SegmentLog(tmp_path / "log"), store, clock)
    feed.materialise(tmp_path, clock.now())
    with store.read() as state:
        assert online_features(plan, state, asked.drop("asked_at")[:1], clock.now()).row(0)[:2] == answers[1]
    clock.advance_to(NOON_US + 2_000_000)
    feed.follow(tmp_path)
    with store.read() as state:
        assert online_features(plan, state, asked.drop("asked_at")[:1], clock.now()).row(0)[:2] == answers[2]


@pytest.mark.parametrize("year", [1931, 2024])
def test_nanoseconds_are_cut_to_the_microsecond_before(tmp_path: Path, year: int) -> None:
    at_us = write_fine_time(tmp_path, year)
    assert read_rows(ORDERS, tmp_path).select("_event_us", "_known_us").row(0) == (at_us, at_us)


def test_a_row_known_within_a_microsecond_is_seen_from_it_on(tmp_path: Path) -> None:
    at_us = write_fine_time(tmp_path, 2024)
    world = World(tmp_path, [], [Ask("a", at_us - 1 - NOON_US), Ask("a", at_us - NOON_US)])
    answers = [(0.0, None), (1.0, 7.0)]
    assert [row[:2] for row in world.offline(read_rows(ORDERS, tmp_path))] == answers
    assert [world.online_of_files(ask)[:2] for ask in world.asks] == answers


def write_fine_time(folder: Path, year: int) -> int:
    """Write an order that happens 1,999 ns after a noon; return that microsecond (µs since 1970)."""
    noon = pl.Series([datetime(year, 5, 1, 12)], dtype=pl.Datetime("ns"))
    times = (noon.dt.epoch("ns") + 1_999).cast(pl.Datetime("ns", "UTC"))
    frame = pl.DataFrame({"order": [1], "shop": ["a"], "at": times, "seen": times, "amount": [7.0]})
    frame.write_parquet(folder / "orders.parquet")
    return to_micros(datetime(year, 5, 1, 12, tzinfo=UTC)) + 1


def test_a_pushed_time_in_another_zone_is_the_same_moment(tmp_path: Path) -> None:
    log, store, clock = SegmentLog(tmp_path / "log"), LmdbOnline(tmp_path / "online"), SimulatedClock(NOON_US)
    feed = Feed({"orders": PUSHED}, [SHOP], log, store, clock)
    order, shop, at, seen, amount = Row(1, "a", 7.0).values()
    feed.push("orders", [(order, shop, at, seen, amount)])
    kolkata = pl.Series([at]).dt.convert_time_zone("Asia/Kolkata")[0]
    assert kolkata.utcoffset() == timedelta(hours=5, minutes=30)
    assert feed.push("orders", [(order, shop, kolkata, seen, amount)]).duplicates == 1


def test_request_features_have_the_same_bits_of_float32_files_too(tmp_path: Path) -> None:
    """Arithmetic is in float64 in both paths, whatever width a file has."""
    amounts = np.random.default_rng(5).random(200, dtype=np.float32) + 0.01
    rows = [Row(number, f"s{number}", float(amount)) for number, amount in enumerate(amounts)]
    asks = [Ask(row.shop, MINUTE, price=0.1 * row.order) for row in rows]
    world = World(tmp_path, rows, asks)
    world.write(tmp_path)
    path = tmp_path / "orders.parquet"
    pl.read_parquet(path).with_columns(pl.col("amount").cast(pl.Float32)).write_parquet(path)
    store, clock = LmdbOnline(tmp_path / "online"), SimulatedClock(NOON_US + MINUTE)
    Feed({"orders": ORDERS}, [SHOP], SegmentLog(tmp_path / "log"), store, clock).materialise(tmp_path, clock.now())

    offline = world.offline(read_rows(ORDERS, tmp_path))
    one_by_one = [served(store, ask) for ask in asks]

    assert offline == one_by_one == served(store, *asks)
    assert [ratio for *_, ratio in offline] == [
        ask.price / row.amount + 0.1 for ask, row in zip(asks, rows, strict=True) if row.amount
    ]


def test_four_requests_in_one_call_get_four_answers_in_their_order(tmp_path: Path) -> None:
    rows = [Row(1, "a", 1.0), Row(2, "b", 2.0), Row(3, "c", None)]
    log, store, clock = SegmentLog(tmp_path / "log"), LmdbOnline(tmp_path / "online"), SimulatedClock(NOON_US)
    push(Feed({"orders": PUSHED}, [SHOP], log, store, clock), clock, 0, rows)
    asks = [Ask("b", price=4.0), Ask("nobody", price=5.0), Ask("a", price=6.0), Ask("c", price=7.0)]
    answers = [(1.0, 2.0, 4.0 / 2.0 + 0.1), (0.0, None, None), (1.0, 1.0, 6.0 / 1.0 + 0.1), (1.0, None, None)]
    assert served(store, *asks) == answers
    assert [served(store, ask) for ask in asks] == answers
    assert World(tmp_path, rows, asks).offline(read_rows(PUSHED, tmp_path, log)) == answers


def test_a_row_is_taken_back_by_a_correction_of_nulls(tmp_path: Path) -> None:
    rows = [Row(1, "a", 7.0), Row(1, "a", None, seen_us=MINUTE)]
    assert_all(tmp_path, rows, {Ask("a"): (1.0, 7.0), Ask("a", 2 * MINUTE): (1.0, None)})


def test_a_row_of_a_clock_that_runs_ahead_is_the_newest_until_a_newer_one_comes(tmp_path: Path) -> None:
    rows = [
        Row(1, "a", 7.0, at_us=10 * MINUTE, seen_us=0),
        Row(2, "a", 1.0, at_us=MINUTE),
        Row(3, "a", 2.0, at_us=11 * MINUTE),
    ]
    assert_all(tmp_path, rows, {Ask("a", 2 * MINUTE): (2.0, 7.0), Ask("a", 12 * MINUTE): (3.0, 2.0)})


def test_a_correction_to_an_earlier_event_time_leaves_the_latest_value_as_it_was(tmp_path: Path) -> None:
    rows = [
        Row(1, "a", 7.0, at_us=10 * MINUTE, seen_us=0),
        Row(1, "a", 1.0, at_us=MINUTE, seen_us=2 * MINUTE),
        Row(2, "a", 2.0, at_us=5 * MINUTE),
        Row(3, "a", 3.0, at_us=11 * MINUTE),
    ]
    expected = {Ask("a", 3 * MINUTE): (1.0, 7.0), Ask("a", 6 * MINUTE): (2.0, 7.0), Ask("a", 12 * MINUTE): (3.0, 3.0)}
    assert_all(tmp_path, rows, expected)


def test_a_row_of_a_wrong_time_is_corrected_at_that_time(tmp_path: Path) -> None:
    rows = [
        Row(1, "a", 7.0, at_us=10 * MINUTE, seen_us=0),
        Row(1, "a", 1.0, at_us=10 * MINUTE, seen_us=2 * MINUTE),
    ]
    assert_all(tmp_path, rows, {Ask("a", MINUTE): (1.0, 7.0), Ask("a", 3 * MINUTE): (1.0, 1.0)})
