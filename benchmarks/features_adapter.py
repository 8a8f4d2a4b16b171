"""All that the feature benchmark calls of Charkha: to measure another way of calling it, change this file alone."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import lmdb
import polars as pl
from attrs import evolve, frozen
from features_data import END_US, LARGE_VALUES, VIEWS, all_features, feature_columns

import charkha as ck
from charkha.clock import SimulatedClock
from charkha.features.backfill import backfill
from charkha.features.feed import Feed
from charkha.features.keys import key_bytes
from charkha.features.materialise import plain_values
from charkha.features.online import fetch, online_columns
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.reading import BUCKET_ROWS, MEMORY_ROWS, Sources
from charkha.features.state import ViewState
from charkha.spec.aggregates import Aggregate
from charkha.spec.fields import FieldType
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.lmdb_online import LmdbOnline
from charkha.storage.segment_log import SegmentLog

ENTITY = ck.Entity("entity", keys="entity_id")
OVER = ("1h", "24h", "7d", "30d")
KINDS = ("count", "sum", "mean", "min", "max", "variance")
TTL = "30d"

# What an online state is made of: latest values of three sources; of one source of wide rows, without and with windows;
# six aggregations over four windows.
Shape = Literal["latest", "wide", "wide and windows", "windows"]

_WIDE_FIELDS: Mapping[str, FieldType] = {
    "event_id": int,
    "entity_id": int,
    "event_timestamp": datetime,
    **dict.fromkeys(all_features(), float),
}


def join(folder: str, out: str, *, keyed: bool = False) -> None:
    """Join the history of three views to every question: Parquet in, Parquet out, into a folder beside `out`.

    keyed: rows have a key, and only what was created by then counts, rather than what had happened by then.
    """
    _backfill(_plan(_history_views(keyed=keyed), "event_timestamp"), folder, out)


def windows(folder: str, out: str) -> None:
    """Compute six aggregations over four windows for every question: Parquet in, Parquet out, as `join`."""
    _backfill(_plan([_window_view()], "at"), folder, out)


def large(folder: str, out: str, share: float) -> None:
    """Compute windows by one key and latest values by another, of one source whose rows have a key of their own.

    share: of the rows that are kept in memory, as of all sizes.
    """
    _backfill(_large_plan(), folder, out, share)


def settle(out: str) -> None:
    """Write what a backfill left beside `out` to it, the columns called as the data call them: not measured."""
    found = pl.scan_parquet(Path(out).with_suffix(".parts") / "part-*.parquet")
    names = found.collect_schema().names()
    found.rename({name: name.rpartition(".")[2] for name in names}).sink_parquet(out)


def _backfill(plan: FeaturePlan, folder: str, out: str, share: float = 1.0) -> None:
    root, sources = Path(folder), {view.source.name: view.source for view in plan.views}
    parts = Path(out).with_suffix(".parts")
    shutil.rmtree(parts, ignore_errors=True)
    memory_rows, bucket_rows = (max(1, round(rows * share)) for rows in (MEMORY_ROWS, BUCKET_ROWS))
    bounded = Sources(root, sources, memory_rows=memory_rows, bucket_rows=bucket_rows)
    backfill(plan, root / "asked.parquet", bounded, parts)


def window_bounds() -> list[tuple[str, str, int, int]]:
    """Return of each window its column in `windows`, its aggregation, how many hops it has and their length (µs)."""
    view = _window_view()
    return [(window.names[0], window.measure.kind, window.hops, window.hop_us) for window in view.all_windows()]


@frozen(eq=False)
class Online:
    """An online state in a folder, its log beside it."""

    folder: Path
    store: LmdbOnline
    feed: Feed
    clock: SimulatedClock
    plan: FeaturePlan

    def materialise(self, root: str) -> None:
        """Build the state of every view from the files in a folder."""
        self.feed.materialise(Path(root), END_US)

    def read(self, entities: Sequence[int]) -> Any:
        """Return every feature of some entities, as a model would be given them."""
        asked = {"entity_id": entities}
        with self.store.read() as state:
            fetched = fetch(self.plan, state, asked)
        return online_columns(self.plan, asked, fetched, [END_US] * len(entities))

    def values(self, entities: Sequence[int]) -> dict[str, list[float | None]]:
        """Return the same by the names of columns, to be checked."""
        columns = self.read(entities)
        return {name.partition(".")[2]: list(columns[name]) for name in self.plan.names}

    def push(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take rows of the wide source in when the last of them has happened: logged and applied to every view."""
        self.clock.advance_to(rows[-1][list(_WIDE_FIELDS).index("event_timestamp")])
        self.feed.push("wide", rows)

    def state_bytes(self, entity: int) -> int:
        """Return how many bytes the state of one entity takes, without its keys."""
        key = str(entity)
        states = [ViewState.of(view) for view in self.plan.views]
        places = [state.ring_place(ring) for state in states for ring in range(len(state.rings))]
        places += [state.latest_place for state in states]
        with self.store.read() as reader:
            return sum(
                len(value)
                for value in reader.get_many([place + key_bytes(key) for place in places])
                if value is not None
            )


