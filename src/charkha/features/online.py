"""The online path: the features of a request from the state in the online store, windows finalised at its own time."""

from collections.abc import Sequence
from functools import lru_cache
from math import isnan

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.keys import key_text
from charkha.features.plan import FeaturePlan, features_of
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
    # Built of whole columns: every call into the query engine costs more than the arithmetic of a small batch.
    times = pl.Series(plan.at, np.full(requests.height, at_us)).cast(TIME)
    columns = {series.name: series for series in (*requests.get_columns(), times)}
    for state in _states(plan):
        keys = _keys(requests, state.view.entity.keys)
        columns.update(_view_features(state, reader, keys, at_us))
    return features_of(plan, pl.DataFrame(columns))


@lru_cache(maxsize=256)
def _states(plan: FeaturePlan) -> tuple[ViewState, ...]:
    return tuple(ViewState.of(view) for view in plan.views)


def _keys(requests: pl.DataFrame, columns: Sequence[str]) -> list[str | None]:
    if len(columns) == 1:
        return [key_text((value,)) for value in requests.get_column(columns[0]).to_list()]
    parts = [requests.get_column(column).to_list() for column in columns]
    return [key_text(row) for row in zip(*parts, strict=True)]


def _view_features(
    state: ViewState, reader: OnlineReader, keys: Sequence[str | None], at_us: int
) -> dict[str, pl.Series]:
    known = [place for place, key in enumerate(keys) if key is not None]
    texts = [key for key in keys if key is not None]
    columns: dict[str, pl.Series] = {}
    for index, ring in enumerate(state.rings):
        stored = reader.get_many([state.ring_key(index, key) for key in texts])
        for window, values in ring_values(ring, stored, at_us).items():
            name = f"{state.view.name}.{window}"
            columns[name] = pl.Series(name, _nullable(values, known, len(keys)), dtype=pl.Float64())
    if state.view.latest:
        columns.update(_latest_values(state, reader, keys, at_us))
    return columns


def _nullable(values: FloatArray, places: Sequence[int], size: int) -> list[float | None]:
    """Return values in their places of `size`, None for NaN and for what has no value."""
    found = [None if isnan(value) else value for value in values.tolist()]
    if len(found) == size:
        return found
    placed: list[float | None] = [None] * size
    for place, value in zip(places, found, strict=True):
        placed[place] = value
    return placed


@frozen(eq=False)
class _StoredTiles:
    """The tiles of a batch of keys, one after the other; `starts` and `ends` say whose are whose."""

    hops: IntArray
    states: FloatArray
    starts: IntArray
    ends: IntArray


def _stored_tiles(ring: RingState, stored: Sequence[bytes | None]) -> _StoredTiles:
    parts = [part or b"" for part in stored]
    tiles = np.frombuffer(b"".join(parts), ring.dtype)
    sizes = np.array([len(part) // ring.tile.size for part in parts], np.int64)
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
            outside = np.zeros(len(tiles.hops) + 1, np.int64)
            np.cumsum(tiles.hops < open_hop - window.hops, out=outside[1:])
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
