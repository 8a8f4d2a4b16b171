"""The way of a pushed row: refused in words, taken once, and never half applied."""

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import polars as pl
import pytest

import charkha as ck
from charkha.clock import SimulatedClock, to_micros
from charkha.engines.local import LocalEngine
from charkha.features.feed import Feed
from charkha.features.kept import StateAheadOfLog, UnknownSource
from charkha.features.offline import offline_features
from charkha.features.online import online_features
from charkha.features.plain_rows import NotPushable
from charkha.features.plan import FeaturePlan
from charkha.features.rows import read_rows
from charkha.features.state import ViewState
from charkha.storage import boots
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
FIELDS = {"order": int, "shop": str, "at": datetime, "amount": float}
ORDERS = ck.Source("orders", FIELDS, time="at", key="order")
VIEW = ck.FeatureView(
    "shop", ck.Entity("shop"), ORDERS, windows=[ck.sum("amount", over="1h"), ck.count(over="1h")], latest=["amount"]
)
PLAN = FeaturePlan((VIEW,), {"shop": str}, "at", {}, ("shop.sum_amount_1h", "shop.count_1h", "shop.amount"))


class Crash(Exception):
    """What stands for a process that dies."""


class DiesBeforeCommit(LmdbOnline):
    """A store whose writers die when all is written and nothing is committed."""

    @contextmanager
    def write(self) -> Any:  # type: ignore[override]
        with super().write() as state:
            yield state
            raise Crash


@pytest.fixture
def log(tmp_path: Any) -> Any:
    return SegmentLog(tmp_path / "log")


@pytest.fixture
def store(tmp_path: Any) -> Any:
    return LmdbOnline(tmp_path / "online")


@pytest.fixture
def clock() -> Any:
    return SimulatedClock(to_micros(NOON))


def feed(log: Any, store: Any, clock: Any, sources: Any = (ORDERS,), views: Any = (VIEW,)) -> Feed:
    return Feed({source.name: source for source in sources}, views, log, store, clock)


def served(store: Any, clock: Any, shop: Any = "a") -> Any:
    with store.read() as state:
        request = pl.DataFrame({"shop": [shop]}, schema={"shop": pl.String})
        return online_features(PLAN, state, request, clock.now()).row(0)


def test_what_a_dead_process_logged_is_applied_once(log: Any, store: Any, clock: Any, tmp_path: Any) -> None:
    feed(log, store, clock).push("orders", [(1, "a", NOON, 10.0)])
    dying = feed(log, DiesBeforeCommit(tmp_path / "online"), clock)
    with pytest.raises(Crash):
        dying.push("orders", [(2, "a", NOON, 20.0)])
    assert served(store, clock) == (10.0, 1.0, 10.0)
    after = feed(log, store, clock)
    assert after.push("orders", [(3, "a", NOON, 30.0)]).accepted == 1
    assert served(store, clock) == (60.0, 3.0, 30.0)
    assert after.push("orders", [(2, "a", NOON, 20.0)]).duplicates == 1
    assert served(store, clock) == (60.0, 3.0, 30.0)
    assert read_rows(ORDERS, tmp_path, log)["order"].to_list() == [1, 2, 3]


def test_catching_up_twice_changes_nothing(log: Any, store: Any, clock: Any, tmp_path: Any) -> None:
    with pytest.raises(Crash):
        feed(log, DiesBeforeCommit(tmp_path / "online"), clock).push("orders", [(2, "a", NOON, 20.0)])
    again = feed(log, store, clock)
    once = again.catch_up()
    assert once["orders"] > 0
    assert again.catch_up() == once
    assert served(store, clock) == (20.0, 1.0, 20.0)


