"""What a prediction had seen: a push that commits while it reads is not counted, and nothing else is left out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import charkha as ck
from charkha.clock import SimulatedClock, to_micros
from charkha.engines.local import LocalEngine
from charkha.features.feed import Feed
from charkha.features.offline import offline_features
from charkha.features.online import online_features
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.progress import newest_known
from charkha.features.rows import read_rows
from charkha.features.seen import LONGEST_COMMIT_US, features_as_seen
from charkha.spec.fields import polars_schema
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
NOON_US = to_micros(NOON)
FIELDS = {"order": int, "shop": str, "at": datetime, "amount": float}
ORDERS = ck.Source("orders", FIELDS, ck.parquet("orders.parquet"), time="at", key="order")
WINDOWS = [ck.sum("amount", over="1h"), ck.count(over=["1h", "2d"]), ck.last("amount", over="10m")]
VIEW = ck.FeatureView("shop", ck.Entity("shop"), ORDERS, windows=WINDOWS, latest=["amount"])
NAMES = tuple(feature_names(VIEW))
PLAN = FeaturePlan((VIEW,), {"shop": str}, "asked_at", {}, NAMES)


class Shop:
    """A feed over real storage, with one row in its files, known at eleven."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rows = [(1, "a", NOON - timedelta(hours=1), 5.0)]
        pl.DataFrame(rows, schema=polars_schema(FIELDS), orient="row").write_parquet(folder / "orders.parquet")
        self.log, self.store = SegmentLog(folder / "log"), LmdbOnline(folder / "online")
        self.clock = SimulatedClock(NOON_US)
        self.feed = Feed({"orders": ORDERS}, (VIEW,), self.log, self.store, self.clock)
        self.feed.materialise(folder, NOON_US)

    def push(self, order: int, amount: float, shop: str = "a") -> None:
        self.clock.advance_to(self.clock.now() + 1_000)
        self.feed.push("orders", [(order, shop, NOON, amount)])

    def rows(self) -> dict[str, pl.DataFrame]:
        return {"orders": read_rows(ORDERS, self.folder, self.log)}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def spine(*asked: tuple[str | None, int, int | None]) -> pl.DataFrame:
    return pl.DataFrame(asked, schema={"shop": pl.String, "_at_us": pl.Int64, "_seen_us": pl.Int64}, orient="row")


def values(shop: Shop, questions: pl.DataFrame) -> list[tuple[Any, ...]]:
    return features_as_seen(PLAN, questions, shop.rows(), LocalEngine(1)).rows()


def test_a_row_that_commits_while_a_prediction_reads_is_not_counted(shop: Shop) -> None:
    shop.push(2, 10.0)
    with shop.store.read() as snapshot:
        shop.push(3, 20.0)
        at_us, seen_us = shop.clock.now(), newest_known(snapshot)
        served = online_features(PLAN, snapshot, pl.DataFrame({"shop": ["a"]}), at_us).row(0)
    assert served == (15.0, 2.0, 2.0, 10.0, 10.0)
    known = offline_features(PLAN, spine(("a", at_us, None)).drop("_seen_us"), shop.rows(), LocalEngine(1)).row(0)
    assert known == (35.0, 3.0, 3.0, 20.0, 20.0)
    assert values(shop, spine(("a", at_us, seen_us))) == [served]


def test_questions_keep_their_places_and_others_count_all_that_was_known(shop: Shop) -> None:
    shop.push(2, 10.0)
    shop.push(3, 20.0)
    shop.push(4, 1.0, "b")
    now_us = shop.clock.now()
    asked = spine(
        ("b", now_us, now_us), ("a", now_us, now_us - 2_000), (None, now_us, 0), ("a", now_us, None), ("a", now_us, 0)
    )
    assert [row[1] for row in values(shop, asked)] == [1.0, 2.0, None, 3.0, 1.0]


def test_the_tail_of_a_window_stays_where_the_question_puts_it(shop: Shop) -> None:
    """Rows were seen until just before noon; the window of ten minutes is that of five minutes past."""
    shop.push(2, 10.0)
    at_us = NOON_US + 5 * 60_000_000
    shop.clock.advance_to(at_us - 1_001)
    shop.push(3, 20.0)
    (row,) = values(shop, spine(("a", at_us, NOON_US + 1_000)))
    assert row == (10.0, 1.0, 2.0, 10.0, 10.0)
    (later,) = values(shop, spine(("a", NOON_US + 20 * 60_000_000, NOON_US + 1_000)))
    assert later == (30.0, 2.0, 3.0, None, 20.0)


