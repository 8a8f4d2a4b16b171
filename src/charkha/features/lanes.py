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
from charkha.features.state import ViewState
from charkha.spec.model import FloatArray

# Lanes and hops share one integer, so that one search finds the first tile of every window.
_HOP_BITS = 40


@frozen(eq=False)
class Reach:
    """Windows by what they reach: the ring, hops back and length of a hop (µs) of each, int64 (windows, 1)."""

    rings: IntArray
    hops: IntArray
    hop_us: IntArray

    @classmethod
    def of(cls, windows: Sequence[tuple[int, int, int]]) -> "Reach":
        """Return the reach of windows: of each its ring, hops and length of a hop."""
        return cls(*(np.array(column, np.int64)[:, None] for column in zip(*windows, strict=True)))

    def ranges(self, packed: IntArray, ends: IntArray, at_us: IntArray) -> tuple[IntArray, IntArray]:
        """Return from which tile up to which each window goes, for each request: int64 (windows · requests,), twice.

        packed: of each tile its lane and hop; ends: of each lane.
        """
        lanes = self.rings * len(at_us) + np.arange(len(at_us))
        oldest = at_us // self.hop_us - self.hops
        return np.searchsorted(packed, ((lanes << _HOP_BITS) + oldest).ravel()), ends[lanes.ravel()]


@frozen(eq=False)
class StackedPart:
    """All windows of one aggregation in a stack. reach: which of the stack's reaches is theirs."""

    aggregation: Aggregation
    columns: slice
    names: tuple[tuple[str, ...], ...]
    reach: int


@frozen(eq=False)
class Stack:
    """Rings with tiles of one shape. places: of each ring, its view's position in the plan and its own in the view."""

    places: tuple[tuple[int, int], ...]
    dtype: np.dtype[np.void]
    parts: tuple[StackedPart, ...]
    reaches: tuple[Reach, ...]


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
    reaches: dict[tuple[tuple[int, int, int], ...], int] = {}
    parts: list[StackedPart] = []
    for position, part in enumerate(rings[0].ring.parts):
        windows = [
            (number, window)
            for number, ring in enumerate(rings)
            for window, its in ring.ring.windows
            if its == ring.ring.parts[position]
        ]
        reach = tuple((number, window.hops, window.hop_us) for number, window in windows)
        of_part = tuple(tuple(f"{names[number]}.{name}" for name in window.names) for number, window in windows)
        place = reaches.setdefault(reach, len(reaches))
        parts.append(StackedPart(part.aggregation, slice(part.start, part.stop), of_part, place))
    return Stack(tuple(places), rings[0].dtype, tuple(parts), tuple(map(Reach.of, reaches)))


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
    ranges = [reach.ranges(packed, ends, at_us) for reach in stack.reaches]
    states = tiles["states"]
    times = {windows: np.tile(at_us, windows) for windows in {len(part.names) for part in stack.parts}}
    for part in stack.parts:
        merged = part.aggregation.merge(states[:, part.columns], *ranges[part.reach])
        values = finalised(part.aggregation, merged, times[len(part.names)])
        by_feature = values.reshape(len(part.names), len(at_us), -1).swapaxes(1, 2)
        for names, rows in zip(part.names, by_feature, strict=True):
            yield from zip(names, rows, strict=True)