def test_rows_of_one_push_are_told_apart(log: Any, store: Any, clock: Any) -> None:
    rows = [(1, "a", NOON, 10.0), (1, "a", NOON, 10.0), (1, "a", NOON, 15.0), (2, "b", NOON, 1.0)]
    pushed = feed(log, store, clock).push("orders", rows)
    assert (pushed.accepted, pushed.corrections, pushed.duplicates) == (2, 1, 1)
    assert pushed.known_us == clock.now()
    assert served(store, clock) == (10.0, 1.0, 15.0)


def test_a_push_that_comes_again_changes_nothing_though_it_holds_two_versions_of_a_row(
    log: Any, store: Any, clock: Any
) -> None:
    live, batch = feed(log, store, clock), [(1, "a", NOON, 10.0), (1, "a", NOON, 15.0), (2, "b", NOON, 1.0)]
    live.push("orders", batch)
    end = log.end("events/orders")
    for again in (batch, batch[:2], batch[1:], [*batch, *batch]):
        pushed = live.push("orders", again)
        assert (pushed.accepted, pushed.corrections, pushed.duplicates) == (0, 0, len(again))
    assert log.end("events/orders") == end
    assert live.push("orders", batch[:1]).corrections == 1  # alone it says that the row is as it was at first
    assert served(store, clock) == (10.0, 1.0, 10.0)


@pytest.mark.parametrize("dies", [False, True])
def test_what_is_applied_from_the_log_is_what_a_push_applies(
    dies: Any, log: Any, store: Any, clock: Any, tmp_path: Any
) -> None:
    feed(log, store, clock).push("orders", [(1, "a", NOON, 10.0)])
    batch = [(1, "a", NOON, 15.0), (2, "a", NOON, 1.0), (1, "a", NOON, 10.0), (2, "a", NOON, 2.0), (2, "a", NOON, 2.0)]
    if dies:
        with pytest.raises(Crash):
            feed(log, DiesBeforeCommit(tmp_path / "online"), clock).push("orders", batch)
        feed(log, store, clock).catch_up()
    else:
        pushed = feed(log, store, clock).push("orders", batch)
        assert (pushed.accepted, pushed.corrections, pushed.duplicates) == (1, 1, 3)
    assert served(store, clock) == (11.0, 2.0, 2.0)
    assert read_rows(ORDERS, tmp_path, log).select("order", "amount", "_first").rows() == [
        (1, 10.0, True),
        (2, 1.0, True),
        (2, 2.0, False),
    ]


def test_a_decimal_has_one_form_whatever_way_it_comes(log: Any, store: Any, clock: Any, tmp_path: Any) -> None:
    amounts = [float("nan"), float("inf"), float("-inf"), -0.0, 3]
    rows = [(order, "a", NOON, amount) for order, amount in enumerate(amounts)]
    declared = ck.Source("orders", FIELDS, ck.parquet("orders.parquet"), time="at", key="order")
    frame = pl.DataFrame(rows, schema=["order", "shop", "at", "amount"], orient="row", strict=False)
    frame.with_columns(pl.col("amount").cast(pl.Float64)).write_parquet(tmp_path / "orders.parquet")
    pushed = feed(log, store, clock).push("orders", rows)
    assert pushed.accepted == len(rows)
    for read in (read_rows(ORDERS, tmp_path, log), read_rows(declared, tmp_path)):
        assert [str(amount) for amount in read["amount"]] == ["None", "None", "None", "0.0", "3.0"]
    again = [(0, "a", NOON, None), (3, "a", NOON, 0.0), (4, "a", NOON, 3.0)]
    assert feed(log, store, clock).push("orders", again).duplicates == 3
    files = feed(SegmentLog(tmp_path / "none"), LmdbOnline(tmp_path / "other"), clock, sources=[declared])
    files.materialise(tmp_path, clock.now())
    assert files.push("orders", rows).duplicates == len(rows)


