"""All that the feature benchmark calls of Charkha: to measure another way of calling it, change this file alone."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import lmdb
import polars as pl
from attrs import evolve, frozen
from features_data import END_US, VIEWS, all_features, feature_columns

import charkha as ck
from charkha.clock import SimulatedClock
from charkha.engines.local import LocalEngine
from charkha.features.feed import Feed
from charkha.features.materialise import plain_values
from charkha.features.offline import offline_features
from charkha.features.online import fetch, online_columns
from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.rows import read_rows
from charkha.features.state import ViewState
from charkha.spec.fields import FieldType
from charkha.spec.sources import Source
from charkha.spec.views import Aggregate, FeatureView
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


def join(folder: str, out: str, *, known: bool = False) -> None:
    """Join the history of three views to every question: Parquet in, Parquet out.

    known: only what was created by then, rather than what had happened by then. One view after the other is in memory.
    """
    root = Path(folder)
    asked = pl.read_parquet(root / "asked.parquet")
    spine = asked.select("entity_id", _at_us=pl.col("event_timestamp").dt.epoch("us"))
    for view in _history_views(known=known):
        rows = read_rows(view.source, root)
        found = offline_features(_plan([view]), spine, {view.source.name: rows}, LocalEngine(1))
        del rows
        asked = asked.hstack(found.rename({name: name.partition(".")[2] for name in found.columns}))
    asked.write_parquet(out)


def windows(folder: str, out: str) -> None:
    """Compute six aggregations over four windows for every question: Parquet in, Parquet out."""
    root = Path(folder)
    asked = pl.read_parquet(root / "asked.parquet")
    view = _window_view()
    spine = asked.select("entity_id", _at_us=pl.col("at").dt.epoch("us"))
    found = offline_features(_plan([view]), spine, {"events": read_rows(view.source, root)}, LocalEngine(1))
    asked.hstack(found.rename({name: name.partition(".")[2] for name in found.columns})).write_parquet(out)


def window_bounds() -> list[tuple[str, str, int, int]]:
    """Return of each window its column in `windows`, its aggregation, how many hops it has and their length (µs)."""
    view = _window_view()
    return [(window.name, window.kind, window.hops, window.hop_us) for window in view.all_windows()]


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
        """Take rows of the wide source in: logged and applied to every view."""
        self.feed.push("wide", rows)

    def state_bytes(self, entity: int) -> int:
        """Return how many bytes the state of one entity takes, without its keys."""
        key = str(entity)
        states = [ViewState.of(view) for view in self.plan.views]
        places = [state.ring_key(ring, key) for state in states for ring in range(len(state.rings))]
        places += [state.latest_key(key) for state in states]
        with self.store.read() as reader:
            return sum(len(value) for value in reader.get_many(places) if value is not None)


@contextmanager
def online(folder: str, shape: Shape, *, keyed: bool = False) -> Iterator[Online]:
    """Open an online state. keyed: whether rows of "latest" have a key, and so could be corrected by a push."""
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


def _history_views(*, known: bool) -> list[FeatureView]:
    return [_latest_view(view, _history_source(view, known=known)) for view in range(VIEWS)]


def _history_source(view: int, *, known: bool, keyed: bool = False) -> Source:
    times = ["event_timestamp", "created"] if known else ["event_timestamp"]
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
    return [Aggregate(kind, None if kind == "count" else column, OVER) for kind in kinds]  # type: ignore[arg-type]


def _wide_views(*, windows: bool) -> list[FeatureView]:
    source = Source("wide", _WIDE_FIELDS, ck.parquet("wide.parquet"), time="event_timestamp", key="event_id")
    kinds = ("count",), ("sum", "mean"), ("min", "max", "variance")
    views = [_latest_view(view, source) for view in range(VIEWS)]
    if not windows:
        return views
    parts = zip(views, kinds, strict=True)
    return [evolve(view, windows=_aggregates(view.latest[0], of_view)) for view, of_view in parts]


def _online_views(shape: Shape, *, keyed: bool) -> list[FeatureView]:
    match shape:
        case "latest":
            sources = [_history_source(view, known=False, keyed=keyed) for view in range(VIEWS)]
            return [_latest_view(view, source) for view, source in enumerate(sources)]
        case "windows":
            return [_window_view(["value"])]
        case _:
            return _wide_views(windows=shape == "wide and windows")


def _plan(views: Sequence[FeatureView]) -> FeaturePlan:
    names = tuple(name for view in views for name in feature_names(view))
    return FeaturePlan(tuple(views), {"entity_id": int}, "asked_at", {}, names)
