"""Filters of windows: computed once for many rows, the same online and offline, stored as data."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

import charkha as ck
from charkha.clock import SimulatedClock, to_micros
from charkha.engines.local import LocalEngine
from charkha.features import filters
from charkha.features.expressions import UnsafeExpression
from charkha.features.feed import Feed
from charkha.features.filters import filter_values, filters_of, with_filters
from charkha.features.offline import offline_features
from charkha.features.online import online_features
from charkha.features.plan import FeaturePlan, view_from_plain, view_to_plain
from charkha.features.rows import read_rows
from charkha.features.state import columns_of, view_digest
from charkha.spec.views import FeatureView
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
FIELDS = {"id": int, "card": str, "shop": str, "at": datetime, "paid": float, "code": str, "online": bool}
PAYMENTS = ck.Source("payments", FIELDS, time="at", key="id")
NIGHT = pl.col("at").dt.hour() < 6
LARGE = pl.col("code").cast(pl.Int64) > 100  # a strict cast: it fails on text that is no number


def view(name: str, *keys: str) -> FeatureView:
    return ck.FeatureView(
        name,
        ck.Entity(name, keys or ("card",)),
        PAYMENTS,
        windows=[
            ck.count(over=["1h", "all"], where=NIGHT, name="night"),
            ck.sum("paid", over="all", where=LARGE, name="large"),
            ck.sum("paid", over=["2h", "all"], where=pl.col("online") & pl.col("shop").is_in(["s", "t"]), name="net"),
            ck.distinct("code", over="all"),
            ck.ratio(ck.count(over="all", where=NIGHT), ck.count(over="all"), name="night_share"),
            ck.last("paid", over="all"),
        ],
    )


VIEWS = (view("card"), view("pair", "card", "shop"))
PLAN = FeaturePlan(
    VIEWS,
    {"card": str, "shop": str},
    "asked_at",
    {},
    tuple(f"{of.name}.{name}" for of in VIEWS for name in of.window_features()),
)


def payments() -> list[tuple[Any, ...]]:
    """Payments of two cards in three shops, by night and by day, some with odd codes or nulls."""
    codes, shops = ["7", "700", None, "seven", "101"], ["s", "t", "u"]
    return [
        (
            number,
            f"c{number % 2}",
            shops[number % 3],
            NOON + timedelta(hours=7 * number),
            float(number),
            codes[number % 5],
            None if number % 7 == 0 else number % 4 > 0,
        )
        for number in range(60)
    ]


@pytest.fixture
def answers(tmp_path: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The features of every card and shop after some pushes of several rows each: online and offline."""
    log, store, clock = SegmentLog(tmp_path / "log"), LmdbOnline(tmp_path / "online"), SimulatedClock(to_micros(NOON))
    feed = Feed({"payments": PAYMENTS}, VIEWS, log, store, clock)
    feed.materialise(tmp_path, clock.now())
    asked = pl.DataFrame({"card": ["c0", "c0", "c1", "c1", "none"], "shop": ["s", "u", "t", "u", "s"]})
    online, spine = [], []
    rows = payments()
    for low in range(0, len(rows), 7):
        clock.advance_to(clock.now() + 1_800_000_000)
        feed.push("payments", rows[low : low + 7])
        with store.read() as state:
            online.append(online_features(PLAN, state, asked, clock.now()))
        spine.append(asked.with_columns(_at_us=pl.lit(clock.now(), pl.Int64)))
    stored = {"payments": read_rows(PAYMENTS, tmp_path, log)}
    return pl.concat(online), offline_features(PLAN, pl.concat(spine), stored, LocalEngine(1), buckets=2)


def test_online_equals_offline_with_filters_and_composite_keys(answers: Any) -> None:
    online, offline = answers
    assert online.equals(offline)


def test_filters_leave_rows_out(answers: Any) -> None:
    last = dict(zip(answers[1].columns, answers[1].row(-5), strict=True))
    rows = [row for row in payments() if row[1] == "c0"]
    night = [row for row in rows if row[3].hour < 6]
    assert last["card.night_all"] == len(night)
    assert last["card.night_share"] == len(night) / len(rows)
    assert last["card.large_all"] == sum(row[4] for row in rows if row[5] in ("700", "101"))
    assert last["card.net_all"] == sum(row[4] for row in rows if row[6] and row[2] in ("s", "t"))
    assert last["pair.net_all"] == sum(row[4] for row in rows if row[6] and row[2] == "s")
    assert round(last["card.distinct_code_all"]) == 4


def test_a_row_on_which_a_filter_fails_is_left_out_alone() -> None:
    rows = pl.DataFrame({"code": ["7", "x", "700", None, "y", "101"]})
    assert filter_values(rows, LARGE).to_list() == [False, False, True, False, False, True]
    assert filter_values(rows.clear(), LARGE).to_list() == []
    assert filter_values(rows, pl.lit(value=True)).to_list() == [True] * 6


def test_equal_filters_are_computed_once_for_all_views(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []

    def counted(rows: pl.DataFrame, where: pl.Expr) -> pl.Series:
        if len(rows) == 60:  # not those by which an odd row is looked for
            computed.append(where)
        return filter_values(rows, where)

    monkeypatch.setattr(filters, "filter_values", counted)
    rows = pl.DataFrame(payments(), schema=list(FIELDS), orient="row")
    once = with_filters(rows, VIEWS)
    assert len(computed) == len(filters_of(VIEWS)) == 3
    assert with_filters(once, VIEWS).columns == once.columns
    assert len(computed) == 3


def test_a_view_with_filters_is_the_same_after_json() -> None:
    again = view_from_plain(view_to_plain(VIEWS[1]))
    assert again.windows == VIEWS[1].windows
    assert view_digest(again) == view_digest(VIEWS[1])
    assert FeaturePlan.from_json(PLAN.to_json()).to_json() == PLAN.to_json()
    assert columns_of(again) == {"card", "shop", "at", "code", "paid", "online"}


def test_views_that_differ_in_a_filter_alone_differ() -> None:
    one, other = (
        ck.FeatureView("v", ck.Entity("card"), PAYMENTS, windows=[ck.count(over="1h", where=where, name="some")])
        for where in (NIGHT, pl.col("at").dt.hour() < 7)
    )
    assert one != other
    assert view_digest(one) != view_digest(other)


def test_a_filter_with_code_in_it_is_neither_stored_nor_loaded() -> None:
    plain = view_to_plain(VIEWS[0])
    plain["windows"][0]["measure"]["where"] = plain["windows"][0]["measure"]["where"].replace("Column", "PythonColumn")
    with pytest.raises(UnsafeExpression):
        view_from_plain(plain)
