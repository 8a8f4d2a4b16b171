"""Performance: is the model worse than its scores say, or do the same things only become true more often?

The realised loss less the loss to be expected given the score (log loss under the scores as recalibrated in the healthy
span; squared errors under their healthy spread), after one intercept for each block of time, is zero in mean whatever
is asked about and however often it is true, and positive when a model knows less than it did (Podkopaev and Ramdas
2021, "Tracking the risk of a deployed model and detecting harmful distribution shifts"). For log loss that excess is
the score statistic of the slope. In slices the effect is that of the labels given the score.

Signals: `prior` (the intercept has moved), `loss` (given the score and the intercept, other things are true; the
subject is "" for the model as a whole, a segment or a feature), `pattern` (things of very low scores are true, many of
them alike).
"""

from collections.abc import Iterator

import numpy as np
from attrs import evolve

from charkha.clock import to_iso
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.block_effects import (
    INTERCEPT,
    SLICES,
    SLOPE,
    SPREAD,
    BlockEffects,
)
from charkha.monitoring.diagnosis.checks.discovered import Discovery, discovered
from charkha.monitoring.diagnosis.checks.effects import Effects
from charkha.monitoring.diagnosis.checks.judged import Judged
from charkha.monitoring.diagnosis.checks.patterns import pattern_signals
from charkha.monitoring.diagnosis.checks.shapes import kind_of
from charkha.monitoring.diagnosis.checks.timeline import LENGTHS_US, Timeline
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.sequential.null import LEAST_BLOCKS
from charkha.spec.durations import HOUR_US
from charkha.spec.model import FloatArray

UNITS = {"binary": "log-odds", "regression": "standard deviations of the error"}


def loss_signals(case: Case) -> list[Signal]:
    """Return what the labels tell of a model's performance; of each check the first to ring."""
    judged = Judged.of(case)
    if judged is None:
        return []
    found: dict[tuple[str, str], Signal] = {}
    for length_us in LENGTHS_US:
        for signal in _of_blocks(judged, length_us):
            known = found.get((signal.check, signal.subject))
            if known is None or signal.alarmed_us < known.alarmed_us:
                found[signal.check, signal.subject] = signal
    signals = [*found.values(), *pattern_signals(judged.graded, judged.expected, case)]
    return sorted(signals, key=lambda signal: -signal.evidence)


def _of_blocks(judged: Judged, length_us: int) -> Iterator[Signal]:
    """Yield what blocks of one length tell; the model as a whole has half of the budget, its many slices the other."""
    _, before = judged.effects(judged.case.healthy, length_us)
    line, now = judged.effects(judged.case.watched, length_us)
    told = np.isfinite(before.effect).sum(axis=0) >= LEAST_BLOCKS
    whole = np.isin(np.arange(len(told)), (INTERCEPT, SLOPE, SPREAD))
    sliced = np.arange(len(told)) >= SLICES
    given = judged.case.budget
    for checks in (np.flatnonzero(told & whole), np.flatnonzero(told & sliced)):
        if not len(checks) or not line.blocks:
            continue
        healthy, watched = ((each.effect[:, checks], each.variance[:, checks]) for each in (before, now))
        alarms = given.alarms_per_year / len(LENGTHS_US) / 2
        budget = evolve(given, alarms_per_year=alarms, looks_per_hour=HOUR_US / length_us, checks=len(checks))
        null = Effects.of(healthy[0], healthy[1])
        for found in discovered(null, healthy, watched, budget):
            check = int(checks[found.check])
            if check == SLOPE and found.rise:
                continue  # scores that tell more than was expected do no harm
            yield _signal(judged, line, check, found, float(null.centre[found.check]), before=before, now=now)


def _signal(
    judged: Judged,
    line: Timeline,
    check: int,
    found: Discovery,
    usual: float,
    *,
    before: BlockEffects,
    now: BlockEffects,
) -> Signal:
    began = found.onset.began
    effect, variance = now.effect[:, check], now.variance[:, check]
    current = _mean(effect[began:], variance[began:])
    began_us, rows = line.began_us(began), int(now.rows[began:].sum())
    name = "prior" if check == INTERCEPT else "loss"
    subject = judged.slices.subjects[check - SLICES] if check >= SLICES else ""
    unit = UNITS[judged.case.task]
    kind = kind_of(effect - usual, variance, began)
    if check == INTERCEPT:
        words = f"{kind}: {'more' if current > usual else 'fewer'} than the scores say, {current - usual:+.2f} {unit}"
    elif check < SLICES:
        excess = [float(each.excess.sum() / max(each.rows.sum(), 1)) for each in (before, _since(now, began))]
        words = f"{kind}: the loss is {excess[1]:+.4f} above what the scores say, {excess[0]:+.4f} before"
    else:
        said = judged.slices.words[check - SLICES]
        words = f"{kind}: given the score, what is true where {said} has moved by {current - usual:+.2f} {unit}"
    return Signal(
        check=name,
        subject=subject,
        alarmed_us=line.began_us(found.block + 1) + judged.graded.patience_us,
        began_us=began_us,
        earliest_us=line.began_us(found.onset.earliest),
        latest_us=line.began_us(found.onset.latest + 1),
        evidence=found.evidence,
        usual=usual,
        now=current,
        unit=unit,
        rows=rows,
        words=f"{words}; {rows:,} labels since {to_iso(began_us)}",
    )


def _since(effects: BlockEffects, began: int) -> BlockEffects:
    return evolve(effects, excess=effects.excess[began:], rows=effects.rows[began:])


def _mean(effect: FloatArray, variance: FloatArray) -> float:
    told = np.isfinite(effect) & np.isfinite(variance)
    if not told.any():
        return 0.0
    return float(np.average(effect[told], weights=1 / variance[told]))
