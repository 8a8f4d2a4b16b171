"""Somebody has learnt what the model lets pass: what scores very low is true, and much of it is alike.

Of rows below the lowest tenth of the healthy scores, each block counts how many are true, against what their scores
say. A true row with a score that many others have to the last digit is a copy, and by copies a pattern is told.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from attrs import evolve

from charkha.clock import to_iso
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.block_effects import INTERCEPT, block_effects
from charkha.monitoring.diagnosis.checks.discovered import discovered
from charkha.monitoring.diagnosis.checks.effects import Effects
from charkha.monitoring.diagnosis.checks.expectation import Errors, Odds
from charkha.monitoring.diagnosis.checks.graded import Graded
from charkha.monitoring.diagnosis.checks.timeline import Timeline
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.arrays import BoolArray, FloatArray
from charkha.monitoring.sequential.null import LEAST_BLOCKS
from charkha.spec.durations import DAY_US, HOUR_US

LOW = 0.1
# The largest clusters that are looked at together, and of how many copies each must be.
CLUSTERS, LEAST_COPIES = 20, 5


def pattern_signals(graded: Graded, expected: Odds | Errors, case: Case) -> Iterator[Signal]:
    """Yield one signal, where things of the lowest scores are true of which many are alike to the last digit."""
    healthy = graded.known(case.healthy)
    low = graded.score <= np.quantile(graded.score[healthy], LOW)
    before, line = _effects(graded, expected, case.healthy, low)
    now, line = _effects(graded, expected, case.watched, low)
    if np.isfinite(before[0]).sum() < LEAST_BLOCKS or not line.blocks:
        return
    budget = evolve(case.budget, looks_per_hour=HOUR_US / DAY_US, checks=1)
    for found in discovered(Effects.of(*before), before, now, budget):
        began_us = line.began_us(found.onset.began)
        since = Span(began_us, case.watched.until_us)
        usual, current = (_alike(graded, expected, graded.known(span) & low) for span in (case.healthy, since))
        if not found.rise or current < 0.5 or current < 2 * usual:
            continue
        rows = int((graded.known(since) & low).sum())
        yield Signal(
            check="pattern",
            subject="",
            alarmed_us=line.began_us(found.block + 1) + graded.patience_us,
            began_us=began_us,
            earliest_us=line.began_us(found.onset.earliest),
            latest_us=line.began_us(found.onset.latest + 1),
            evidence=found.evidence,
            usual=usual,
            now=current,
            unit="share of the surprises among the lowest scores that are copies of few",
            rows=rows,
            words=f"of the surprises among the lowest tenth of scores, {current:.0%} are copies of {CLUSTERS} patterns "
            f"since {to_iso(began_us)}, {usual:.0%} before",
        )


def _effects(
    graded: Graded, expected: Odds | Errors, span: Span, low: BoolArray
) -> tuple[tuple[FloatArray, FloatArray], Timeline]:
    line = Timeline.of(span, DAY_US, graded.now_us - graded.patience_us)
    rows = np.flatnonzero(graded.known(span) & low)
    within, block = line.places(graded.at_us[rows])
    rows = rows[within]
    none = np.zeros((len(rows), 0))
    found = block_effects(
        expected, graded.level[rows], graded.label[rows], none, block=block, blocks=line.blocks, copies_count=True
    )
    columns = slice(INTERCEPT, INTERCEPT + 1)
    return (found.effect[:, columns], found.variance[:, columns]), line


def _alike(graded: Graded, expected: Odds | Errors, chosen: BoolArray) -> float:
    """Return what share of the surprises (true, or two spreads too high) has one of the most frequent scores."""
    level, label = graded.level[chosen], graded.label[chosen]
    residual, _ = expected.residuals(level, label, np.zeros_like(level))
    surprises = pl.Series(graded.score[chosen][residual > (0.5 if isinstance(expected, Odds) else 2.0)])
    counts = surprises.value_counts(sort=True, name="count")["count"]
    largest = counts.head(CLUSTERS)
    return float(largest.filter(largest >= LEAST_COPIES).sum() / max(len(surprises), 1))
