"""Whether what is served of a key is that key's: by what it usually has, and by what it was told a moment ago.

Rows of another key are healthy numbers in the wrong place: no number is strange by itself. But a number of a view is a
function of its key and of what is stored of it. So each is on the side of the median of all that its key was on before
("own"), more often than by chance; and of two questions about a key within an hour the second often has to the bit what
the key had within the day before ("same"), the more often the less is stored meanwhile. A day, for questions need not
come in the order of what they know: a queue that was worked off, other questions that take the place of some. Both are
shares of rows, whoever asks; keys that the healthy history did not have say nothing.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from attrs import evolve, frozen

from charkha.features.lineage import names_of_view
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.grid import Grid
from charkha.monitoring.diagnosis.checks.saying import percent, signal_of
from charkha.monitoring.diagnosis.checks.shifts import Watch
from charkha.monitoring.diagnosis.signal import Signal
from charkha.serving.prediction_frames import FEATURES_LOGGED, REQUEST_PREFIX
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import FloatArray

# Questions about one key that are further apart need not have the same, for windows move on.
NEAR_US = HOUR_US
HAD_US = DAY_US
_WORDS = {
    "own": "is on the side that its key usually is on in {now} of the rows, usually in {usual}",
    "same": "is what its key had within the day before in {now} of the rows, usually in {usual}",
}


@frozen(eq=False)
class KeyCounts:
    """Of each block and number of a view: how many rows agree, of so many that can be told; float64 (blocks, names)."""

    names: tuple[str, ...]
    agree: FloatArray
    rows: FloatArray


def key_signals(case: Case) -> list[Signal]:
    """Return "own" and "same" of the numbers of views that have less of their key than they had."""
    watch = Watch.of(case, "fall")
    kinds = {kind: counts_of_keys(case, kind, watch.grid) for kind in _WORDS}
    checks = max(1, sum(len(told.names) for told in kinds.values()))
    watch = evolve(watch, budget=evolve(case.budget, checks=max(case.budget.checks, checks)))
    return [signal for kind, told in kinds.items() for signal in _signals(watch, kind, told)]


def _signals(watch: Watch, kind: str, told: KeyCounts) -> Iterator[Signal]:
    for shift in watch.shares(told.names, told.agree, told.rows):
        rows = told.rows[shift.since :, told.names.index(shift.name)].sum()
        words = _WORDS[kind].format(now=percent(shift.now), usual=percent(shift.usual))
        yield signal_of(kind, shift.name, shift, unit="share of rows", rows=rows, words=f"{shift.name} {words}")


def counts_of_keys(case: Case, kind: str, grid: Grid) -> KeyCounts:
    """Return how many rows agree with their key in the blocks of a grid. kind: "own" or "same"."""
    names: list[str] = []
    agree: list[FloatArray] = [np.zeros((grid.blocks, 0))]
    rows: list[FloatArray] = [np.zeros((grid.blocks, 0))]
    logged = case.traffic.predictions.filter(FEATURES_LOGGED, pl.col("role").is_in(["champion", "challenger"]))
    logged = logged.sort("_at_us", maintain_order=True)
    for view in case.plan.views:
        keys = [REQUEST_PREFIX + key for key in view.entity.keys]
        numbers = [name for name in names_of_view(case.plan, view.name) if logged.schema.get(name) == pl.Float64()]
        if not numbers or not set(keys) <= set(logged.columns):
            continue
        found = _counted(_JUDGED[kind](case, logged, keys, numbers), numbers, grid)
        names += numbers
        agree.append(found[0])
        rows.append(found[1])
    return KeyCounts(tuple(names), np.hstack(agree), np.hstack(rows))


def _counted(judged: pl.DataFrame, numbers: Sequence[str], grid: Grid) -> tuple[FloatArray, FloatArray]:
    sums = [pl.col(name).cast(pl.Float64).sum() for name in numbers]
    known = [pl.col(name).count() for name in numbers]
    told = grid.of_blocks(judged, "_at_us", pl.lit(""), [""], [*sums, *known], empty=0.0)
    return np.hstack(told[: len(numbers)]), np.hstack(told[len(numbers) :])


def _own(case: Case, rows: pl.DataFrame, keys: list[str], numbers: list[str]) -> pl.DataFrame:
    """Return of each row which numbers are on the side of the healthy median that its key was on; null if unknown.

    Of a healthy row its key's other rows say which side that is.
    """
    inside = pl.col("_at_us").is_between(case.healthy.since_us, case.healthy.until_us, closed="left")
    healthy = rows.filter(inside)
    middle = {name: pl.lit(healthy[name].median(), dtype=pl.Float64) for name in numbers}  # null where all are null
    sides = rows.select(
        "_at_us",
        *keys,
        inside.alias("_healthy"),
        *(
            pl.when(pl.col(name) != middle[name]).then((pl.col(name) > middle[name]).cast(pl.Int64) * 2 - 1).alias(name)
            for name in numbers
        ),
    )
    usual = sides.filter("_healthy").group_by(keys).agg(pl.col(name).sum().alias(f"_{name}") for name in numbers)
    both = sides.join(usual, on=keys, how="left", maintain_order="left")
    others = {
        name: pl.col(f"_{name}") - pl.col(name).fill_null(0) * pl.col("_healthy").cast(pl.Int64) for name in numbers
    }
    return both.select(
        "_at_us",
        *(pl.when(others[name] != 0).then(others[name].sign() == pl.col(name)).alias(name) for name in numbers),
    )


def _same(case: Case, rows: pl.DataFrame, keys: list[str], numbers: list[str]) -> pl.DataFrame:
    """Return of each row with a question about its key just before it which numbers the key had; null of others."""
    at_us = pl.col("_at_us")
    near = (at_us - at_us.shift(1).over(keys)) <= NEAR_US
    had = {name: (at_us - at_us.shift(1).over([*keys, name])) <= HAD_US for name in numbers}
    return rows.select(
        "_at_us", *(pl.when(near).then(had[name].fill_null(value=False)).alias(name) for name in numbers)
    )


_JUDGED = {"own": _own, "same": _same}
