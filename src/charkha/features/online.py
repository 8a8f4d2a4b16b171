"""The online path: the features of a request from the state in the online store, windows finalised at its own time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Any

import numpy as np
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
    asked = requests.to_dict(as_series=False)
    return frame_of(plan, online_columns(plan, asked, fetch(plan, reader, asked), [at_us] * requests.height))


@frozen(eq=False)
class Fetched:
    """What the online state holds of the entities of some requests, as bytes: quick to read, finalised later.

    keys: of each view of the plan, the requests' keys. stored: of each place of the plan's layout, what lies there for
    each request. Requests that were fetched one after the other are finalised together: see `together`.
    """

    keys: Sequence[Sequence[str | None]]
    stored: Sequence[Sequence[bytes | None]]

    @classmethod
    def together(cls, parts: Sequence["Fetched"]) -> "Fetched":
        """Return the same of all requests of several fetches of one plan."""
        if len(parts) == 1:
            return parts[0]
        keys = [list(chain.from_iterable(each)) for each in zip(*(part.keys for part in parts), strict=True)]
        stored = [list(chain.from_iterable(each)) for each in zip(*(part.stored for part in parts), strict=True)]
        return cls(keys, stored)


def fetch(plan: FeaturePlan, reader: OnlineReader, requests: Columns) -> Fetched:
    """Read the state of the requests' entities, all from one snapshot. requests: the request fields."""
    layout = _layout_of(plan)
    keys = [_keys(requests, state.view.entity.keys) for state in layout.states]
    places = [place_of(key) for view, place_of in layout.places for key in keys[view]]
    found = reader.get_many(places)
    count = len(keys[0]) if keys else 0
    return Fetched(keys, [found[number * count : (number + 1) * count] for number in range(len(layout.places))])


def online_columns(plan: FeaturePlan, requests: Columns, fetched: Fetched, at_us: Sequence[int]) -> Columns:
    """Return every feature as a plain list, None for null, beside the request's columns: how a small batch costs least.

    requests: the request fields, a list of values each. at_us: the time of each prediction.
    """
    layout = _layout_of(plan)
    columns: dict[str, Sequence[Any]] = {**requests, plan.at: at_us}
    times = np.array(at_us, np.int64)
    stored = iter(fetched.stored)
    for stack in layout.stacks:
        columns.update(window_values(stack, list(islice(stored, len(stack.places))), times))
    for state, keys in zip(layout.states, fetched.keys, strict=True):
        columns.update(_ratios(state, columns))
        if state.view.latest:
            columns.update(_latest_values(state, next(stored), at_us))
        _forget_null_keys(columns, state, keys)
    return request_columns(plan, columns)


@frozen(eq=False)
class _Layout:
    """What a plan reads. places: of each ring, stack by stack, then of latest rows: its view, and key → place."""

    states: tuple[ViewState, ...]
    stacks: tuple[Stack, ...]
    places: tuple[tuple[int, Callable[[str | None], bytes]], ...]


@lru_cache(maxsize=256)
def _layout_of(plan: FeaturePlan) -> _Layout:
    states = tuple(ViewState.of(view) for view in plan.views)
    stacks = stacks_of(states)
    rings = [(view, partial(states[view].ring_key, ring)) for stack in stacks for view, ring in stack.places]
    latest = [(view, state.latest_key) for view, state in enumerate(states) if state.view.latest]
    return _Layout(states, stacks, (*rings, *latest))


def _keys(requests: Columns, columns: Sequence[str]) -> list[str | None]:
    if len(columns) == 1:
        return [value if isinstance(value, str) else key_text((value,)) for value in requests[columns[0]]]
    return [key_text(row) for row in zip(*(requests[column] for column in columns), strict=True)]


def _ratios(state: ViewState, columns: Columns) -> Iterator[tuple[str, list[Any]]]:
    """Yield the ratios of a view, null where a side is or the denominator is 0."""
    for name, numerator, denominator in state.ratios:
        sides = zip(columns[numerator], columns[denominator], strict=True)
        yield name, [None if above is None or not below else above / below for above, below in sides]


def _latest_values(
    state: ViewState, stored: Sequence[bytes | None], times_us: Sequence[int]
) -> Mapping[str, list[Any]]:
    """Return the latest values of each key; nulls where there are none or they are too old."""
    missing, max_age_us = [None] * len(state.view.latest), state.max_age_us
    rows: list[Sequence[Any]] = []
    for found, at_us in zip(stored, times_us, strict=True):
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
