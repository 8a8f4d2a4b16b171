"""Which version answers a request: sticky by the entity's keys, so that an entity meets one version only.

The unit interval is shared out: challengers in the order given from 0 on, the champion has the rest. Raising a
challenger's share (the first one's, with several) moves entities to it and none of its own away.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from charkha.spec.model import FloatArray

IndexArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

_SCALE = 2.0**-64


def position(model: str, key: Sequence[object]) -> float:
    """Return the place of an entity in [0, 1), the same in every process and at every time.

    The model's name salts it, so that two models do not try their challengers on the same entities.
    """
    text = "\x1f".join("\x00" if part is None else str(part) for part in (model, *key))
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") * _SCALE


def positions(model: str, keys: Sequence[Sequence[object]]) -> FloatArray:
    """Return the places of entities, float64 (n,)."""
    return np.array([position(model, key) for key in keys], dtype=np.float64)


def assign(places: FloatArray, challenger_shares: Sequence[float]) -> IndexArray:
    """Return who answers each row, int64 (n,): 0 for the champion, i + 1 for the challenger i.

    `challenger_shares` are between 0 and 1 and sum to at most 1; the champion takes what they leave.
    """
    bounds = np.cumsum(np.asarray(challenger_shares, dtype=np.float64))
    who = np.searchsorted(bounds, places, side="right") + 1
    return np.where(who > len(bounds), 0, who).astype(np.int64)
