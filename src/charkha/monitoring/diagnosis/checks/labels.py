"""Are the labels sound: do they come as they came, whatever they are, and are they right?

Arrival is judged at equal age. Whether a label was missing at that age is something true or false, with odds that the
score may have a part in also when all is well (a late flight lands late); the intercept of these odds moves when labels
stay out, their slope in the score when it is the true ones that do. Labels that are turned over at one rate are told
from concept drift by what they leave alone: given the score, no feature matters (`flips`).

Signals: `arrival` (more labels are missing at their usual age), `label_bias` (which are missing depends on the score),
`flips` (labels are turned over, or exchanged).
"""

from collections.abc import Iterator

import numpy as np
from attrs import evolve, frozen

from charkha.clock import to_iso
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.block_effects import FLIPS, INTERCEPT, SLOPE, BlockEffects, block_effects
from charkha.monitoring.diagnosis.checks.discovered import Discovery, discovered
from charkha.monitoring.diagnosis.checks.effects import Effects
from charkha.monitoring.diagnosis.checks.expectation import Odds, expectation
from charkha.monitoring.diagnosis.checks.flips import LEAST_ROWS, Given
from charkha.monitoring.diagnosis.checks.graded import Graded, inside
from charkha.monitoring.diagnosis.checks.judged import Judged
from charkha.monitoring.diagnosis.checks.timeline import LENGTHS_US, Timeline
from charkha.monitoring.diagnosis.precedent import BEYOND, unprecedented
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.null import LEAST_BLOCKS
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import FloatArray

# Share of the healthy labels that are known at the ages at which arrival is judged.
AGES = (0.9, 0.99)
WEEK_US = 7 * DAY_US
# Wrong labels are named where they are so many times as likely as any other account, and more than a slip of the pen.
LEAST_ODDS, LEAST_RATE = 20.0, 0.02


def label_signals(case: Case) -> list[Signal]:
    """Return what is wrong with the labels of a case; of several ages and blocks the first to ring, of each check."""
    judged = Judged.of(case)
    if judged is None:
        return []
    found: dict[str, Signal] = {}
    for length_us in LENGTHS_US:
        for signal in (*_arrival(case, judged.graded, length_us), *_flips(judged, length_us)):
            known = found.get(signal.check)
            if known is None or signal.alarmed_us < known.alarmed_us:
                found[signal.check] = signal
    return sorted(found.values(), key=lambda signal: -signal.evidence)


@frozen(eq=False)
class _Missing:
    """Which labels were missing at an age, and how likely that is by the score when all is well."""

    graded: Graded
    age_us: int
    missing: FloatArray
    expected: Odds

    @classmethod
    def of(cls, case: Case, graded: Graded, share: float) -> "_Missing | None":
        healthy = inside(graded.at_us, case.healthy)
        delay = graded.delay_us[healthy]
        known = delay[np.isfinite(delay)]
        if not len(known):
            return None
        age_us = int(np.ceil(np.quantile(known, share)))
        missing = (graded.delay_us > age_us).astype(np.float64)
        ripe = healthy & (graded.at_us + age_us < case.healthy.until_us)
        expected = expectation("binary", graded.level[ripe], missing[ripe])
        return cls(graded, age_us, missing, expected) if isinstance(expected, Odds) else None

    def effects(self, span: Span, length_us: int) -> tuple[Timeline, BlockEffects]:
        """Return the effects of blocks by when questions came of age, so that the onset is that of the labels."""
        ripe_us = self.graded.at_us + self.age_us
        line = Timeline.of(span, length_us, self.graded.now_us)
        within, block = line.places(ripe_us)
        none = np.zeros((len(block), 0))
        level, missing = self.graded.level[within], self.missing[within]
        return line, block_effects(self.expected, level, missing, none, block=block, blocks=line.blocks)


def _arrival(case: Case, graded: Graded, length_us: int) -> Iterator[Signal]:
    for share in AGES:
        missing = _Missing.of(case, graded, share)
        if missing is None:
            continue
        _, before = missing.effects(case.healthy, length_us)
        line, now = missing.effects(case.watched, length_us)
        for check in (INTERCEPT, SLOPE):
            for found in _moved(case, before, now, check, length_us, shared=len(AGES) * 2):
                if (found.rise or check == SLOPE) and _is_unprecedented(before, now, check, found):
                    yield _arrival_signal(missing, line, check, found)


def _is_unprecedented(before: BlockEffects, now: BlockEffects, check: int, found: Discovery) -> bool:
    """Say whether an effect since it began is further from the usual one than in any healthy stretch as long."""
    since = slice(found.onset.began, found.block + 1)
    told, weight = _weighed(before.effect[:, check], before.variance[:, check])
    now_told, now_weight = _weighed(now.effect[:, check], now.variance[:, check])
    return unprecedented(told, weight, now_told[since], now_weight[since])


