"""The first invariant: what a prediction is served is what training would compute for it, over real storage."""

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from feature_oracle import Event, agree, latest_row, slack, window_features
from feature_streams import FIELDS, START_US, as_frame, as_values, questions, source, streams, view
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.clock import SimulatedClock
from charkha.engines.local import LocalEngine
from charkha.features.feed import Feed
from charkha.features.offline import offline_features
from charkha.features.online import Fetched, fetch, online_columns, online_features
from charkha.features.plan import FeaturePlan
from charkha.features.request import frame_of
from charkha.features.rows import read_rows
from charkha.spec.views import FeatureView
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

HOURS_48_US = 48 * 3_600_000_000


def plan_of(of: FeatureView) -> FeaturePlan:
    expressions = {"request.excess": pl.col("view.max_value_2h") - pl.col("view.mean_value_2h")}
    names = (*(f"view.{name}" for name in of.window_features()), "view.value", "view.text", "request.excess")
    return FeaturePlan(views=(of,), request={"entity": str}, at="asked_at", expressions=expressions, names=names)


def assert_frames_agree(online: pl.DataFrame, offline: pl.DataFrame, scale: float) -> None:
    assert online.columns == offline.columns
    for name in online.columns:
        left, right = online[name], offline[name]
        assert left.is_null().to_list() == right.is_null().to_list(), name
        allowed = slack(name, scale)
        if allowed is None:
            assert left.to_list() == right.to_list(), name
            continue
        for a, b in zip(left.drop_nulls(), right.drop_nulls(), strict=True):
            assert abs(a - b) <= max(1e-9 * max(abs(a), abs(b)), allowed), name


@settings(max_examples=150, deadline=None)
@given(streams(), questions, st.integers(0, HOURS_48_US), st.booleans())
def test_online_equals_offline_and_the_obvious_version(events: Any, asked: Any, history_us: Any, restart: Any) -> None:
    """Some rows come from files, the rest are pushed one by one, between questions in the order of time.

    Each question is answered alone when it is asked; and all of them, one of nobody among them, together at the end.
    """
    history = [event for event in events if event.known_us <= START_US + history_us]
    pushes = events[len(history) :]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        as_frame(history).write_parquet(root / "history.parquet")
        declared = source("history.parquet")
        plan = plan_of(view(declared))
        log, store = SegmentLog(root / "log"), LmdbOnline(root / "online")
        clock = SimulatedClock(START_US + history_us)
        feed = Feed({"events": declared}, plan.views, log, store, clock)
        assert feed.materialise(root, clock.now()) == 1

        def push_until(time_us: int) -> None:
            while pushes and pushes[0].known_us <= time_us:
                event = pushes.pop(0)
                clock.advance_to(event.known_us)
                feed.push("events", [as_values(event)])

        questions = [*asked, (None, asked[0][1])]
        order = [(START_US + max(offset, history_us), entity) for entity, offset in questions]
        order.sort(key=lambda question: question[0])
        online, fetched = [], []
        for at_us, entity in order:
            push_until(at_us)
            clock.advance_to(at_us)
            if restart:
                feed = Feed({"events": declared}, plan.views, log, store, clock)
                feed.catch_up()
            with store.read() as state:
                request = pl.DataFrame({"entity": [entity]}, schema={"entity": pl.String()})
                online.append(online_features(plan, state, request, at_us))
                fetched.append(fetch(plan, state, {"entity": [entity]}))
        spine = pl.DataFrame(order, schema={"_at_us": pl.Int64(), "entity": pl.String()}, orient="row")
        times, entities = spine["_at_us"].to_list(), {"entity": spine["entity"].to_list()}
        together = frame_of(plan, online_columns(plan, entities, Fetched.together(fetched), times))
        rows = {"events": read_rows(declared, root, log)}
        offline = offline_features(plan, spine, rows, LocalEngine(1), buckets=2)
        store.close()
    scale = max((abs(event.value) for event in events if event.value is not None), default=1.0)
    assert_frames_agree(pl.concat(online), offline, scale)
    assert_frames_agree(together, offline, scale)
    _assert_they_are_the_oracles(offline, events, order, plan, scale)


def _assert_they_are_the_oracles(
    offline: pl.DataFrame, events: list[Event], order: list[tuple[int, str | None]], plan: FeaturePlan, scale: float
) -> None:
    for place, (at_us, entity) in enumerate(order):
        if entity is None:
            assert offline.row(place) == (None,) * offline.width
            continue
        for name, expected in window_features(plan.views[0], events, entity, at_us).items():
            found = offline[f"view.{name}"][place]
            assert agree(name, found, expected, scale), (name, found, expected)
        latest = latest_row(plan.views[0], events, entity, at_us)
        assert offline["view.value"][place] == (latest.value if latest else None)


def test_the_stream_has_every_declared_field() -> None:
    assert list(FIELDS) == as_frame([]).columns
