"""The online path: the features of a request from the state in the online store, windows finalised at its own time."""

from collections.abc import Sequence
from functools import lru_cache
from math import isnan
from typing import Any

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.keys import key_text
from charkha.features.plan import FeaturePlan
from charkha.features.request import Columns, frame_of, request_columns
from charkha.features.segments import IntArray
from charkha.features.state import RingState, ViewState, decode_latest
from charkha.spec.model import FloatArray
from charkha.storage.online import OnlineReader


def online_features(plan: FeaturePlan, reader: OnlineReader, requests: pl.DataFrame, at_us: int) -> pl.DataFrame:
    """Return the features of a micro-batch: columns `plan.names`, one row per request.

    requests: the request fields. at_us: the time of the prediction, the same for the batch. The store must hold the
    state of every view of the plan (see `Feed.materialise`).
    """
    return frame_of(plan, online_columns(plan, reader, requests.to_dict(as_series=False), at_us))


def online_columns(plan: FeaturePlan, reader: OnlineReader, requests: Columns, at_us: int) -> Columns:
    """Return the same as plain lists, None for null, beside the request's columns: how a small batch costs least.

    requests: the request fields, a list of values each.
    """
    columns: dict[str, Sequence[Any]] = dict(requests)
    size = len(next(iter(requests.values()), ()))
    columns[plan.at] = [at_us] * size
    for state in _states(plan):
        _add_view(columns, state, reader, at_us, _keys(requests, state.view.entity.keys))
    return request_columns(plan, columns)


@lru_cache(maxsize=256)
def _states(plan: FeaturePlan) -> tuple[ViewState, ...]:
    return tuple(ViewState.of(view) for view in plan.views)


def _keys(requests: Columns, columns: Sequence[str]) -> list[str | None]:
    if len(columns) == 1:
        return [key_text((value,)) for value in requests[columns[0]]]
    return [key_text(row) for row in zip(*(requests[column] for column in columns), strict=True)]


def _add_view(
    columns: dict[str, Sequence[Any]], state: ViewState, reader: OnlineReader, at_us: int, keys: list[str | None]
) -> None:
    known = [place for place, key in enumerate(keys) if key is not None]
    texts = [key for key in keys if key is not None]
    for index, ring in enumerate(state.rings):
        stored = reader.get_many([state.ring_key(index, key) for key in texts])
        for window, numbers in ring_values(ring, stored, at_us).items():
            columns[f"{state.view.name}.{window}"] = _nullable(numbers, known, len(keys))
    if state.view.latest:
        stored = reader.get_many([state.latest_key(key) for key in texts])
        rows = _latest_rows(state, stored, at_us)
        for index, column in enumerate(state.view.latest):
            values = [row[index] for row in rows]
            columns[f"{state.view.name}.{column}"] = _placed(values, known, len(keys))


def _nullable(values: FloatArray, places: Sequence[int], size: int) -> list[float | None]:
    """Return values in their places of `size`, None for NaN and for what has no value."""
    return _placed([None if isnan(value) else value for value in values.tolist()], places, size)


def _placed(values: list[Any], places: Sequence[int], size: int) -> list[Any]:
    if len(values) == size:
        return values
    placed: list[Any] = [None] * size
    for place, value in zip(places, values, strict=True):
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


def _latest_rows(state: ViewState, stored: Sequence[bytes | None], at_us: int) -> list[Sequence[Any]]:
    """Return the latest values of each key; nulls where there are none or they are too old."""
    missing, max_age_us = [None] * len(state.view.latest), state.max_age_us
    rows: list[Sequence[Any]] = []
    for found in stored:
        latest = decode_latest(found) if found is not None else None
        fresh = latest is not None and (max_age_us is None or at_us - latest.event_us <= max_age_us)
        rows.append(latest.values if latest is not None and fresh else missing)
    return rows