def _weighed(effect: FloatArray, variance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return effects times their precisions, and these: (blocks,), 0 where a block says nothing."""
    told = np.isfinite(effect) & np.isfinite(variance)
    precision = np.where(told, 1 / np.where(told, variance, 1.0), 0.0)
    return np.where(told, effect, 0.0) * precision, precision


def _moved(
    case: Case, before: BlockEffects, now: BlockEffects, check: int, length_us: int, *, shared: int
) -> Iterator[Discovery]:
    """Yield whether one check has changed. shared: how many share the budget of this length."""
    healthy, watched = ((each.effect[:, [check]], each.variance[:, [check]]) for each in (before, now))
    if np.isfinite(healthy[0]).sum() < LEAST_BLOCKS or not len(watched[0]):
        return
    alarms = case.budget.alarms_per_year / len(LENGTHS_US) / shared
    budget = evolve(case.budget, alarms_per_year=alarms, looks_per_hour=HOUR_US / length_us, checks=1)
    yield from discovered(Effects.of(healthy[0], healthy[1]), healthy, watched, budget)


def _arrival_signal(missing: _Missing, line: Timeline, check: int, found: Discovery) -> Signal:
    began = found.onset.began
    began_us = line.began_us(began)
    graded = missing.graded
    ripe = graded.at_us + missing.age_us
    since = (ripe >= began_us) & (ripe < line.began_us(line.blocks))
    earlier = ripe < line.began_us(0)
    usual, current = (float(missing.missing[rows].mean()) if rows.any() else 0.0 for rows in (earlier, since))
    hours = missing.age_us / HOUR_US
    words = (
        f"{current:.1%} of {int(since.sum()):,} labels were missing at the age of {hours:.1f} hours since "
        f"{to_iso(began_us)}, {usual:.1%} when all was well"
    )
    if check == SLOPE:
        words += f"; those of {'high' if found.rise else 'low'} scores more than others"
    return Signal(
        check="arrival" if check == INTERCEPT else "label_bias",
        subject="",
        alarmed_us=line.began_us(found.block + 1),
        began_us=began_us,
        earliest_us=line.began_us(found.onset.earliest),
        latest_us=line.began_us(found.onset.latest + 1),
        evidence=found.evidence,
        usual=usual,
        now=current,
        unit="share of labels missing at their usual age",
        rows=int(since.sum()),
        words=words,
    )


def _usual_rate(judged: Judged) -> float:
    """Return the highest rate of wrong labels that any healthy week seems to have had, as storms seem to bring."""
    healthy = judged.case.healthy
    weeks = (Span(us, us + WEEK_US) for us in range(healthy.since_us, healthy.until_us - WEEK_US + 1, WEEK_US))
    rows = [judged.graded.known(week) for week in weeks]
    return max((judged.flips(each)[0] for each in rows if each.sum() >= LEAST_ROWS), default=0.0)


def _flips(judged: Judged, length_us: int) -> Iterator[Signal]:
    """Yield that labels are wrong, once they have moved at all and this is the better account of it."""
    _, before = judged.effects(judged.case.healthy, length_us)
    line, now = judged.effects(judged.case.watched, length_us)
    graded, best = judged.graded, None
    for check in (FLIPS, INTERCEPT, SLOPE):
        for found in _moved(judged.case, before, now, check, length_us, shared=4):
            if best is None or found.block < best.block:
                best = found
    alarms = judged.case.budget.alarms_per_year / len(LENGTHS_US) / 4
    budget = evolve(judged.case.budget, alarms_per_year=alarms, looks_per_hour=HOUR_US / length_us, checks=1)
    spans = judged.case.healthy, judged.case.watched
    healthy, watched = (judged.flip_evidence(span, length_us) for span in spans)
    for found in discovered(Given.of(), healthy, watched, budget) if line.blocks else ():
        if best is None or found.block < best.block:
            best = found
    if best is None:
        return
    began_us, until_us = line.began_us(best.onset.began), line.began_us(line.blocks)
    rows = graded.known(judged.case.watched) & (graded.at_us >= began_us) & (graded.at_us < until_us)
    rate, better = judged.flips(rows)
    if better < np.log(LEAST_ODDS) or rate < LEAST_RATE or rate < BEYOND * _usual_rate(judged):
        return
    words = (
        f"{rate:.0%} of {int(rows.sum()):,} labels since {to_iso(began_us)} are as if turned over or exchanged, "
        f"whatever they are of: a better account than that the world has changed, by {better:.0f} nats"
    )
    yield Signal(
        check="flips",
        subject="",
        alarmed_us=line.began_us(best.block + 1) + graded.patience_us,
        began_us=began_us,
        earliest_us=line.began_us(best.onset.earliest),
        latest_us=line.began_us(best.onset.latest + 1),
        evidence=better,
        usual=0.0,
        now=rate,
        unit="share of the labels",
        rows=int(rows.sum()),
        words=words,
    )