def test_state_that_is_built_anew_knows_the_first_version_of_a_row_from_its_file(
    log: Any, store: Any, clock: Any, tmp_path: Any
) -> None:
    """Its correction names another shop, whose windows do not count it; the log alone has no other version of it."""
    declared = ck.Source("orders", FIELDS, ck.parquet("orders.parquet"), time="at", key="order")
    pl.DataFrame({"order": [1], "shop": ["b"], "at": [NOON], "amount": [10.0]}).write_parquet(
        tmp_path / "orders.parquet"
    )
    live = feed(log, store, clock, sources=[declared])
    live.materialise(tmp_path, clock.now())
    assert live.push("orders", [(1, "a", NOON, 15.0)]).corrections == 1
    assert served(store, clock) == (None, 0.0, 15.0)
    live.materialise(tmp_path, clock.now(), anew=True)
    assert served(store, clock) == (None, 0.0, 15.0)
    assert served(store, clock, "b") == (10.0, 1.0, 10.0)


def test_the_oldest_tile_that_a_window_reaches_outlives_a_push(log: Any, store: Any, clock: Any) -> None:
    live = feed(log, store, clock)
    live.push("orders", [(1, "a", NOON, 10.0)])
    clock.advance_to(clock.now() + 3_600_000_000)  # as many hops as the window has
    live.push("orders", [(2, "a", NOON, 5.0)])
    assert served(store, clock) == (15.0, 2.0, 5.0)


def test_known_time_does_not_run_backwards_with_a_clock(log: Any, store: Any, clock: Any) -> None:
    feed(log, store, clock).push("orders", [(1, "a", NOON, 10.0)])
    slow = SimulatedClock(clock.now() - 5_000_000)
    assert feed(log, store, slow).push("orders", [(2, "a", NOON, 1.0)]).known_us == clock.now()


def test_state_that_is_rebuilt_from_the_log_is_the_same(log: Any, store: Any, clock: Any, tmp_path: Any) -> None:
    live = feed(log, store, clock)
    live.materialise(tmp_path, clock.now())
    for order in range(50):
        clock.advance_to(clock.now() + 97_000_000)
        live.push("orders", [(order % 40, "a" if order % 3 else "b", NOON, float(order))])
    rebuilt = LmdbOnline(tmp_path / "rebuilt")
    assert feed(log, rebuilt, clock).materialise(tmp_path, clock.now()) == 1
    assert served(rebuilt, clock) == served(store, clock)
    assert served(rebuilt, clock, "b") == served(store, clock, "b")
    assert feed(log, rebuilt, clock).push("orders", [(39, "b", NOON, 39.0)]).duplicates == 1


def test_a_view_that_is_new_is_built_beside_the_others(log: Any, store: Any, clock: Any, tmp_path: Any) -> None:
    first = feed(log, store, clock)
    assert first.materialise(tmp_path, clock.now()) == 1
    first.push("orders", [(1, "a", NOON, 10.0)])
    other = ck.FeatureView("other", ck.Entity("shop"), ORDERS, windows=[ck.max("amount", over="2h")])
    both = feed(log, store, clock, views=(VIEW, other))
    assert both.materialise(tmp_path, clock.now()) == 1
    assert both.materialise(tmp_path, clock.now()) == 0
    plan = FeaturePlan((other,), {"shop": str}, "at", {}, ("other.max_amount_2h",))
    with store.read() as state:
        assert online_features(plan, state, pl.DataFrame({"shop": ["a"]}), clock.now()).row(0) == (10.0,)


