"""The windows of a whole plan, read at once.

Rings whose tiles look alike are one *stack*, whatever view they are of: their tiles lie one after the other, a *lane*
per ring and request, and every window of every lane is merged in one go. So the cost of a small batch grows with the
kinds of aggregations in use, not with the number of views and windows.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from attrs import frozen

from charkha.features.aggregations import Aggregation
from charkha.features.aggregations.aggregation import finalised
from charkha.features.segments import IntArray
from charkha.features.state import RingState, ViewState
from charkha.spec.model import FloatArray

# Lanes and hops share one integer, so that one search finds the first tile of every window.
_HOP_BITS = 40


@frozen(eq=False)
class StackedPart:
    """All windows of one aggregation in a stack: the names, ring, hops back and length of a hop (µs) of each."""

    aggregation: Aggregation
    columns: slice
    names: tuple[tuple[str, ...], ...]
    rings: IntArray
    hops: IntArray
    hop_us: IntArray


@frozen(eq=False)
class Stack:
    """Rings with tiles of one shape. places: of each ring, its view's position in the plan and its own in the view."""

    places: tuple[tuple[int, int], ...]
    dtype: np.dtype[np.void]
    parts: tuple[StackedPart, ...]


def stacks_of(states: Sequence[ViewState]) -> tuple[Stack, ...]:
    """Return the rings of all views, those with tiles of one shape together."""
    by_shape: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for view, state in enumerate(states):
        for index, ring in enumerate(state.rings):
            shape = tuple(id(part.aggregation) for part in ring.ring.parts)
            by_shape.setdefault(shape, []).append((view, index))
    return tuple(_stack(states, places) for places in by_shape.values())


def _stack(states: Sequence[ViewState], places: list[tuple[int, int]]) -> Stack:
    rings = [states[view].rings[index] for view, index in places]
    names = [states[view].view.name for view, _ in places]
    parts = (_stacked(rings, names, position) for position in range(len(rings[0].ring.parts)))
    return Stack(tuple(places), rings[0].dtype, tuple(parts))


def _stacked(rings: Sequence[RingState], views: Sequence[str], position: int) -> StackedPart:
    found = [
        (tuple(f"{views[number]}.{name}" for name in window.names), number, window.hops, window.hop_us)
        for number, ring in enumerate(rings)
        for window, part in ring.ring.windows
        if part == ring.ring.parts[position]
    ]
    names, numbers, hops, hop_us = zip(*found, strict=True)
    part = rings[0].ring.parts[position]
    arrays = (np.array(column, np.int64) for column in (numbers, hops, hop_us))
    return StackedPart(part.aggregation, slice(part.start, part.stop), names, *arrays)


def window_values(
    stack: Stack, stored: Sequence[Sequence[bytes | None]], at_us: IntArray
) -> Iterator[tuple[str, FloatArray]]:
    """Yield every feature of the windows of a stack and its value per request, float64 with NaN for null.

    stored: of each ring, the tiles of each request. at_us: the time of each request, int64 (requests,).
    """
    lanes = [tiles or b"" for ring in stored for tiles in ring]
    tiles = np.frombuffer(b"".join(lanes), stack.dtype)
    sizes = np.array([len(lane) for lane in lanes], np.int64) // stack.dtype.itemsize
    ends = np.cumsum(sizes)
    packed = (np.repeat(np.arange(len(lanes)), sizes) << _HOP_BITS) + tiles["hop"]
    requests = len(at_us)
    for part in stack.parts:
        asked = part.rings[:, None] * requests + np.arange(requests)
        oldest = at_us // part.hop_us[:, None] - part.hops[:, None]
        lows = np.searchsorted(packed, ((asked << _HOP_BITS) + oldest).ravel())
        merged = part.aggregation.merge(tiles["states"][:, part.columns], lows, ends[asked.ravel()])
        values = finalised(part.aggregation, merged, np.tile(at_us, len(part.names)))
        by_feature = values.reshape(len(part.names), requests, -1).swapaxes(1, 2)
        for names, rows in zip(part.names, by_feature, strict=True):
            yield from zip(names, rows, strict=True)
