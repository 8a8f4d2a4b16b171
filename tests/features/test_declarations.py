"""A source that is declared otherwise: its state follows, whichever process of whichever definition runs beside it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from attrs import evolve

import charkha as ck
from charkha.clock import SimulatedClock, to_micros
from charkha.engines.local import LocalEngine
from charkha.features.backfill import backfill
from charkha.features.feed import Feed
from charkha.features.offline import offline_features
from charkha.features.online import online_features
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.reading import Sources
from charkha.features.rows import read_rows
from charkha.spec.sources import Source
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.parts import PartsRefused
from charkha.storage.segment_log import SegmentLog

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
FIELDS = {"order": int, "line": int, "shop": str, "at": datetime, "seen": datetime, "amount": int}
ORDERS = ck.Source("orders", FIELDS, ck.parquet("orders.parquet"), time="at", key="order")
SHOP = ck.Entity("shop")


def view_of(source: Source, name: str = "v", column: str = "amount") -> ck.FeatureView:
    windows = [ck.count(over="1h"), ck.sum("amount", over="1h"), ck.distinct(column, over="1h")]
    return ck.FeatureView(name, SHOP, source, windows=windows, latest=["amount"])


class House:
    """A folder with one file of orders, a log and a state, on which feeds of several definitions run."""

    def __init__(self, root: Path) -> None:
        self.root, self.clock = root, SimulatedClock(to_micros(NOON))
        self.log, self.store = SegmentLog(root / "log"), LmdbOnline(root / "online")
        ago = NOON - timedelta(minutes=5)
        rows = [(1, 1, "a", ago, ago, 5), (1, 2, "a", ago, ago + timedelta(minutes=9), 7), (2, 1, "a", ago, ago, -1)]
        frame = pl.DataFrame(rows, schema=list(FIELDS), orient="row")
        frame.write_parquet(root / "orders.parquet")
        frame.write_csv(root / "orders.csv")

    def feed(self, *views: ck.FeatureView) -> Feed:
        """Start as a server does."""
        sources: Mapping[str, Source] = {view.source.name: view.source for view in views}
        feed = Feed(sources, views, self.log, self.store, self.clock)
        feed.follow(self.root)
        feed.materialise(self.root, self.clock.now())
        return feed

    def push(self, feed: Feed, *row: object) -> None:
        self.clock.advance_to(self.clock.now() + 1_000_000)
        feed.push("orders", [row])

    def agree(self, view: ck.FeatureView) -> tuple[object, ...]:
        """Say that what is served is what is recomputed; return it."""
        plan = FeaturePlan((view,), {"shop": str}, "asked_at", {}, tuple(feature_names(view)))
        rows, now_us = {view.source.name: read_rows(view.source, self.root, self.log)}, self.clock.now()
        spine = pl.DataFrame({"shop": ["a"], "_at_us": [now_us]})
        with self.store.read() as state:
            served = online_features(plan, state, pl.DataFrame({"shop": ["a"]}), now_us)
        assert served.rows() == offline_features(plan, spine, rows, LocalEngine(1)).rows()
        return served.row(0)


CSV = evolve(ORDERS, data=ck.csv("orders.csv"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ORDERS, evolve(ORDERS, key=("order", "line"))),
        (ORDERS, evolve(ORDERS, fields={**FIELDS, "amount": float})),
        (ORDERS, evolve(ORDERS, known="seen")),
        (ORDERS, evolve(ORDERS, lag="1h")),
        (CSV, evolve(CSV, data=ck.csv("orders.csv", nulls=["-1"]))),
        (CSV, ORDERS),
    ],
)
def test_state_is_built_anew_when_its_source_is_declared_otherwise(
    tmp_path: Path, before: Source, after: Source
) -> None:
    house = House(tmp_path)
    house.feed(view_of(before))
    house.agree(view_of(before))
    feed = house.feed(view_of(after))
    house.agree(view_of(after))
    known = read_rows(after, tmp_path, as_of_us=house.clock.now()).select(list(FIELDS)).rows()
    assert feed.push("orders", known).duplicates == len(known)  # each is remembered as it is declared now
    house.clock.advance_to(house.clock.now() + 600_000_000)
    feed.follow(tmp_path)
    house.agree(view_of(after))


def test_a_server_of_before_and_one_of_after_take_turns(tmp_path: Path) -> None:
    """A rolling restart, and one back: rows that the old one takes say nothing of the new field, and are not lost."""
    house = House(tmp_path)
    wider = evolve(ORDERS, fields={**FIELDS, "country": str}, data=None)
    old, new = view_of(evolve(ORDERS, data=None)), view_of(wider, column="country")
    before = house.feed(old)
    row = (NOON, NOON, 5)
    house.push(before, 10, 1, "a", *row)
    after = house.feed(new)
    house.push(after, 11, 1, "a", *row, "IN")
    house.push(before, 12, 1, "a", *row)
    house.push(after, 13, 1, "a", *row, "US")
    house.push(before, 14, 1, "a", *row)
    assert house.agree(new)[:2] == (5.0, 25.0)
    assert house.agree(old)[:2] == (5.0, 25.0)
    back = house.feed(old)
    house.push(back, 15, 1, "a", *row)
    house.agree(old)
    house.feed(new)
    assert house.agree(new)[:2] == (6.0, 30.0)


def test_rows_that_a_server_of_another_key_takes_are_told_apart_anew(tmp_path: Path) -> None:
    house = House(tmp_path)
    by_order, by_line = evolve(ORDERS, data=None), evolve(ORDERS, data=None, key=("order", "line"))
    before, after = house.feed(view_of(by_order)), house.feed(view_of(by_line))
    for line in (1, 2):
        house.push(after, 10, line, "a", NOON, NOON, 5)
        house.push(before, 11, line, "a", NOON, NOON, 5)
    house.feed(view_of(by_line))
    assert house.agree(view_of(by_line))[:2] == (4.0, 20.0)


def test_a_row_of_other_fields_is_no_repetition(tmp_path: Path) -> None:
    """A field was renamed: equal values say something else."""
    house = House(tmp_path)
    fields = {"paid" if name == "amount" else name: kind for name, kind in FIELDS.items()}
    renamed = evolve(ORDERS, fields=fields, data=None)
    new = ck.FeatureView("n", SHOP, renamed, windows=[ck.count(over="1h")], latest=["paid"])
    row = (10, 1, "a", NOON, NOON, 5)
    house.push(house.feed(view_of(evolve(ORDERS, data=None))), *row)
    assert house.feed(new).push("orders", [row]).corrections == 1
    assert house.agree(new) == (1.0, 5)


def test_a_view_for_which_a_field_is_of_another_type_stands_still(tmp_path: Path) -> None:
    house = House(tmp_path)
    texts = evolve(ORDERS, fields={**FIELDS, "amount": str}, data=None)
    new = ck.FeatureView("n", SHOP, texts, windows=[ck.distinct("amount", over="1h")], latest=["amount"])
    old = view_of(evolve(ORDERS, data=None))
    before, after = house.feed(old), house.feed(new)
    house.push(after, 10, 1, "a", NOON, NOON, "much")
    house.push(before, 11, 1, "a", NOON, NOON, 5)
    assert house.feed(new)
    house.agree(new)


def test_an_old_server_that_builds_anew_leaves_the_new_view_to_the_next_new_one(tmp_path: Path) -> None:
    house = House(tmp_path)
    pl.read_parquet(tmp_path / "orders.parquet").with_columns(country=pl.lit("IN")).write_parquet(
        tmp_path / "orders.parquet"
    )
    wider = view_of(evolve(ORDERS, fields={**FIELDS, "country": str}), column="country")
    house.feed(wider)
    house.agree(wider)
    house.feed(view_of(ORDERS))
    house.agree(view_of(ORDERS))
    house.feed(wider)
    house.agree(wider)


def test_all_views_of_a_query_have_the_same_rows(tmp_path: Path) -> None:
    house = House(tmp_path)
    database = f"sqlite:///{tmp_path}/orders.db"
    frame = pl.read_parquet(tmp_path / "orders.parquet").with_columns(pl.col("at", "seen").dt.to_string("iso:strict"))
    frame[:1].write_database("orders", database, engine="sqlalchemy")
    queried = evolve(ORDERS, data=ck.sql("select * from orders", database))
    house.feed(view_of(queried))
    frame[2:].write_database("orders", database, engine="sqlalchemy", if_table_exists="append")
    one, two = view_of(queried), view_of(queried, "two", column="line")
    feed = house.feed(one, two)
    assert feed.push("orders", [(2, 1, "a", NOON - timedelta(minutes=5), NOON - timedelta(minutes=5), -1)]).duplicates
    assert house.agree(one)[0] == house.agree(two)[0] == 2.0


def test_a_backfill_does_not_go_on_over_other_rows(tmp_path: Path) -> None:
    """Of a source that is declared otherwise it is refused; over a query, which may give others, it begins anew."""
    house = House(tmp_path)
    plan = FeaturePlan((view_of(ORDERS),), {"shop": str}, "asked_at", {}, tuple(feature_names(view_of(ORDERS))))
    asked, out = tmp_path / "questions.parquet", tmp_path / "out"
    pl.DataFrame({"shop": ["a", "a"], "asked_at": [NOON, NOON]}).write_parquet(asked)
    backfill(plan, asked, Sources(tmp_path, {"orders": ORDERS}), out, rows_at_once=1)
    with pytest.raises(PartsRefused, match="those of another"):
        backfill(plan, asked, Sources(tmp_path, {"orders": evolve(ORDERS, known="seen")}), out, rows_at_once=1)
    database = f"sqlite:///{house.root}/orders.db"
    frame = pl.read_parquet(tmp_path / "orders.parquet").with_columns(pl.col("at", "seen").dt.to_string("iso:strict"))
    frame[:1].write_database("orders", database, engine="sqlalchemy")
    sources = Sources(tmp_path, {"orders": evolve(ORDERS, data=ck.sql("select * from orders", database))})
    _, second = backfill(plan, asked, sources, tmp_path / "queried", rows_at_once=1)
    second.unlink()
    frame[2:].write_database("orders", database, engine="sqlalchemy", if_table_exists="append")
    parts = backfill(plan, asked, sources, tmp_path / "queried", rows_at_once=1)
    assert [pl.read_parquet(part)["v.count_1h"].item() for part in parts] == [2.0, 2.0]
