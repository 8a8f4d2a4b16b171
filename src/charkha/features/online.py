"""The online path: the features of a request from the state in the online store, windows finalised at its own time."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import polars as pl
from attrs import frozen

from charkha.clock import to_datetime
from charkha.features.keys import key_text
from charkha.features.plan import FeaturePlan, evaluate_expressions
from charkha.features.segments import IntArray
from charkha.features.state import RingState, ViewState, decode_latest
from charkha.spec.fields import POLARS_TYPES, TIME
from charkha.spec.model import FloatArray
from charkha.storage.online import OnlineReader


def online_features(plan: FeaturePlan, reader: OnlineReader, requests: pl.DataFrame, at_us: int) -> pl.DataFrame:
    """Return the features of a micro-batch: columns `plan.names`, one row per request.

    requests: the request fields. at_us: the time of the prediction, the same for the batch. The store must hold the
    state of every view of the plan (see `Feed.materialise`).
    """
    columns: dict[str, pl.Series] = {}
    for state in _states(plan):
        keys = _keys(requests, state.view.entity.keys)
        columns.update(_view_features(state, reader, keys, at_us))
    frame = requests.with_columns(pl.lit(to_datetime(at_us), dtype=TIME).alias(plan.at))
    return evaluate_expressions(plan.expressions, frame.with_columns(**columns)).select(plan.names)


@lru_cache(maxsize=256)
def _states(plan: FeaturePlan) -> tuple[ViewState, ...]:
    return tuple(ViewState.of(view) for view in plan.views)


def _keys(requests: pl.DataFrame, columns: Sequence[str]) -> list[str | None]:
    if len(columns) == 1:
        values = requests[columns[0]].to_list()
        return [key_text((value,)) for value in values]
    return [key_text(row) for row in requests.select(columns).iter_rows()]


def _view_features(
    state: ViewState, reader: OnlineReader, keys: Sequence[str | None], at_us: int
) -> dict[str, pl.Series]:
    known = [place for place, key in enumerate(keys) if key is not None]
    texts = [key for key in keys if key is not None]
    columns: dict[str, pl.Series] = {}
    for index, ring in enumerate(state.rings):
        stored = reader.get_many([state.ring_key(index, key) for key in texts])
        for name, values in ring_values(ring, stored, at_us).items():
            placed = np.full(len(keys), np.nan)
            placed[known] = values
            columns[f"{state.view.name}.{name}"] = pl.Series(placed, nan_to_null=True)
    if state.view.latest:
        columns.update(_latest_values(state, reader, keys, at_us))
    return columns


@frozen(eq=False)
class _StoredTiles:
    """The tiles of a batch of keys, one after the other; `starts` and `ends` say whose are whose."""

    hops: IntArray
    states: FloatArray
    starts: IntArray
    ends: IntArray


def _stored_tiles(ring: RingState, stored: Sequence[bytes | None]) -> _StoredTiles:
    tiles = np.frombuffer(b"".join(part or b"" for part in stored), ring.dtype)
    sizes = np.fromiter((len(part or b"") // ring.tile.size for part in stored), np.int64, len(stored))
    ends = np.cumsum(sizes)
    return _StoredTiles(tiles["hop"], tiles["states"], ends - sizes, ends)


def ring_values(ring: RingState, stored: Sequence[bytes | None], at_us: int) -> dict[str, FloatArray]:
    """Return the values of every window of a ring for a batch of keys: float64 (k,), NaN for null."""
    tiles = _stored_tiles(ring, stored)
    open_hop = at_us // ring.ring.hop_us
    values: dict[str, FloatArray] = {}
    lows_by_hops: dict[int, IntArray] = {}
    for window, part in ring.ring.windows:
        if window.hops not in lows_by_hops:
            outside = np.append(0, np.cumsum(tiles.hops < open_hop - window.hops))
            lows_by_hops[window.hops] = tiles.starts + outside[tiles.ends] - outside[tiles.starts]
        states = tiles.states[:, part.start : part.stop]
        merged = part.aggregation.merge(states, lows_by_hops[window.hops], tiles.ends)
        values[window.name] = part.aggregation.finalise(merged)
    return values


def _latest_values(
    state: ViewState, reader: OnlineReader, keys: Sequence[str | None], at_us: int
) -> dict[str, pl.Series]:
    max_age_us = state.view.max_age_us
    missing: list[object] = [None] * len(state.view.latest)
    rows: list[list[object]] = [missing] * len(keys)
    known = [place for place, key in enumerate(keys) if key is not None]
    stored = reader.get_many([state.latest_key(key) for key in keys if key is not None])
    for place, found in zip(known, stored, strict=True):
        if found is None:
            continue
        latest = decode_latest(found)
        if max_age_us is None or at_us - latest.event_us <= max_age_us:
            rows[place] = list(latest.values)
    fields = state.view.source.fields
    return {
        f"{state.view.name}.{column}": _series([row[index] for row in rows], POLARS_TYPES[fields[column]])
        for index, column in enumerate(state.view.latest)
    }


def _series(values: list[object], kind: pl.DataType) -> pl.Series:
    return pl.Series(values, dtype=pl.Int64()).cast(TIME) if kind == TIME else pl.Series(values, dtype=kind)