@pytest.mark.parametrize(
    ("source", "row", "error", "says"),
    [
        ("order", (1, "a", NOON, 1.0), UnknownSource, "one of the sources"),
        ("orders", (None, "a", NOON, 1.0), NotPushable, "row key"),
        ("orders", (1, "a", None, 1.0), NotPushable, "event time 'at'"),
        ("orders", (1, "a", NOON, "1.0"), NotPushable, r"amount: float\), got others: .*`str` - at `\$\[1\]\[3\]`"),
        ("orders", (1 << 63, "a", NOON, 1.0), NotPushable, r"<= 9223372036854775807 - at `\$\[1\]\[0\]`"),
        ("orders", (1, "a", NOON), NotPushable, "length 4"),
        ("keyless", (1, "a", NOON, 1.0), NotPushable, r"Declare key=\[...\]"),
    ],
)
def test_rows_that_cannot_be_taken_are_refused_whole(
    log: Any, store: Any, clock: Any, source: Any, row: Any, error: Any, says: Any
) -> None:
    keyless = ck.Source("keyless", FIELDS, time="at")
    with pytest.raises(error, match=says):
        feed(log, store, clock, sources=(ORDERS, keyless)).push(source, [(9, "a", NOON, 9.0), row])
    assert set(log.end(f"events/{source}").values()) <= {0}


def test_a_long_key_is_state_like_any_other(log: Any, store: Any, clock: Any) -> None:
    shop = "ä" * 600
    feed(log, store, clock).push("orders", [(1, shop, NOON, 10.0)])
    assert served(store, clock, shop) == (10.0, 1.0, 10.0)
    assert served(store, clock, "ä" * 601) == (None, 0.0, None)


def test_what_is_served_keeps_its_state_though_the_definition_has_changed(
    log: Any, store: Any, clock: Any, tmp_path: Any
) -> None:
    """An older version reads a view that is no longer declared, of a source that has since got another field first."""
    feed(log, store, clock).materialise(tmp_path, clock.now())
    feed(log, store, clock).push("orders", [(1, "a", NOON, 10.0)])
    wider = ck.Source("orders", {"note": str, **FIELDS}, time="at", key="order")
    new = ck.FeatureView("new", ck.Entity("shop"), wider, windows=[ck.max("amount", over="2h")], latest=["note"])
    later = feed(log, store, clock, sources=(wider,), views=(new,))
    later.materialise(tmp_path, clock.now())
    later.push("orders", [("gift", 2, "a", NOON, 20.0)])
    assert served(store, clock) == (30.0, 2.0, 20.0)
    plan = FeaturePlan((new,), {"shop": str}, "at", {}, ("new.max_amount_2h", "new.note"))
    with store.read() as state:
        assert online_features(plan, state, pl.DataFrame({"shop": ["a"]}), clock.now()).row(0) == (20.0, "gift")
    rows = read_rows(wider, tmp_path, log)
    assert rows.select("note", "order", "amount").rows() == [(None, 1, 10.0), ("gift", 2, 20.0)]


def test_rows_that_the_log_has_lost_are_not_taken_for_repetitions(
    log: Any, store: Any, clock: Any, tmp_path: Any, caplog: Any
) -> None:
    """After a power failure the log may lack its last records while the state has applied them."""
    other = ck.FeatureView("other", ck.Entity("shop"), ORDERS, windows=[ck.max("amount", over="2h")])
    feed(log, store, clock, views=(VIEW, other)).materialise(tmp_path, clock.now())
    first = feed(log, store, clock)
    first.push("orders", [(1, "a", NOON, 10.0)])
    kept = log.end("events/orders")["all"]
    first.push("orders", [(2, "a", NOON, 20.0)])
    (segment,) = (tmp_path / "log").rglob("*.segment")
    os.truncate(segment, kept)
    after = feed(SegmentLog(tmp_path / "log"), store, clock)
    for refused in (after.catch_up, lambda: after.push("orders", [(2, "a", NOON, 20.0)])):
        with pytest.raises(StateAheadOfLog, match="Start charkha serve anew") as caught:
            refused()
        assert (caught.value.source, caught.value.end) == ("orders", kept)
    assert after.materialise(tmp_path, clock.now()) == 2  # also that of the view only another process knows
    assert "the online state is ahead of the log of orders" in caplog.text
    assert served(store, clock) == (10.0, 1.0, 10.0)
    assert after.push("orders", [(2, "a", NOON, 20.0), (1, "a", NOON, 10.0)]).accepted == 1
    assert served(store, clock) == (30.0, 2.0, 20.0)
    assert after.materialise(tmp_path, clock.now()) == 0


