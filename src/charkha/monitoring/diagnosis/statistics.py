"""What is told of every feature, block by block of time, from tiles alone: matrices of (blocks, features).

All of it adds up from tiles, but the share of the most frequent bin, which is of a block as a whole.
"""

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from charkha.bundles.profile import NumericShape, ProfileShape, TextShape
from charkha.features.segments import IntArray
from charkha.spec.model import FloatArray

ADDITIVE = ("rows", "nulls", "strangers", "far", "odd", "agree", "paired", "levels")
# Of blocks and bins, in which rows are counted at a time: they fit a cache.
CELLS = 1 << 16
# Counts that are added up at a time: what that needs fits a cache.
TOGETHER = 1 << 16


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


@frozen(eq=False)
class TileCounts:
    """How many rows lie in which bin, tile by tile: any block of tiles is a sum of them.

    first: the number of the first tile. sums: what adds up (ADDITIVE), of each tile from the first on and each feature,
    float64 (len(ADDITIVE), tiles, features). tile, place, count: of each count, in the order of time, its tile, the
    place of its bin among those that any row lies in, and the rows, (k,). feature: of each such place the feature, or
    -1; null: whether it counts nulls; (places,).
    """

    names: tuple[str, ...]
    first: int
    sums: FloatArray
    tile: IntArray
    place: IntArray
    count: FloatArray
    feature: IntArray
    null: IntArray

    @classmethod
    def of(cls, meaning: BinMeaning, tile: IntArray, bins: IntArray, count: FloatArray) -> "TileCounts":
        """Take counts apart. tile: the number of the tile of each, ascending; bins, count: as of `Tally`, (k,)."""
        first = int(tile[0]) if len(tile) else 0
        tiles = int(tile[-1]) + 1 - first if len(tile) else 0
        sums = np.zeros((len(ADDITIVE), tiles, len(meaning.names)))
        seen = np.zeros(len(meaning.feature), dtype=np.bool_)
        for begin in range(0, len(tile), TOGETHER):
            some = slice(begin, begin + TOGETHER)
            low, high = int(tile[some][0]), int(tile[some][-1]) + 1
            added = _added(meaning, tile[some] - low, bins[some], count[some].astype(np.float64), high - low)
            for number, each in enumerate(added):
                sums[number, low - first : high - first] += each
            seen[bins[some]] = True
        used = np.flatnonzero(seen)
        place = np.searchsorted(used, np.arange(len(meaning.feature)))[bins]
        return cls(meaning.names, first, sums, tile, place, count, meaning.feature[used], meaning.null[used])

    def statistics(self, first: int, blocks: int, length: int) -> FeatureStatistics:
        """Return what blocks tell: so many of `length` tiles each, the first of them block number `first` from 1970."""
        padded = np.zeros((len(ADDITIVE), blocks * length, len(self.names)))
        offset, tiles = self.first - first * length, self.sums.shape[1]
        begin, end = max(0, offset), min(blocks * length, offset + tiles)
        if begin < end:
            padded[:, begin:end] = self.sums[:, begin - offset : end - offset]
        of_blocks = padded.reshape(len(ADDITIVE), blocks, length, len(self.names)).sum(axis=2)
        added = dict(zip(ADDITIVE, of_blocks, strict=True))
        return FeatureStatistics(names=self.names, top=self._top(first, blocks, length), **added)

    def _top(self, first: int, blocks: int, length: int) -> FloatArray:
        """Return the rows in the most frequent bin of each block and feature; some blocks at a time, for the memory."""
        top = np.zeros((blocks, len(self.names)))
        width, nulls = len(self.feature), np.flatnonzero(self.null)
        begins = np.flatnonzero(np.diff(self.feature, prepend=-1))  # what is of no feature comes last
        step = max(1, CELLS // max(1, width))
        for begin in range(0, blocks if width else 0, step):
            end = min(blocks, begin + step)
            low, high = np.searchsorted(self.tile, ((first + begin) * length, (first + end) * length))
            block = self.tile[low:high] // length - (first + begin)
            cells = np.bincount(block * width + self.place[low:high], self.count[low:high], (end - begin) * width)
            cells = cells.reshape(end - begin, width)
            cells[:, nulls] = 0
            most, feature = np.maximum.reduceat(cells, begins, axis=1), self.feature[begins]
            top[begin:end, feature[feature >= 0]] = most[:, feature >= 0]
        return top


def _added(meaning: BinMeaning, tile: IntArray, bins: IntArray, count: FloatArray, tiles: int) -> Iterator[FloatArray]:
    """Yield the sums of ADDITIVE, each float64 (tiles, features)."""
    features = len(meaning.names)
    columns = features + 1  # the last for what is of no feature

    def total(tile: IntArray, number: IntArray, weights: FloatArray) -> FloatArray:
        sums: FloatArray = np.bincount(tile * columns + number, weights, minlength=tiles * columns).astype(np.float64)
        return sums.reshape(tiles, columns)[:, :features]

    feature = np.where(meaning.feature < 0, features, meaning.feature)[bins]
    yield total(tile, feature, count)
    others = (meaning.null, meaning.stranger, meaning.far, meaning.odd + 1, meaning.agree + 1, meaning.paired + 1)
    some = np.flatnonzero(np.logical_or.reduce(others)[bins])  # few of all
    tile_of, bins_of, count_of = tile[some], bins[some], count[some]
    for flags in (meaning.null, meaning.stranger, meaning.far):
        chosen = flags[bins_of] > 0
        yield total(tile_of[chosen], meaning.feature[bins_of[chosen]], count_of[chosen])
    for numbers in (meaning.odd, meaning.agree, meaning.paired):
        chosen = numbers[bins_of] >= 0
        yield total(tile_of[chosen], numbers[bins_of[chosen]], count_of[chosen])
    yield total(tile, feature, count * meaning.level[bins])
