"""The predictor of a forest on NumPy alone: where there is no compiled one, and to hold that to."""

import numpy as np

from charkha.bundles.predictor import check_columns
from charkha.bundles.trees.forest import WORD, Array, Forest
from charkha.bundles.trees.layout import walk_of
from charkha.spec.model import FloatArray

# So many rows at once: their place in each tree is an array of rows by trees.
CHUNK = 256


class NumpyForest:
    """A forest walked by all rows in all trees a step at a time; never changes, so safe to use from several threads."""

    def __init__(self, forest: Forest) -> None:
        self._forest, self._walk = forest, walk_of(forest)

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return (rows,): probabilities or values. `matrix`: float64 (rows, columns). Raises WrongShape."""
        check_columns(matrix, self._forest.columns)
        parts = [self._totals(prepared(self._forest, matrix[at : at + CHUNK])) for at in range(0, len(matrix), CHUNK)]
        totals = np.concatenate([np.empty(0), *parts])
        if self._forest.link == "identity":
            return totals
        with np.errstate(over="ignore"):
            answers: FloatArray = 1 / (1 + np.exp(-self._forest.slope * totals))
            return answers

    def _totals(self, matrix: FloatArray) -> FloatArray:
        walk, rows = self._walk, np.arange(len(matrix))[:, None]
        both = np.concatenate([matrix, -matrix], axis=1)
        at = np.broadcast_to(walk.roots, (len(matrix), len(walk.roots)))
        while True:
            node = walk.nodes[at]
            after = node["no"] + (both[rows, np.maximum(node["feature"], 0)] > node["threshold"])
            by_category = node["feature"] < 0
            if by_category.any():
                codes = np.broadcast_to(rows, at.shape)[by_category], -1 - node["feature"][by_category]
                yes = _among(both[codes], node["threshold"][by_category].astype(np.int64), walk.words)
                after[by_category] = node["no"][by_category] + yes
            if np.array_equal(after, at):
                start = np.full((len(matrix), 1), self._forest.start, walk.value.dtype)
                # A cumulative sum adds up one after the other, as the trainers do.
                sums: FloatArray = np.concatenate([start, walk.value[at]], axis=1).cumsum(axis=1)[:, -1]
                return sums.astype(np.float64)
            at = after


def prepared(forest: Forest, matrix: FloatArray) -> FloatArray:
    """Return a matrix as the forest's trainer sees it."""
    precision = np.float32 if forest.single else np.float64
    largest = float(np.finfo(precision).max)
    matrix = np.clip(np.asarray(matrix, np.float64), -largest, largest).astype(precision).astype(np.float64)
    matrix = np.where(np.abs(matrix) <= forest.tiny, forest.zero, matrix)
    unknown = (forest.codes < np.inf) & ~((matrix > -1) & (matrix < forest.codes))
    matrix = np.where(unknown, np.nan, matrix)
    return np.where(np.isnan(matrix), forest.null, matrix)


def _among(codes: FloatArray, begin: Array, words: Array) -> Array:
    """Say of each code whether it is in the set that begins at its place."""
    known = (codes > -1) & (codes < WORD * words[begin].astype(np.float64))
    whole = np.where(known, codes, 0).astype(np.int64)
    place = np.minimum(begin + 1 + whole // WORD, len(words) - 1)
    found: Array = known & ((words[place] >> (whole % WORD).astype(np.uint32)) & 1).astype(bool)
    return found