def test_a_state_that_is_far_behind_excuses_nothing(shop: Shop) -> None:
    shop.push(2, 10.0)
    late_us = shop.clock.now() + LONGEST_COMMIT_US
    assert [row[1] for row in values(shop, spine(("a", late_us, 0), ("a", late_us - 1, 0)))] == [2.0, 1.0]


def test_rows_of_files_count_from_when_they_were_known(shop: Shop) -> None:
    assert [row[1] for row in values(shop, spine(("a", NOON_US, 0)))] == [1.0]
    assert shop.rows()["orders"]["_pushed"].to_list() == [False]
    shop.push(2, 10.0)
    assert shop.rows()["orders"]["_pushed"].to_list() == [False, True]


LIVELY = ck.FeatureView(
    "lively",
    ck.Entity("shop"),
    ORDERS,
    windows=[
        ck.count(over=["10m", "1d"]),
        ck.last("amount", over="1h"),
        ck.time_since_last(over="1d"),
        ck.decayed_sum("amount", half_life="1m", over="10m"),
    ],
    latest=["amount"],
    max_age="20m",
)
MINUTES = {"ask.minute": pl.col("asked_at").dt.minute(), "ask.twice": pl.col("lively.count_10m") * 2}
DECAYED = "lively.decayed_sum_1m_amount_10m"  # of which other questions may change the last bits
LIVELY_NAMES = (*feature_names(LIVELY), *MINUTES)
LIVELY_PLAN = FeaturePlan((LIVELY,), {"shop": str}, "asked_at", MINUTES, LIVELY_NAMES)
ticks = st.one_of(st.integers(0, 90).map(lambda minutes: minutes * 60_000_000), st.integers(0, 90 * 60_000_000))
rows_pushed = st.lists(st.tuples(st.sampled_from("ab"), ticks, st.integers(0, 30), st.booleans()), max_size=30)
asked_of = st.lists(st.tuples(st.sampled_from("ab"), ticks, st.integers(0, 70_000_000)), min_size=1, max_size=12)


# A row of a file becomes known between a snapshot and its question; and there a latest value grows too old.
@example([("a", 601_000_000, 0, False), ("a", 601_000_001, 0, True)], [("a", 601_000_100, 200)])
@example([("a", 61_000_000, 0, True), ("a", 1_261_000_000, 30, True)], [("a", 1_261_000_050, 100)])
@settings(max_examples=50, deadline=None)
@given(rows_pushed, asked_of)
def test_each_question_counts_what_its_snapshot_held(told: Any, questions: Any) -> None:
    """Against the obvious version: every question alone, from the rows of files known and of pushes seen by then."""
    ordered = sorted(told, key=lambda row: row[1])
    known = [NOON_US + tick for _, tick, _, _ in ordered]
    rows = pl.DataFrame(
        {
            "order": range(len(ordered)),
            "shop": [shop for shop, *_ in ordered],
            "amount": [float(number) for number in range(len(ordered))],
            "_event_us": [time - age * 60_000_000 for time, (_, _, age, _) in zip(known, ordered, strict=True)],
            "_known_us": known,
            "_pushed": [pushed for *_, pushed in ordered],
            "_first": [True] * len(ordered),
        },
        schema_overrides={"shop": pl.String, "amount": pl.Float64, "_event_us": pl.Int64, "_known_us": pl.Int64}
        | {"_pushed": pl.Boolean, "_first": pl.Boolean},
    )
    asked = spine(*((shop, NOON_US + tick, NOON_US + tick - behind) for shop, tick, behind in questions))
    found = features_as_seen(LIVELY_PLAN, asked, {"orders": rows}, LocalEngine(1))
    for place, (_, at_us, seen_us) in enumerate(asked.rows()):
        cut_us = max(seen_us, at_us - LONGEST_COMMIT_US)
        seen = rows.filter(~pl.col("_pushed") | (pl.col("_known_us") <= cut_us))
        alone = offline_features(LIVELY_PLAN, asked[[place]].drop("_seen_us"), {"orders": seen}, LocalEngine(1))
        decayed, expected = found[DECAYED][place], alone[DECAYED][0]
        assert decayed is expected if None in (decayed, expected) else decayed == pytest.approx(expected, rel=1e-9)
        assert found[[place]].drop(DECAYED).equals(alone.drop(DECAYED))
