"""What features themselves tell: nulls, values that never were, numbers that do not go together, one value alone.

Blocks of ten minutes, an hour and six hours are looked at beside each other: the first see a flood at once, the last a
trickle. Everything comes from tiles. A level that moves is told as well, as evidence for a cause that something else
has shown: by itself it is the weather.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
import polars as pl
from attrs import evolve, frozen

from charkha.bundles.profile import ProfileShape, learn_shape
from charkha.clock import to_iso
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.detect import Changed, changed
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.diagnosis.statistics import BinMeaning, FeatureStatistics, TileCounts
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.arrays import BoolArray, IntArray
from charkha.monitoring.sequential.budget import Budget
from charkha.monitoring.sequential.null import LEAST_BLOCKS, Null
from charkha.monitoring.sequential.ranks import Ranks
from charkha.monitoring.sequential.shares import RisingShares
from charkha.monitoring.tiles import TILE_US, tiles_of
from charkha.serving.prediction_frames import with_features
from charkha.spec.model import FloatArray

LENGTHS = (1, 6, 36)  # of a block, in tiles
MOST_REFERENCE = 50_000
COUNTED = ("nulls", "strangers", "far", "odd", "agree")
KINDS = (*COUNTED, "top", "level")
# What is looked at together, with its null: all but a level does harm on one side alone.
TOGETHER: tuple[tuple[tuple[str, ...], Callable[..., Null]], ...] = (
    ((*COUNTED, "top"), RisingShares.of),
    (("level",), Ranks.of),
)
# A level is evidence for what something else has shown, and is not needed within minutes.
LEVEL_FROM = 6
_WORDS = {
    "nulls": "is null in {now:.1%} of {rows:,} rows since {began}, {usual:.2%} when all was well",
    "strangers": "has a value that never was in {now:.1%} of {rows:,} rows since {began}, {usual:.2%} before",
    "far": "lies far beyond all that ever was in {now:.1%} of {rows:,} rows since {began}, {usual:.2%} before",
    "odd": "does not go with the other numbers in {now:.1%} of {rows:,} rows since {began}, {usual:.2%} before",
    "agree": "is on the side that the others say in {now:.1%} of {rows:,} rows since {began}, {usual:.1%} before",
    "top": "has one value in {now:.1%} of the rows of a block since {began}, {usual:.1%} when all was well",
    "level": "has moved by {moved:+.2f} standard deviations since {began}",
}


@frozen(eq=False, slots=False)
class FeatureView:
    """The tiles of a case, and what they mean: made once, for the checks and for those who explain them."""

    shape: ProfileShape
    meaning: BinMeaning
    tiles: pl.DataFrame

    @classmethod
    def of(cls, case: Case) -> "FeatureView":
        """Take the profiles that are kept; without them learn the shape of the healthy history, and count all rows."""
        if case.kept is not None:
            return cls.of_tiles(case.kept.shape, case.kept.tiles)
        answered = with_features(case.traffic.predictions.filter(pl.col("role").is_in(["champion", "challenger"])))
        healthy = within(answered, case.healthy)
        step = max(1, healthy.height // MOST_REFERENCE)
        some = healthy.gather_every(step)
        shape = learn_shape(some.select(case.traffic.features), some["score"].to_numpy())
        rows = within(answered, Span(case.healthy.since_us, case.watched.until_us))
        return cls.of_tiles(shape, tiles_of(shape, "", rows))

    @classmethod
    def of_tiles(cls, shape: ProfileShape, tiles: pl.DataFrame) -> "FeatureView":
        """Take what was counted before: tiles of one shape, such as a version's."""
        return cls(shape, BinMeaning.of(shape), tiles.sort("tile_us").filter(pl.col("bins").list.len() > 0))

    @cached_property
    def counted(self) -> pl.DataFrame:
        """The counts of all tiles in the order of time: `tile_us`, `bin`, `count`."""
        return self.tiles.select("tile_us", bin="bins", count="counts").explode("bin", "count")

    @cached_property
    def _by_tile(self) -> TileCounts:
        bins, counts = (self.tiles[name].explode().to_numpy() for name in ("bins", "counts"))
        tile = np.repeat(self.tiles["tile_us"].to_numpy() // TILE_US, self.tiles["bins"].list.len().to_numpy())
        return TileCounts.of(self.meaning, tile, bins, counts)

    def statistics(self, span: Span, length: int) -> FeatureStatistics:
        """Return what whole blocks of a span tell. length: of a block, in tiles."""
        block_us = length * TILE_US
        first, end = span.since_us // block_us, span.until_us // block_us
        return self._by_tile.statistics(first, max(0, end - first), length)


def within(rows: pl.DataFrame, span: Span) -> pl.DataFrame:
    """Return the predictions of a span."""
    return rows.filter((pl.col("_at_us") >= span.since_us) & (pl.col("_at_us") < span.until_us))


def feature_signals(case: Case, view: FeatureView) -> list[Signal]:
    """Return what the features of a case tell; of several lengths of blocks the first to ring, of each check."""
    checks = len(KINDS) * len(LENGTHS) * len(view.meaning.names)
    found: dict[tuple[str, str], Signal] = {}
    for length in LENGTHS:
        budget = evolve(case.budget, looks_per_hour=3.6e9 / (length * TILE_US), checks=checks)
        for signal in _of_blocks(case, view, length, budget):
            known = found.get((signal.check, signal.subject))
            if known is None or signal.alarmed_us < known.alarmed_us:
                found[signal.check, signal.subject] = signal
    return list(found.values())


def _of_blocks(case: Case, view: FeatureView, length: int, budget: Budget) -> Iterator[Signal]:
    healthy, watched = (view.statistics(span, length) for span in (case.healthy, case.watched))
    if not len(watched.rows):
        return
    for kinds, null in TOGETHER:
        if kinds == ("level",) and length < LEVEL_FROM:
            continue
        looked = [each for kind in kinds if (each := _Looked.of(kind, length, healthy, watched)).features.size]
        if not looked:
            continue
        # These are looked at beside each other: it is the steps from block to block that take time.
        before, now = _beside([each.before for each in looked]), _beside([each.now for each in looked])
        checks = [(each, place) for each in looked for place in range(len(each.features))]
        for change in changed(null(*before), before, now, budget):
            each, place = checks[change.check]
            subject = view.meaning.names[each.features[place]]
            yield _signal(each, subject, evolve(change, check=place), case.watched.since_us)


@frozen(eq=False)
class _Looked:
    """What was observed of one kind: (blocks, checks), of the healthy history and of what is watched.

    features: the number of each check's feature. Left out are those that the history tells too little of, and those of
    which nothing was ever counted, neither then nor now: most have no nulls, and none beyond all that ever was.
    """

    kind: str
    block_us: int
    features: IntArray
    before: tuple[FloatArray, ...]
    now: tuple[FloatArray, ...]

    @classmethod
    def of(cls, kind: str, length: int, healthy: FeatureStatistics, watched: FeatureStatistics) -> "_Looked":
        before, now = _observed(kind, healthy), _observed(kind, watched)
        told = np.flatnonzero((_told(before).sum(axis=0) >= LEAST_BLOCKS) & (_seen(before) | _seen(now)))
        return cls(kind, length * TILE_US, told, _only(before, told), _only(now, told))


def _beside(observed: Sequence[tuple[FloatArray, ...]]) -> tuple[FloatArray, ...]:
    return tuple(np.concatenate(each, axis=1) for each in zip(*observed, strict=True))


def _only(observed: tuple[FloatArray, ...], checks: IntArray) -> tuple[FloatArray, ...]:
    return tuple(each[:, checks] for each in observed)


def _observed(kind: str, of: FeatureStatistics) -> tuple[FloatArray, ...]:
    hits, rows = counted(kind, of)
    if kind == "level":
        return (np.where(rows >= 1, hits / np.maximum(rows, 1), np.nan),)
    return (rows - hits if kind == "agree" else hits), rows


def counted(kind: str, of: FeatureStatistics) -> tuple[FloatArray, FloatArray]:
    """Return what is counted of a kind of signal, and of how many rows: float64 (blocks, features)."""
    hits = {
        "nulls": of.nulls,
        "strangers": of.strangers,
        "far": of.far,
        "odd": of.odd,
        "agree": of.agree,
        "top": of.top,
        "level": of.levels,
    }[kind]
    return hits, {"nulls": of.rows, "odd": of.paired, "agree": of.paired}.get(kind, of.known)


def _told(observed: tuple[FloatArray, ...]) -> BoolArray:
    return np.isfinite(observed[0]) if len(observed) == 1 else np.asarray(observed[1] > 0)


def _seen(observed: tuple[FloatArray, ...]) -> BoolArray:
    """Say of which features anything but 0 was observed."""
    seen: BoolArray = np.any(np.nan_to_num(observed[0]) != 0, axis=0)
    return seen


def _signal(looked: _Looked, subject: str, change: Changed, since_us: int) -> Signal:
    first_us, since = since_us // looked.block_us * looked.block_us, slice(change.onset.began, None)
    means = _mean(looked.before, change.check, slice(None)), _mean(looked.now, change.check, since)
    usual, now = (_share_of(looked.kind, mean) for mean in means)
    rows = int(looked.now[-1][since, change.check].sum()) if len(looked.now) == 2 else 0
    began_us = first_us + change.onset.began * looked.block_us
    words = _WORDS[looked.kind].format(now=now, usual=usual, moved=now - usual, rows=rows, began=to_iso(began_us))
    return Signal(
        check=looked.kind,
        subject=subject,
        alarmed_us=first_us + (change.block + 1) * looked.block_us,
        began_us=began_us,
        earliest_us=first_us + change.onset.earliest * looked.block_us,
        latest_us=first_us + (change.onset.latest + 1) * looked.block_us,
        evidence=change.evidence,
        usual=usual,
        now=now,
        unit="standard deviations" if looked.kind == "level" else "share of rows",
        rows=rows,
        words=f"{subject} {words}",
    )


def _mean(observed: tuple[FloatArray, ...], check: int, blocks: slice) -> float:
    if len(observed) == 1:
        values = observed[0][blocks, check]
        return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
    hits, rows = (float(each[blocks, check].sum()) for each in observed)
    return hits / rows if rows else 0.0


def _share_of(kind: str, measured: float) -> float:
    """Return a share as it is told: of what agrees, where those that do not are looked at."""
    return 1 - measured if kind == "agree" else measured
