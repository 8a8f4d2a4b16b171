"""Where no hypothesis explains anything: is the model worse, and nobody can say why; or did inputs move without harm?

*Degraded*: the loss of labels that are there is above what was to be expected of the scores, by half as much again as
where as many windows as a year has make no more alarms than its budget, and was so a day before, for other checks may
yet say why; and it is further above the usual one than that of any healthy stretch as long. *Benign*: inputs moved by
so much that one would ask, and labels, or the estimate before them, say that the model does as well as before.
"""

from collections.abc import Sequence

import numpy as np
from attrs import evolve

from charkha.bundles.profile import NumericShape
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.estimate import estimated_performance
from charkha.monitoring.diagnosis.evidence import Evidence, earliest
from charkha.monitoring.diagnosis.incident import Culprit, Diagnosis, Remedy
from charkha.monitoring.diagnosis.losses import METRIC, is_measured
from charkha.monitoring.diagnosis.performance_estimate import PerformanceEstimate
from charkha.monitoring.diagnosis.precedent import BEYOND
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span
from charkha.spec.durations import DAY_US

# What is worth naming though it does no harm: a level by so many standard deviations, questions so many times as many
# or as few, other things by so large a share of the rows. Every month has numbers that never were: they are named where
# most are.
LEVEL, VOLUME, MOST = 1.5, 1.5, 0.5
SHARES = {"strangers": 0.05, "unseen": 0.05, "far": 0.05, "top": 0.2}
NAMED = 3
# So long the other checks have to say why a model does worse: it has to have been so then.
PATIENCE_US = DAY_US
MOST_SUPPORT = 100.0


def unexplained(evidence: Evidence, healthy: Diagnosis) -> Diagnosis:
    """Return what is to be said where nothing explains what was found; `healthy`, where that is nothing."""
    return degraded(evidence, healthy) or benign(evidence, healthy) or healthy


def degraded(evidence: Evidence, healthy: Diagnosis) -> Diagnosis | None:
    """Return that a model does worse than its scores say, if it does; only of binary models, by their labels."""
    case = evidence.case
    if case.task != "binary":
        return None
    # Of both sides; looks within one window see nearly the same, so that windows are what is counted.
    level = min(0.05, case.budget.alarms_per_year * case.watched.days / 365)
    now = _beyond_expected(case, case.watched, level)
    earlier = Span(case.watched.since_us, max(case.watched.since_us, case.watched.until_us - PATIENCE_US))
    if now is None or _beyond_expected(case, earlier, level) is None:  # other checks may yet say why
        return None
    if now.realised is None or now.realised <= _most_before(evidence):
        return None
    kind = (
        f"the log loss is {now.realised:.3g}, where the scores lead one to expect {now.estimated:.3g} "
        f"({now.low:.3g} to {now.high:.3g}), and no check says why"
    )
    words = "Investigate: compare what is wrong now with what was right before; nothing is to be learnt from it yet."
    return evolve(
        healthy,
        cause="unknown",
        kind=kind,
        began_us=case.watched.since_us,
        earliest_us=case.watched.since_us,
        latest_us=case.watched.until_us,
        evidence=(_as_signal(evidence, now, level), *_strongest(evidence.signals)),
        share=1.0,
        remedy=Remedy(action="none", words=words),
    )


def _beyond_expected(case: Case, span: Span, level: float) -> PerformanceEstimate | None:
    """Return how a model does in a span, if its loss is beyond what its scores lead one to expect; else None."""
    if span.until_us <= span.since_us:
        return None
    now = estimated_performance(case, span, METRIC, confidence=1 - level)
    if now is None or now.realised is None or not is_measured(now):
        return None
    return now if now.realised - now.estimated > BEYOND * (now.high - now.estimated) else None


def _most_before(evidence: Evidence) -> float:
    """Return the loss that goes beyond any stretch of healthy days as long as what is watched, as of `precedent`."""
    case = evidence.case
    usual = estimated_performance(case, case.healthy, METRIC)
    if usual is None or usual.realised is None:
        return np.inf
    length = max(1, min(int(case.watched.days), int(case.healthy.days) // 2)) * DAY_US
    stretches = range(case.healthy.since_us, case.healthy.until_us - length + 1, DAY_US)
    found = (estimated_performance(case, Span(since, since + length), METRIC) for since in stretches)
    worst = max((each.realised for each in found if each is not None and each.realised is not None), default=np.inf)
    return usual.realised + BEYOND * max(worst - usual.realised, 0.0)


def _as_signal(evidence: Evidence, now: PerformanceEstimate, level: float) -> Signal:
    case, realised = evidence.case, now.realised if now.realised is not None else np.nan
    return Signal(
        check="estimate",
        subject="",
        alarmed_us=case.watched.until_us,
        began_us=case.watched.since_us,
        earliest_us=case.watched.since_us,
        latest_us=case.watched.until_us,
        evidence=float(-np.log(level)),
        usual=now.estimated,
        now=realised,
        unit="log loss",
        rows=int(now.mature * now.rows),
        words=f"the log loss is {realised:.3g} where {now.estimated:.3g} was to be expected of the scores",
    )


def benign(evidence: Evidence, healthy: Diagnosis) -> Diagnosis | None:
    """Return which inputs moved without harm; None where none did by enough, or harm cannot be told."""
    moved = _strongest([signal for signal in evidence.signals if _is_worth_naming(evidence, signal)])
    if not moved:
        return None
    began_us, earliest_us, latest_us = earliest(moved)
    as_well = _as_well(evidence, Span(earliest_us, evidence.case.watched.until_us))
    if as_well is None:
        return None
    more = f" and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
    names = dict.fromkeys(signal.subject for signal in moved if signal.subject)
    return evolve(
        healthy,
        cause="benign",
        kind=f"inputs moved: {'; '.join(_in_words(signal) for signal in moved[:NAMED])}{more}, and {as_well}",
        culprit=Culprit(features=tuple(names)),
        began_us=began_us,
        earliest_us=earliest_us,
        latest_us=latest_us,
        evidence=tuple(moved),
        share=1.0,
        margin=sum(min(signal.evidence, MOST_SUPPORT) for signal in moved),
    )


def _is_worth_naming(evidence: Evidence, signal: Signal) -> bool:
    if signal.check == "level":
        return abs(signal.now - signal.usual) >= LEVEL
    if signal.check == "volume":
        return signal.now >= VOLUME * signal.usual or signal.usual >= VOLUME * signal.now
    of_number = signal.check == "strangers" and isinstance(evidence.view.shape.parts[signal.subject], NumericShape)
    return signal.now - signal.usual >= (MOST if of_number else SHARES.get(signal.check, np.inf))


def _in_words(signal: Signal) -> str:
    return signal.words.partition(" since ")[0]


def _as_well(evidence: Evidence, since: Span) -> str | None:
    """Return in words that a model does as well as before since a time; None where it does not, or nobody can say."""
    case = evidence.case
    if case.task != "binary":
        return None
    usual, now = (estimated_performance(case, span, METRIC) for span in (case.healthy, since))
    if usual is None or usual.realised is None or now is None:
        return None
    if is_measured(now) and now.realised is not None:
        told = f"the model does as well as before: log loss {now.realised:.3g}, and its scores say {now.estimated:.3g}"
        return told if now.realised <= now.high else None
    told = f"the model is estimated to do as well as before: log loss {now.current:.3g}, usually {usual.realised:.3g}"
    return told if now.low <= usual.realised else None


def _strongest(signals: Sequence[Signal]) -> list[Signal]:
    return sorted(signals, key=lambda signal: -signal.evidence)
