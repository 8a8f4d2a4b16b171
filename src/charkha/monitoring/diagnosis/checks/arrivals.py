"""How the rows of sources come: how many an hour, how late, and how many of them twice."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from attrs import evolve

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.saying import duration, percent, signal_of
from charkha.monitoring.diagnosis.checks.shifts import Watch
from charkha.monitoring.diagnosis.signal import Signal
from charkha.spec.model import FloatArray

# How far from whole hours a shift may be, beside its own standard errors, to be that of a time zone.
ZONE_ERRORS = 2.0


def arrival_signals(case: Case) -> list[Signal]:
    """Return "arrivals", "late" and "duplicates" of sources."""
    came = case.traffic.arrivals
    sources = sorted(came["source"].drop_nulls().unique())
    if not sources:
        return []
    watch = Watch.of(case)
    grid = watch.grid
    rows, duplicates = grid.sums(came, "_hour_us", pl.col("source"), sources, ["rows", "duplicates"])
    mean = (pl.col("late_s") * pl.col("rows")).sum() / pl.col("rows").filter(pl.col("late_s").is_not_null()).sum()
    (late,) = grid.of_blocks(came, "_hour_us", pl.col("source"), sources, [mean])
    return [
        *_counts(watch, sources, rows),
        *_lateness(watch, sources, rows, late),
        *_duplicates(Watch.of(case, "rise"), sources, rows, duplicates),
    ]


def _counts(watch: Watch, sources: Sequence[str], rows: FloatArray) -> Iterator[Signal]:
    for shift in watch.counts(sources, rows):
        came = rows[shift.since :, sources.index(shift.name)]
        words = (
            f"{shift.name}: {shift.now:.3g} rows an hour, where {shift.usual:.3g} are usual at those hours of the week"
        )
        yield signal_of("arrivals", shift.name, shift, unit="rows an hour", rows=came.sum(), words=words)


def _lateness(watch: Watch, sources: Sequence[str], rows: FloatArray, late: FloatArray) -> Iterator[Signal]:
    """Yield what comes later or sooner: by its logarithm, as one speaks of it (signed, for a clock may be ahead)."""
    for logs in watch.ranks(sources, np.arcsinh(late), weekly=True):
        shift = evolve(logs, usual=float(np.sinh(logs.usual)), now=float(np.sinh(logs.now)))
        place = sources.index(shift.name)
        since = late[shift.since :, place]
        apart, error = shift.now - shift.usual, np.nanstd(since) / np.sqrt(max(np.isfinite(since).sum(), 1))
        words = (
            f"{shift.name}: rows become known {duration(shift.now)} after their time, usually {duration(shift.usual)}"
        )
        hours = round(apart / 3600)
        if hours and abs(apart - 3600 * hours) <= max(ZONE_ERRORS * error, 60.0):
            words += f"; {hours:+d} hours, as if their times were of another zone"
        yield signal_of("late", shift.name, shift, unit="seconds", rows=rows[shift.since :, place].sum(), words=words)


def _duplicates(watch: Watch, sources: Sequence[str], rows: FloatArray, duplicates: FloatArray) -> Iterator[Signal]:
    for shift in watch.shares(sources, duplicates, rows):
        came = rows[shift.since :, sources.index(shift.name)]
        words = (
            f"{shift.name}: {percent(shift.now)} of the rows were there already, or came twice; usually "
            f"{percent(shift.usual)}"
        )
        yield signal_of("duplicates", shift.name, shift, unit="share of rows", rows=came.sum(), words=words)
