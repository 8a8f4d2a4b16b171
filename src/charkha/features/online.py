"""The online path: the features of a request from the state in the online store, windows finalised at its own time."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.evaluate import OnFailure, unheard
from charkha.features.keys import key_bytes, key_texts
from charkha.features.lanes import Stack, stacks_of, window_values
from charkha.features.latest import Column, LatestStack, latest_stacks
from charkha.features.numbers import ratio_of
from charkha.features.plan import FeaturePlan
from charkha.features.request import Columns, frame_of, request_columns
from charkha.features.state import ViewState
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

    keys: of each entity of the plan's layout, the requests' keys. stored: of each place of the layout, what lies there
    for each request. Requests that were fetched one after the other are finalised together: see `together`.
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
    layout = layout_of(plan)
    keys = _keys(requests, layout.entities)
    ends = [[key_bytes(key) for key in of_entity] for of_entity in keys]
    found = reader.get_many([place + end for entity, place in layout.places for end in ends[entity]])
    count = len(keys[0]) if keys else 0
    return Fetched(keys, [found[number * count : (number + 1) * count] for number in range(len(layout.places))])


def nothing_fetched(plan: FeaturePlan, requests: Columns) -> Fetched:
    """Return what `fetch` does where the state holds nothing of any entity."""
    layout = layout_of(plan)
    keys = _keys(requests, layout.entities)
    count = len(keys[0]) if keys else 0
    return Fetched(keys, [[None] * count for _ in layout.places])


def online_columns(
    plan: FeaturePlan, requests: Columns, fetched: Fetched, at_us: Sequence[int], on_failure: OnFailure = unheard
) -> Columns:
    """Return every feature beside the request's columns, without making a table of them: how a small batch costs least.

    requests: the request fields, a list of values each. at_us: the time of each prediction. on_failure: told of request
    features that could not be evaluated.
    """
    layout = layout_of(plan)
    columns: dict[str, Column] = {**requests, plan.at: at_us}
    times = np.array(at_us, np.int64)
    stored = iter(fetched.stored)
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond a float is null at the end
        for stack in layout.stacks:
            columns.update(window_values(stack, list(islice(stored, len(stack.places))), times))
    for latest in layout.latest:
        columns.update(latest.values(list(islice(stored, len(latest.views))), times))
    for state in layout.with_ratios:
        columns.update(_ratios(state, columns))
    for entity, keys in enumerate(fetched.keys):
        if None in keys:
            of_entity = (state for state, owner in zip(layout.states, layout.entity_of, strict=True) if owner == entity)
            _forget_null_keys(columns, of_entity, keys)
    return request_columns(plan, columns, on_failure)


@frozen(eq=False)
class Layout:
    """What a plan reads.

    entities: their key columns, each entity once; entity_of: the position in it of each view's.
    places: of each ring, then of each view's latest rows, stack by stack: its entity, and where its keys lie.
    newest: of each view, which of the places tells best when the newest of it is of: its latest rows, or else its ring
    of the shortest hop.
    """

    states: tuple[ViewState, ...]
    stacks: tuple[Stack, ...]
    latest: tuple[LatestStack, ...]
    with_ratios: tuple[ViewState, ...]
    entities: tuple[tuple[str, ...], ...]
    entity_of: tuple[int, ...]
    places: tuple[tuple[int, bytes], ...]
    newest: tuple[int, ...]


@lru_cache(maxsize=256)
def layout_of(plan: FeaturePlan) -> Layout:
    """Return what a plan reads."""
    states = tuple(ViewState.of(view) for view in plan.views)
    stacks = stacks_of(states)
    entities = tuple(dict.fromkeys(state.view.entity.keys for state in states))
    entity_of = tuple(entities.index(state.view.entity.keys) for state in states)
    of_rings = [place for stack in stacks for place in stack.places]
    rings = [(entity_of[view], states[view].ring_place(ring)) for view, ring in of_rings]
    together = latest_stacks([state.latest for state in states])
    latest = tuple(LatestStack(tuple(states[view].latest for view in views)) for views in together)
    of_rows = [view for views in together for view in views]
    rows = [(entity_of[view], states[view].latest_place) for view in of_rows]
    newest = [
        len(of_rings) + of_rows.index(view) if view in of_rows else of_rings.index((view, 0))
        for view in range(len(states))
    ]
    with_ratios = tuple(state for state in states if state.ratios)
    return Layout(states, stacks, latest, with_ratios, entities, entity_of, (*rings, *rows), tuple(newest))


def _keys(requests: Columns, entities: Sequence[Sequence[str]]) -> list[list[str | None]]:
    return [key_texts([requests[column] for column in entity]) for entity in entities]


def _ratios(state: ViewState, columns: Columns) -> Iterator[tuple[str, Column]]:
    """Yield the ratios of a view, null where a side is or the denominator is 0."""
    for name, numerator, denominator in state.ratios:
        yield name, ratio_of(np.asarray(columns[numerator]), np.asarray(columns[denominator]))


def _forget_null_keys(columns: dict[str, Column], states: Iterable[ViewState], keys: Sequence[str | None]) -> None:
    """A null key has no features, not even a count of 0."""
    nobody = np.array([key is None for key in keys])
    for name in (name for state in states for name in state.feature_names):
        values = columns[name]
        if isinstance(values, np.ndarray):
            columns[name] = np.where(nobody, np.nan, values)
        else:
            columns[name] = [None if key is None else value for key, value in zip(keys, values, strict=True)]
