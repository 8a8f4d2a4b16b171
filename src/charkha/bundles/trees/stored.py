"""A forest as bytes, for trainers that have no format of their own but pickle."""

from itertools import accumulate
from typing import Any

import msgspec
import numpy as np

from charkha.bundles.predictor import BadState
from charkha.bundles.trees.forest import Array, Forest, Link, Tree

# Each array of all trees in one piece, little-endian.
TYPES = {"feature": "<i4", "threshold": "<f8", "left": "<i4", "right": "<i4", "null_left": "<u1", "value": "<f8"}


class StoredForest(msgspec.Struct, frozen=True, kw_only=True):
    """A forest of float64 leaves. splits, leaves: how many each tree has; arrays: by name, of all trees together.

    columns: of each what zero and null become, and how many codes there are. categories: (tree, split, bits).
    """

    format: int
    columns: tuple[tuple[float, float, float], ...]
    start: float
    link: Link
    slope: float
    single: bool
    tiny: float
    splits: tuple[int, ...]
    leaves: tuple[int, ...]
    arrays: dict[str, bytes]
    categories: tuple[tuple[int, int, bytes], ...]


def store(forest: Forest) -> bytes:
    """Return a forest as bytes. Its leaves must be float64."""
    arrays = {
        name: np.concatenate([np.zeros(0), *(getattr(tree, name) for tree in forest.trees)]).astype(dtype).tobytes()
        for name, dtype in TYPES.items()
    }
    categories = [
        (number, split, words.astype("<u4").tobytes())
        for number, tree in enumerate(forest.trees)
        for split, words in tree.categories.items()
    ]
    columns = np.column_stack([forest.zero, forest.null, forest.codes])
    stored = StoredForest(
        format=1,
        columns=tuple((zero, null, codes) for zero, null, codes in columns.tolist()),
        start=forest.start,
        link=forest.link,
        slope=forest.slope,
        single=forest.single,
        tiny=forest.tiny,
        splits=tuple(len(tree.feature) for tree in forest.trees),
        leaves=tuple(len(tree.value) for tree in forest.trees),
        arrays=arrays,
        categories=tuple(categories),
    )
    return msgspec.msgpack.encode(stored)


def restored(state: bytes) -> Forest:
    """Return the forest that was stored. Raises BadState."""
    try:
        stored = msgspec.msgpack.decode(state, type=StoredForest)
        arrays = {name: np.frombuffer(stored.arrays[name], dtype) for name, dtype in TYPES.items()}
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        raise BadState(f"expected a stored forest: {error}") from None
    splits, leaves = [0, *accumulate(stored.splits)], [0, *accumulate(stored.leaves)]
    sizes = {name: leaves[-1] if name == "value" else splits[-1] for name in TYPES}
    if any(len(arrays[name]) != size for name, size in sizes.items()) or len(splits) != len(leaves):
        raise BadState(f"expected a stored forest of {splits[-1]} splits and {leaves[-1]} leaves, got other arrays")
    categories: list[dict[int, Array]] = [{} for _ in stored.splits]
    for tree, split, words in stored.categories:
        categories[tree][split] = np.frombuffer(words, "<u4")
    zero, null, codes = np.array(stored.columns, dtype=np.float64).reshape(-1, 3).T.copy()
    return Forest(
        columns=len(stored.columns),
        trees=[
            _tree(arrays, slice(*splits[at : at + 2]), slice(*leaves[at : at + 2]), categories[at])
            for at in range(len(stored.splits))
        ],
        start=stored.start,
        link=stored.link,
        slope=stored.slope,
        single=stored.single,
        tiny=stored.tiny,
        zero=zero,
        null=null,
        codes=codes,
    )


def _tree(arrays: dict[str, Array], splits: slice, leaves: slice, categories: dict[int, Array]) -> Tree:
    parts: dict[str, Any] = {name: array[leaves if name == "value" else splits] for name, array in arrays.items()}
    parts["null_left"] = parts["null_left"].astype(bool)
    return Tree(**parts, categories=categories)
