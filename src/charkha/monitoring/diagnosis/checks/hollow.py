"""Nulls where a value should be: of keys of which something is stored, as young as the feature reads.

A key that nobody told of is null, and so is one of which the last was told before the window began: that depends on who
asks. Where a row of the key lies within the window of a feature, or is young enough for a latest value, and the feature
is null all the same, its field was null. So few of the rows that are asked about say so while windows fill, and these
hardly ever did before. Of a source without times a key that had a value has to have one again.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from attrs import evolve, frozen

from charkha.features.lineage import derived_from
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.grid import Grid
from charkha.monitoring.diagnosis.checks.saying import percent, signal_of
from charkha.monitoring.diagnosis.checks.shifts import Watch
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span
from charkha.monitoring.tiles import TILE_US
from charkha.monitoring.traffic import AGE_PREFIX
from charkha.serving.prediction_frames import FEATURES_LOGGED, REQUEST_PREFIX
from charkha.spec.durations import HOUR_US
from charkha.spec.model import FloatArray
from charkha.spec.views import FeatureView

LENGTHS_US = (TILE_US, HOUR_US)


@frozen(eq=False)
class Told:
    """Which rows should have a value of a feature: `rows` has a boolean for each, beside `_at_us`."""

    features: tuple[str, ...]
    told: pl.DataFrame
    null: pl.DataFrame

    @classmethod
    def of(cls, case: Case) -> "Told":
        """Return that of the features of views of which it can be told."""
        logged = case.traffic.predictions.filter(FEATURES_LOGGED, pl.col("role").is_in(["champion", "challenger"]))
        rows = logged.sort("_at_us", maintain_order=True)
        told = {name: each for view in case.plan.views for name, each in _of_view(case, view, rows).items()}
        names = tuple(told)
        at = rows["_at_us"]
        null = rows.select(pl.col(name).is_null() for name in names)
        return cls(names, pl.DataFrame({"_at_us": at, **told}), null.select(at.alias("_at_us"), *names))

    def share(self, feature: str, span: Span) -> float:
        """Return the share of all rows of a span that should have a value and are null, 0 to 1."""
        inside = self.told["_at_us"].is_between(span.since_us, span.until_us, closed="left")
        return float((self.told[feature] & self.null[feature]).filter(inside).mean() or 0.0)  # type: ignore[arg-type]

    def counts(self, grid: Grid) -> tuple[FloatArray, FloatArray]:
        """Return how many rows should have a value but are null, and how many should: float64 (blocks, features)."""
        if not self.features:
            return np.zeros((grid.blocks, 0)), np.zeros((grid.blocks, 0))
        flags = [*(self.told[name] & self.null[name] for name in self.features), *self.told.select(self.features)]
        numbered = self.told.select("_at_us").with_columns(
            flag.cast(pl.Float64).alias(str(number)) for number, flag in enumerate(flags)
        )
        sums = [pl.col(str(number)).sum() for number in range(len(flags))]
        found = np.hstack(grid.of_blocks(numbered, "_at_us", pl.lit(""), [""], sums, empty=0.0))
        return found[:, : len(self.features)], found[:, len(self.features) :]


def _of_view(case: Case, view: FeatureView, rows: pl.DataFrame) -> dict[str, pl.Series]:
    age, features = AGE_PREFIX + view.name, set(case.traffic.features)
    found: dict[str, pl.Series] = {}
    reads = [each for column in view.source.fields for each in derived_from(case.plan, view.source.name, column)]
    for each in reads:
        name = each.feature
        if each.view is not view or name not in features or name in found or each.kind in ("variance", "std", "ratio"):
            continue  # of one row there is no variance, and of some no ratio
        if view.source.static:
            known = _had_a_value(case, view, rows, name)
            found |= {} if known is None else {name: known}
        elif age in rows.columns and rows[age].count():
            youngest_us = each.window_us or view.max_age_us
            stored = rows[age].is_not_null()
            found[name] = stored if youngest_us is None else stored & (rows[age] * 1e6 < youngest_us).fill_null(False)
    return found


def _had_a_value(case: Case, view: FeatureView, rows: pl.DataFrame, name: str) -> pl.Series | None:
    """Return which rows are of keys that had a value in the healthy history."""
    keys = [REQUEST_PREFIX + key for key in view.entity.keys]
    if not set(keys) <= set(rows.columns):
        return None
    inside = pl.col("_at_us").is_between(case.healthy.since_us, case.healthy.until_us, closed="left")
    known = rows.filter(inside, pl.col(name).is_not_null()).select(keys).unique().with_columns(_known=True)
    found = rows.select(keys).join(known, on=keys, how="left", maintain_order="left")
    return found["_known"].fill_null(value=False)


def hollow_signals(case: Case) -> list[Signal]:
    """Return "hollow" of the features that are null though something was told; the first length of blocks to ring."""
    told = Told.of(case)
    checks, found = max(1, len(LENGTHS_US) * len(told.features)), dict[str, Signal]()
    for length_us in LENGTHS_US if told.features else ():
        watch = Watch.of(case, "rise", length_us)
        for signal in _of_blocks(evolve(watch, budget=evolve(case.budget, checks=checks)), told):
            known = found.get(signal.subject)
            if known is None or signal.alarmed_us < known.alarmed_us:
                found[signal.subject] = signal
    return list(found.values())


def _of_blocks(watch: Watch, told: Told) -> Sequence[Signal]:
    hits, rows = told.counts(watch.grid)
    some = np.flatnonzero(hits.any(axis=0))
    names = [told.features[each] for each in some]
    return [
        signal_of(
            "hollow",
            shift.name,
            shift,
            unit="share of rows",
            rows=float(rows[shift.since :, some[names.index(shift.name)]].sum()),
            words=f"{shift.name} is null in {percent(shift.now)} of the rows whose key has something stored that it "
            f"reads, usually in {percent(shift.usual)}",
        )
        for shift in watch.shares(names, hits[:, some], rows[:, some])
    ]
