"""Whether how a server answers is worth somebody's attention: beyond all that ever was, and by enough to be felt."""

import polars as pl

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.grid import Grid
from charkha.monitoring.diagnosis.precedent import unprecedented
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.tiles import TILE_US
from charkha.spec.model import FloatArray

# What takes less is not slow, as in rollouts; and nobody waits longer for a millisecond, nor for a fifth more.
LEAST_SLOW_MS, LEAST_MS, LEAST_SLOWER = 10.0, 1.0, 1.2
SLOW_QUANTILE = 0.95


def is_worth_telling(case: Case, signal: Signal) -> bool:
    """Say whether failures are more frequent, or answers later, than in any healthy stretch as long; by enough."""
    if signal.check == "latency":
        return _is_felt(case, signal) and _is_unprecedented(case, signal)
    return _is_unprecedented(case, signal)


def _is_felt(case: Case, signal: Signal) -> bool:
    """Say whether the median or the 95th percentile of the latencies is slow by now, and has risen by enough."""
    answered = case.traffic.predictions.drop_nulls("latency_us")
    at, healthy = pl.col("_at_us"), case.healthy
    before = answered.filter(at.is_between(healthy.since_us, healthy.until_us, closed="left"))["latency_us"]
    now = answered.filter(at.is_between(signal.began_us, case.watched.until_us, closed="left"))["latency_us"]
    for quantile in (0.5, SLOW_QUANTILE):
        usual_us, now_us = (each.quantile(quantile) or 0.0 for each in (before, now))
        if now_us >= max(LEAST_SLOW_MS * 1e3, usual_us + LEAST_MS * 1e3, LEAST_SLOWER * usual_us):
            return True
    return False


def _is_unprecedented(case: Case, signal: Signal) -> bool:
    """Hold what a signal counts, block by block, against every healthy stretch as long as that since it began."""
    grid = Grid(case.healthy, case.watched, TILE_US)
    hits, rows = _counts(case, signal, grid)
    began = grid.before + max(0, signal.began_us - case.watched.since_us) // TILE_US
    return unprecedented(hits[: grid.before], rows[: grid.before], hits[began:], rows[began:])


def _counts(case: Case, signal: Signal, grid: Grid) -> tuple[FloatArray, FloatArray]:
    """Return how many requests were hit and how many there were, float64 (blocks,) each."""
    told = pl.lit("")
    if signal.check in ("errors", "sheds", "timeouts"):
        hits, rows = grid.sums(case.traffic.vitals, "_minute_us", told, [""], [signal.check, "requests"])
        return hits[:, 0], rows[:, 0]
    answers = case.traffic.predictions.filter(pl.col("role") != "shadow")
    hit = pl.col("role") == "fallback"
    if signal.check == "latency":
        answers, inside = (
            answers.drop_nulls("latency_us"),
            pl.col("_at_us").is_between(case.healthy.since_us, case.healthy.until_us, closed="left"),
        )
        hit = pl.col("latency_us") > (answers.filter(inside)["latency_us"].quantile(SLOW_QUANTILE) or 0.0)
    hits, rows = grid.of_blocks(answers, "_at_us", told, [""], [hit.sum(), pl.len()], empty=0.0)
    return hits[:, 0], rows[:, 0]
