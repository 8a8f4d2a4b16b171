"""Whether an online store is written: by what questions see of it, in as many questions as would have seen more."""

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.segments import IntArray
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import AGE_PREFIX
from charkha.serving.prediction_frames import FEATURES_LOGGED, REQUEST_PREFIX
from charkha.spec.durations import HOUR_US
from charkha.spec.model import FloatArray
from charkha.spec.views import FeatureView

# By chance all questions see nothing newer once in e^8 times, were keys independent …
LEAST_MISSED = 8.0
# … and so many times as surprising as it ever was in the healthy history, for what is stored comes in bursts.
BEYOND = 1.5
HOURS = 24


@frozen(kw_only=True)
class Stillness:
    """What questions see of the newest row that a store holds of a view.

    newest_us: when it was stored (µs). missed: how surprising it is that no question since then has seen anything
    newer, as the sum of -log P over keys, each counted once: at the hour of the day at which it was asked about last.
    usual: the most there ever was while all was well.
    """

    newest_us: int
    missed: float
    usual: float

    @property
    def stands_still(self) -> bool:
        """Say whether nothing is stored any more."""
        return self.missed >= max(LEAST_MISSED, BEYOND * self.usual)


def stillness(case: Case, view: FeatureView) -> Stillness | None:
    """Return what is seen of a view's store until the end of what is watched; None where ages are not logged.

    How many ask, and at which hour, is allowed for: a night in which nothing is stored, and a holiday on which few ask
    and so see little of it, are no faults.
    """
    rows = _seen(case, view)
    if rows is None:
        return None
    at_us, age_us = rows["_at_us"].to_numpy(), rows["_age_us"].to_numpy()
    newest = np.maximum.accumulate(at_us - age_us)
    before = np.concatenate([newest[:1], newest[:-1]])  # what others had seen
    healthy = within(at_us, case.healthy)
    surprise = _surprise(at_us, age_us, healthy, at_us - before)
    counted = pl.DataFrame({"newest": newest, "key": rows["_key"], "surprise": surprise, "healthy": healthy})
    # A question that sees something newer begins a time of its own.
    waited = counted.filter(pl.Series(newest == before))
    each_key = waited.group_by("newest", "key").agg(pl.col("surprise").max(), pl.col("healthy").all())
    missed = each_key.group_by("newest").agg(pl.col("surprise").sum(), pl.col("healthy").all())
    now = missed.filter(pl.col("newest") == newest[-1])["surprise"].sum()
    usual = missed.filter("healthy")["surprise"].max()
    return Stillness(newest_us=int(newest[-1]), missed=float(now), usual=float(usual or 0.0))  # type: ignore[arg-type]


def _seen(case: Case, view: FeatureView) -> pl.DataFrame | None:
    """Return the time, the age (µs, far beyond all where nothing is stored) and the key of each question, in order."""
    age, rows = AGE_PREFIX + view.name, case.traffic.predictions
    if age not in rows.columns or not rows[age].count():
        return None
    inside = pl.col("_at_us").is_between(case.healthy.since_us, case.watched.until_us, closed="left")
    keys = [REQUEST_PREFIX + key for key in view.entity.keys if REQUEST_PREFIX + key in rows.columns]
    asked = rows.filter(inside, pl.col("role") != "shadow", FEATURES_LOGGED).sort("_at_us", maintain_order=True)
    if asked.is_empty():
        return None
    never = case.watched.until_us
    return asked.select(
        "_at_us",
        _age_us=(pl.col(age) * 1e6).fill_null(never).cast(pl.Int64),
        _key=pl.struct(keys) if keys else pl.int_range(pl.len()),
    )


def within(at_us: IntArray, span: Span) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Return which times are in a span."""
    return np.asarray((at_us >= span.since_us) & (at_us < span.until_us))


def _surprise(
    at_us: IntArray,
    age_us: IntArray,
    healthy: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    waited_us: IntArray,
) -> FloatArray:
    """Return how surprising it is that a question sees no row younger than so long, -log P: (rows,).

    By what was seen at that hour of the day or beside it.
    """
    hour, found = at_us // HOUR_US % HOURS, np.zeros(len(at_us))
    for each in range(HOURS):
        asked = hour == each
        near = np.sort(age_us[healthy & ((hour - each + 1) % HOURS <= 2)])
        if len(near) and asked.any():
            younger = np.searchsorted(near, waited_us[asked], side="left")
            found[asked] = -np.log1p(-younger / (len(near) + 1))  # one more question is older than all
    return found
