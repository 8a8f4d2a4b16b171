"""What is told of every feature, block by block of time, from tiles alone: matrices of (blocks, features).

All of it adds up from tiles, but the share of the most frequent bin, which is of a block as a whole.
"""

import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.profile import NumericShape, ProfileShape, TextShape
from charkha.features.segments import IntArray
from charkha.spec.model import FloatArray


@frozen(eq=False)
class FeatureStatistics:
    """Of each block and feature, float64 (blocks, features); features in the order of the shape's parts.

    rows: with the feature logged. nulls, strangers, far: of them, nulls, values outside of the reference (numbers
    beyond it, categories it did not have), and numbers beyond it by more than it is wide. odd, agree, paired: numbers
    that do not go with the others, that are on the side which the others say, of so many that were looked at. levels:
    the sum of the normal scores of numbers. top: rows in the most frequent bin, nulls left out.
    """

    names: tuple[str, ...]
    rows: FloatArray
    nulls: FloatArray
    strangers: FloatArray
    far: FloatArray
    odd: FloatArray
    agree: FloatArray
    paired: FloatArray
    levels: FloatArray
    top: FloatArray

    @property
    def known(self) -> FloatArray:
        """How many rows are not null."""
        return self.rows - self.nulls


@frozen(eq=False)
class BinMeaning:
    """What each numbered bin of a shape says. All (width,).

    feature: its number, -1 for the score and what comes after. null, stranger, far: whether it counts nulls, what the
    reference did not have, what lies far from it. level: its normal score, 0 for text. odd, agree, paired: the number
    of the feature that it counts such rows of, else -1.
    """

    names: tuple[str, ...]
    feature: IntArray
    null: IntArray
    stranger: IntArray
    far: IntArray
    level: FloatArray
    odd: IntArray
    agree: IntArray
    paired: IntArray

    @classmethod
    def of(cls, shape: ProfileShape) -> "BinMeaning":
        """Return the meanings of a shape's bins."""
        names = tuple(shape.parts)
        feature, odd, agree, paired = (np.full(shape.width, -1, np.int64) for _ in range(4))
        null, stranger, far = (np.zeros(shape.width, np.int64) for _ in range(3))
        level = np.zeros(shape.width)
        for number, (name, part) in enumerate(shape.parts.items()):
            bins = slice(shape.starts[name], shape.starts[name] + part.bins)
            feature[bins] = number
            null[bins.stop - 1] = 1
            stranger[bins], far[bins] = _strangers(part), _far(part)
        levels = dict(zip(shape.paired, shape.conditional.levels if shape.conditional else (), strict=True))
        for place, name in enumerate(shape.paired):
            level[shape.starts[name] : shape.starts[name] + shape.parts[name].bins] = levels[name]
            start, number = shape.odd_start + 3 * place, names.index(name)
            paired[start] = odd[start + 1] = agree[start + 2] = number
        return cls(names, feature, null, stranger, far, level, odd, agree, paired)


def _strangers(part: NumericShape | TextShape) -> IntArray:
    """Return 1 for the bins of what the reference did not have."""
    flags = np.zeros(part.bins, np.int64)
    if isinstance(part, TextShape):
        flags[-2] = 1
    elif part.tenths:
        flags[: part.tenths[0] + 1] = 1
        flags[part.tenths[-1] + 1 : -1] = 1
    return flags


def _far(part: NumericShape | TextShape) -> IntArray:
    """Return 1 for the bins that lie beyond the reference by more than it is wide."""
    flags = np.zeros(part.bins, np.int64)
    if isinstance(part, NumericShape) and part.tenths:
        edges = np.asarray(part.edges)
        low, high = edges[part.tenths[0]], edges[part.tenths[-1]]
        upper, lower = np.append(edges, np.inf), np.append(-np.inf, edges)
        flags[:-1] = (upper <= low - (high - low)) | (lower >= high + (high - low))
    return flags


def feature_statistics(meaning: BinMeaning, counted: pl.DataFrame, blocks: int) -> FeatureStatistics:
    """Return what blocks tell. counted: `block` (from 0 up), `bin`, `count`, in any order."""
    added = counted.group_by("block", "bin").agg(pl.col("count").sum())
    block, bins, count = (added[name].cast(pl.Int64).to_numpy() for name in ("block", "bin", "count"))
    of_feature = meaning.feature[bins] >= 0
    size = (blocks, len(meaning.names))

    def total(chosen: IntArray, numbers: IntArray, weights: FloatArray) -> FloatArray:
        place = block[chosen] * size[1] + numbers[chosen]
        sums: FloatArray = np.bincount(place, weights[chosen], minlength=blocks * size[1]).astype(np.float64)
        return sums.reshape(size)

    inside, feature = np.flatnonzero(of_feature), meaning.feature[bins]
    weights = count.astype(np.float64)
    top = np.zeros(size)
    known = np.flatnonzero(of_feature & (meaning.null[bins] == 0))
    np.maximum.at(top, (block[known], feature[known]), weights[known])
    odd, agree, paired = meaning.odd[bins], meaning.agree[bins], meaning.paired[bins]
    return FeatureStatistics(
        meaning.names,
        total(inside, feature, weights),
        total(inside, feature, weights * meaning.null[bins]),
        total(inside, feature, weights * meaning.stranger[bins]),
        total(inside, feature, weights * meaning.far[bins]),
        total(np.flatnonzero(odd >= 0), odd, weights),
        total(np.flatnonzero(agree >= 0), agree, weights),
        total(np.flatnonzero(paired >= 0), paired, weights),
        total(inside, feature, weights * meaning.level[bins]),
        top,
    )
