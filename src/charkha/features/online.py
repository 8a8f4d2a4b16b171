"""The online path: the features of a request from the state in the online store, windows finalised at its own time."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import polars as pl
from attrs import frozen

from charkha.features.keys import key_text
from charkha.features.lanes import Stack, stacks_of, window_values
from charkha.features.plan import FeaturePlan
from charkha.features.request import Columns, frame_of, request_columns
from charkha.features.state import ViewState, decode_latest
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
    layout = _layout_of(plan)
    keys = [_keys(requests, state.view.entity.keys) for state in layout.states]
    columns: dict[str, Sequence[Any]] = dict(requests)
    columns[plan.at] = [at_us] * len(next(iter(requests.values()), ()))
    for stack in layout.stacks:
        places = [layout.states[view].ring_key(ring, key) for view, ring in stack.places for key in keys[view]]
        columns.update(window_values(stack, reader.get_many(places), at_us))
    for state, asked in zip(layout.states, keys, strict=True):
        if state.view.latest:
            columns.update(_latest_values(state, reader.get_many([state.latest_key(key) for key in asked]), at_us))
        _forget_null_keys(columns, state, asked)
    return request_columns(plan, columns)


@frozen(eq=False)
class _Layout:
    states: tuple[ViewState, ...]
    stacks: tuple[Stack, ...]


@lru_cache(maxsize=256)
def _layout_of(plan: FeaturePlan) -> _Layout:
    states = tuple(ViewState.of(view) for view in plan.views)
    return _Layout(states, stacks_of(states))


def _keys(requests: Columns, columns: Sequence[str]) -> list[str | None]:
    if len(columns) == 1:
        return [value if isinstance(value, str) else key_text((value,)) for value in requests[columns[0]]]
    return [key_text(row) for row in zip(*(requests[column] for column in columns), strict=True)]


def _latest_values(state: ViewState, stored: Sequence[bytes | None], at_us: int) -> Mapping[str, list[Any]]:
    """Return the latest values of each key; nulls where there are none or they are too old."""
    missing, max_age_us = [None] * len(state.view.latest), state.max_age_us
    rows: list[Sequence[Any]] = []
    for found in stored:
        latest = decode_latest(found) if found is not None else None
        fresh = latest is not None and (max_age_us is None or at_us - latest.event_us <= max_age_us)
        rows.append(latest.values if latest is not None and fresh else missing)
    names = [f"{state.view.name}.{column}" for column in state.view.latest]
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _forget_null_keys(columns: dict[str, Sequence[Any]], state: ViewState, keys: Sequence[str | None]) -> None:
    """A null key has no features, not even a count of 0."""
    if None not in keys:
        return
    for name in state.feature_names:
        columns[name] = [None if key is None else value for key, value in zip(keys, columns[name], strict=True)]
