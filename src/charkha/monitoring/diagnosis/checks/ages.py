"""How old features are, view by view: a store that is not written any more, events that come late.

Two figures of each view and hour are watched, as logarithms against the same hours of other weeks: the median age of
the rows, and the age of what was last stored of any key. The second is the one that a stale store cannot hide: it grows
by the time that passes, though each key by itself may be asked about once a day.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from attrs import evolve

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.grid import Grid
from charkha.monitoring.diagnosis.checks.saying import duration, percent, signal_of
from charkha.monitoring.diagnosis.checks.shifts import Shift, Watch
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.traffic import AGE_PREFIX
from charkha.serving.prediction_frames import FEATURES_LOGGED
from charkha.spec.model import FloatArray

# An age that grew by between half and all of the time that passed grew because nothing was stored.
STANDS_STILL = 0.5


def age_signals(case: Case) -> list[Signal]:
    """Return "age" of the views that are older than they were, or of which there is nothing more often."""
    watch = Watch.of(case, "rise")
    served = case.traffic.predictions.filter(pl.col(FEATURES_LOGGED) & (pl.col("role") != "fallback"))
    views = [view for view in case.traffic.views if served[AGE_PREFIX + view].count() > 0]
    if not views:
        return []
    by_view: dict[str, Signal] = {}
    for signal in (*_older(watch, served, views), *_missing(watch, served, views)):
        known = by_view.get(signal.subject)
        if known is None or signal.alarmed_us < known.alarmed_us:
            by_view[signal.subject] = signal
    return list(by_view.values())


def _older(watch: Watch, served: pl.DataFrame, views: Sequence[str]) -> Iterator[Signal]:
    ages = (
        served.select("_at_us", *(AGE_PREFIX + view for view in views))
        .unpivot(index="_at_us", variable_name="view", value_name="age")
        .drop_nulls("age")
    )
    grid, newest = watch.grid, (pl.col("_at_us") / 1e6 - pl.col("age")).max()
    names = [AGE_PREFIX + view for view in views]
    middle, stored, rows = grid.of_blocks(
        ages, "_at_us", pl.col("view"), names, [pl.col("age").median(), newest, pl.len()]
    )
    last = _age_of_newest(grid, stored)
    logs = np.log1p(np.maximum(np.hstack([middle, last]), 0.0))
    figures = [*(f"median\n{view}" for view in views), *(f"newest\n{view}" for view in views)]
    for shift in watch.ranks(figures, logs, weekly=True):
        figure, view = shift.name.split("\n")
        place = views.index(view)
        slope = _slope(grid, last[:, place], shift.since)
        told = evolve(shift, usual=float(np.expm1(shift.usual)), now=float(np.expm1(shift.now)))
        words = _words(view, figure, told, slope)
        yield signal_of("age", view, told, unit="seconds", rows=np.nansum(rows[shift.since :, place]), words=words)


def _age_of_newest(grid: Grid, stored: FloatArray) -> FloatArray:
    """Return how long before the end of each block the newest row was stored that any question had seen until then."""
    ends = (grid.starts[:, None] + grid.block_us) / 1e6
    ages = np.full(stored.shape, np.nan)
    for part in (slice(0, grid.before), slice(grid.before, None)):
        seen = np.where(np.isfinite(stored[part]), stored[part], -np.inf)
        until = np.maximum.accumulate(seen, axis=0)
        ages[part] = np.where(np.isfinite(stored[part]) & np.isfinite(until), ends[part] - until, np.nan)
    return ages


def _slope(grid: Grid, ages: FloatArray, since: int) -> float:
    """Return by how many seconds an age grew for each second since a block; NaN where there is one block only."""
    known = np.flatnonzero(np.isfinite(ages))
    known = known[known >= since]
    if len(known) < 2:
        return float("nan")
    seconds = grid.starts[known] / 1e6
    return float(np.polyfit(seconds - seconds[0], ages[known], 1)[0])


def _words(view: str, figure: str, shift: Shift, slope: float) -> str:
    what = "the newest row of any key" if figure == "newest" else "what is stored of a key in the middle"
    told = f"{view}: {what} is {duration(shift.now)} old, where {duration(shift.usual)} is usual"
    if slope >= STANDS_STILL:
        return f"{told}; it grows by {duration(3600 * slope)} an hour: nothing is stored any more"
    return f"{told}; it grew once, by {duration(shift.now - shift.usual)}: what is stored comes late"


def _missing(watch: Watch, served: pl.DataFrame, views: Sequence[str]) -> Iterator[Signal]:
    told = [pl.len(), *(pl.col(AGE_PREFIX + view).is_null().sum() for view in views)]
    rows, *nulls = watch.grid.of_blocks(served, "_at_us", pl.lit(""), [""], told, empty=0.0)
    for shift in watch.shares(views, np.hstack(nulls), np.repeat(rows, len(views), axis=1)):
        words = (
            f"{shift.name}: nothing is stored for {percent(shift.now)} of the questions, usually {percent(shift.usual)}"
        )
        yield signal_of(
            "age", shift.name, shift, unit="share without an age", rows=rows[shift.since :].sum(), words=words
        )
