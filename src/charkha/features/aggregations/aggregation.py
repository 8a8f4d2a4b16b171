"""What an aggregation is: a monoid in five verbs, after Chronon's base aggregator.

A *state* is a fixed number of float64 (`width`). Null is NaN throughout, and no other state holds NaN or infinity as
packed bits. `prepare` and `update` say the same thing, for a column and for one row: the first serves history, the
second a row that has just arrived. Times are µs; rows come in the order of their known times.
"""

from typing import Protocol

import numpy as np

from charkha.features.segments import IntArray
from charkha.spec.model import FloatArray

State = tuple[float, ...]


class Aggregation(Protocol):
    """One way to sum up values in the order in which they became known."""

    @property
    def width(self) -> int:
        """How many float64 a state holds."""
        ...

    @property
    def empty(self) -> State:
        """The state of no rows: merging with it changes nothing."""
        ...

    @property
    def exact(self) -> bool:
        """Whether the order of merging cannot change the result, not even its last bit."""
        ...

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """Return the state of each row alone: (n,) and its known times (n,) → (n, width)."""
        ...

    def update(self, state: State, value: float, known_us: int) -> State:
        """Return the state with one more row."""
        ...

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Return the states of k ranges of neighbouring states: (n, width) → (k, width). Lows ascend."""
        ...

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """Return the features of each state, asked for at its time: (k, width) and (k,) → (k, features of a window)."""
        ...


def finalised(aggregation: Aggregation, states: FloatArray, at_us: IntArray) -> FloatArray:
    """Return the values of states; null where they are beyond what a float holds, and so are told by their order."""
    values = aggregation.finalise(states, at_us)
    return values if aggregation.exact else np.where(np.isfinite(values), values, np.nan)