def test_the_state_is_built_anew_after_the_machine_was(
    log: Any, store: Any, clock: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    live = feed(log, store, clock)
    live.materialise(tmp_path, clock.now())
    live.push("orders", [(1, "a", NOON, 10.0)])
    store.close()
    (tmp_path / "boot_id").write_text("another start of the machine")
    monkeypatch.setattr(boots, "_BOOT_ID", tmp_path / "boot_id")
    again = LmdbOnline(tmp_path / "online")
    after = feed(log, again, clock)
    assert after.materialise(tmp_path, clock.now()) == 1
    assert served(again, clock) == (10.0, 1.0, 10.0)
    assert after.push("orders", [(1, "a", NOON, 10.0)]).duplicates == 1


def test_a_view_that_another_process_has_built_is_kept_by_this_one(
    log: Any, store: Any, clock: Any, tmp_path: Any
) -> None:
    old = feed(log, store, clock)
    old.materialise(tmp_path, clock.now())
    other = ck.FeatureView("other", ck.Entity("shop"), ORDERS, windows=[ck.max("amount", over="2h")])
    feed(log, store, clock, views=(VIEW, other)).materialise(tmp_path, clock.now())
    old.push("orders", [(1, "a", NOON, 10.0)])
    plan = FeaturePlan((other,), {"shop": str}, "at", {}, ("other.max_amount_2h",))
    with store.read() as state:
        assert online_features(plan, state, pl.DataFrame({"shop": ["a"]}), clock.now()).row(0) == (10.0,)


def test_the_state_of_a_hot_key_is_bounded_and_the_whole_history_is_one_tile(log: Any, store: Any, clock: Any) -> None:
    windows = [kind("amount", over=["1h", "all"]) for kind in (ck.sum, ck.distinct, partial(ck.top_k, k=3))]
    hot = ck.FeatureView("hot", ck.Entity("shop"), ORDERS, windows=windows)
    state, live = ViewState.of(hot), feed(log, store, clock, views=[hot])
    sizes = []
    for order in range(400):
        clock.advance_to(clock.now() + 59_000_000)
        live.push("orders", [(order, "a", NOON, float(order))])
        with store.read() as reader:
            tiles = [reader.get(state.ring_place(ring) + b"a") or b"" for ring in (0, 1)]
        sizes.append([len(each) // state.rings[ring].tile.size for ring, each in enumerate(tiles)])
    assert list(map(max, zip(*sizes, strict=True))) == [13, 1]


def test_the_whole_history_goes_back_beyond_1970(log: Any, store: Any, tmp_path: Any) -> None:
    clock = SimulatedClock(to_micros(datetime(1969, 12, 31, 23, tzinfo=UTC)))
    whole = ck.FeatureView(
        "whole", ck.Entity("shop"), ORDERS, windows=[ck.sum("amount", over="all"), ck.count(over="all")]
    )
    plan = FeaturePlan((whole,), {"shop": str}, "at", {}, ("whole.sum_amount_all", "whole.count_all"))
    live = feed(log, store, clock, views=[whole])
    for order in range(4):
        live.push("orders", [(order, shop, NOON, 1.0 + order) for shop in (("b",) if order else ("a",))])
        clock.advance_to(clock.now() + 1_800_000_000)
    asked = pl.DataFrame({"shop": ["a", "b", "c"]})
    with store.read() as state:
        online = online_features(plan, state, asked, clock.now())
    spine = asked.with_columns(_at_us=pl.lit(clock.now(), pl.Int64))
    offline = offline_features(plan, spine, {"orders": read_rows(ORDERS, tmp_path, log)}, LocalEngine(1))
    assert online.rows() == offline.rows() == [(1.0, 1.0), (9.0, 3.0), (None, 0.0)]