@contextmanager
def online(folder: str, shape: Shape, *, keyed: bool = False) -> Iterator[Online]:
    """Open an online state.

    keyed: whether rows become known when they were created, and have a key: those of "wide" always do, "windows" never.
    """
    root, views = Path(folder), _online_views(shape, keyed=keyed)
    sources = {view.source.name: view.source for view in views}
    store, clock = LmdbOnline(root / "online"), SimulatedClock(END_US)
    feed = Feed(sources, views, SegmentLog(root / "log"), store, clock)
    try:
        yield Online(root, store, feed, clock, _plan(views))
    finally:
        store.close()


def used_bytes(folder: str) -> int:
    """Return the size of the pages that the closed online state in a folder uses."""
    with lmdb.open(str(Path(folder) / "online"), readonly=True, lock=False) as environment:
        found = environment.stat()
    pages = found["branch_pages"] + found["leaf_pages"] + found["overflow_pages"]
    return int(pages * found["psize"])


def wide_rows(path: str) -> list[tuple[Any, ...]]:
    """Return the rows of the wide source as a producer would push them."""
    return plain_values(pl.read_parquet(path, columns=list(_WIDE_FIELDS))).rows()


def _history_views(*, keyed: bool) -> list[FeatureView]:
    return [_latest_view(view, _history_source(view, keyed=keyed)) for view in range(VIEWS)]


def _history_source(view: int, *, keyed: bool) -> Source:
    times = ["event_timestamp", "created"] if keyed else ["event_timestamp"]
    values = feature_columns(view)
    fields: dict[str, FieldType] = {"entity_id": int, **dict.fromkeys(times, datetime), **dict.fromkeys(values, float)}
    key = ["entity_id", "event_timestamp"] if keyed else []
    files = ck.parquet(f"view{view}.parquet")
    return Source(f"view{view}", fields, files, time="event_timestamp", known=times[-1], key=key)


def _latest_view(view: int, source: Source) -> FeatureView:
    return FeatureView(f"view{view}", ENTITY, source, latest=feature_columns(view), max_age=TTL)


def _event_source() -> Source:
    fields: dict[str, FieldType] = {"entity_id": int, "at": datetime, "value": float}
    return Source("events", fields, ck.parquet("events.parquet"), time="at")


def _window_view(latest: Sequence[str] = ()) -> FeatureView:
    return FeatureView("events", ENTITY, _event_source(), windows=_aggregates("value", KINDS), latest=latest)


def _aggregates(column: str, kinds: Sequence[str]) -> list[Aggregate]:
    return [ck.count(over=OVER) if kind == "count" else getattr(ck, kind)(column, over=OVER) for kind in kinds]


def _wide_views(*, windows: bool, created: bool) -> list[FeatureView]:
    fields = {**_WIDE_FIELDS, "created": datetime} if created else _WIDE_FIELDS
    known, files = "created" if created else "event_timestamp", ck.parquet("wide.parquet")
    source = Source("wide", fields, files, time="event_timestamp", known=known, key="event_id")
    kinds = ("count",), ("sum", "mean"), ("min", "max", "variance")
    views = [_latest_view(view, source) for view in range(VIEWS)]
    if not windows:
        return views
    parts = zip(views, kinds, strict=True)
    return [evolve(view, windows=_aggregates(view.latest[0], of_view)) for view, of_view in parts]


def _large_plan() -> FeaturePlan:
    keys, times = ("row_id", "entity_id", "shop_id"), ("at", "known_at")
    fields: dict[str, FieldType] = {
        **dict.fromkeys(keys, int),
        **dict.fromkeys(times, datetime),
        **dict.fromkeys(LARGE_VALUES, float),
    }
    source = Source("large", fields, ck.parquet("large.parquet"), time="at", known="known_at", key="row_id")
    windows = [ck.count(over=["1h", "7d"]), ck.mean("v0", over=["1h", "7d", "30d"]), ck.max("v1", over="7d")]
    views = (
        FeatureView("shop", ck.Entity("shop", "shop_id"), source, windows=windows),
        FeatureView("entity", ENTITY, source, latest=LARGE_VALUES, max_age=TTL),
    )
    names = tuple(name for view in views for name in feature_names(view))
    return FeaturePlan(views, {"entity_id": int, "shop_id": int}, "asked_at", {}, names)


def _online_views(shape: Shape, *, keyed: bool) -> list[FeatureView]:
    match shape:
        case "latest":
            return _history_views(keyed=keyed)
        case "windows":
            return [_window_view(["value"])]
        case _:
            return _wide_views(windows=shape == "wide and windows", created=keyed)


def _plan(views: Sequence[FeatureView], at: str = "asked_at") -> FeaturePlan:
    names = tuple(name for view in views for name in feature_names(view))
    return FeaturePlan(tuple(views), {"entity_id": int}, at, {}, names)
