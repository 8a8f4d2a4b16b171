"""What measurements mean, in words and figures: has a champion fallen, is a challenger better."""

from collections.abc import Sequence
from math import inf

from charkha.bundles.manifest import Estimate as Reference
from charkha.monitoring.findings import Finding
from charkha.monitoring.performance import Contest, Performance
from charkha.monitoring.skew_watch import SkewMeasure, skew_in_words
from charkha.operations.steps import Evidence, Promote, Reject
from charkha.operations.wording import (
    Interval,
    count_of,
    digits_for,
    figure,
    length_of,
    metric_name,
    with_interval,
)
from charkha.training.metrics import Estimate

# The drifted features that a reason names; its evidence has them all.
NAMED = 3


def fall(
    health: Performance, reference: Reference, findings: Sequence[Finding], *, higher_is_better: bool
) -> tuple[str, Evidence] | None:
    """Return in words, and as evidence, that a champion has fallen; None when it has not.

    It has when the interval of now and that of its test rows do not meet, and now is the worse. Drift found at the same
    time is told with it: it is not the reason, but where one would look for one.
    """
    now = health.estimate
    if now is None or not (now.high < reference.low if higher_is_better else now.low > reference.high):
        return None
    digits = min(digits_for(now), digits_for(reference))
    drifted = [finding for finding in findings if finding.significant and finding.kind != "freshness"]
    reason = (
        f"{metric_name(health.metric)} {with_interval(now, digits)} on {_labels(health)}, against "
        f"{with_interval(reference, digits)} when {health.version} was tested: worse by "
        f"{figure(abs(now.value - reference.value), digits)}, and the intervals do not meet{_drift(drifted)}"
    )
    evidence = {
        "champion": health.version,
        "metric": health.metric,
        "now": _plain(now),
        "reference": _plain(reference),
        "labels": health.labels,
        "days": health.days,
        "since_us": health.span.since_us,
        "until_us": health.span.until_us,
        "drifted": [finding.message for finding in drifted],
    }
    return reason, evidence


def judge(generation: int, contest: Contest, difference: Estimate) -> Promote | Reject:
    """Return the verdict on a challenger: promoted if the whole interval of the difference in loss is below zero."""
    digits = digits_for(difference)
    comparison = (
        f"{_loss(contest, contest.challenger_loss, digits)} against the champion's "
        f"{_value(contest.champion_loss, digits)} on {_labels(contest)}: "
        f"{with_interval(difference, digits, confidence=contest.confidence, signed=True)}"
    )
    evidence = _contest_evidence(contest, difference)
    if difference.high < 0:
        return Promote(version=contest.challenger, generation=generation, reason=comparison, evidence=evidence)
    why = "it is worse" if difference.low > 0 else "the interval reaches zero, so it is not shown to be better"
    return Reject(version=contest.challenger, generation=generation, reason=f"{comparison}; {why}", evidence=evidence)


def unless_skewed(verdict: Promote | Reject, skew: SkewMeasure | None) -> Promote | Reject:
    """Return the verdict; the rejection of a challenger that is better, on features which it was not taught."""
    if isinstance(verdict, Reject) or skew is None or not skew.skewed:
        return verdict
    return Reject(
        version=verdict.version,
        generation=verdict.generation,
        reason=f"{verdict.reason}; but {skew_in_words(skew.skewed[0])}{_others(skew)}",
        evidence={**verdict.evidence, "skewed": [feature.feature for feature in skew.skewed]},
    )


def _others(skew: SkewMeasure) -> str:
    others = len(skew.skewed) - 1
    return f"; so {'was' if others == 1 else 'were'} {count_of(others, 'other feature')}" if others else ""


def nothing_to_judge_by(generation: int, contest: Contest, min_labels: int, patience_us: int) -> Reject:
    """Return the end of a shadow that got too few labels."""
    return Reject(
        version=contest.challenger,
        generation=generation,
        reason=(
            f"after {length_of(patience_us)} beside {contest.champion} only {_labels(contest)} of predictions that "
            f"both scored: {min_labels:,} on at least two days are needed to judge it"
        ),
        evidence=_contest_evidence(contest, None),
    )


def _labels(measured: Performance | Contest) -> str:
    return f"{count_of(measured.labels, 'matured label')} of {count_of(measured.days, 'day')}"


def _loss(contest: Contest, loss: Interval | None, digits: int) -> str:
    return f"{metric_name(contest.metric)} {_value(loss, digits)}"


def _value(loss: Interval | None, digits: int) -> str:
    return "unknown" if loss is None else figure(loss.value, digits)


def _drift(drifted: Sequence[Finding]) -> str:
    if not drifted:
        return ""
    largest = sorted(drifted, key=_smallness)[:NAMED]
    more = f" and {len(drifted) - NAMED} more" if len(drifted) > NAMED else ""
    return f". At the same time: {'; '.join(finding.message for finding in largest)}{more}"


def _smallness(finding: Finding) -> float:
    """Return how little a finding matters beside others: a skew, whose limit is 0, matters most."""
    return -finding.value / finding.threshold if finding.threshold else -inf


def _contest_evidence(contest: Contest, difference: Estimate | None) -> Evidence:
    return {
        "version": contest.challenger,
        "champion": contest.champion,
        "metric": contest.metric,
        "confidence": contest.confidence,
        "challenger_loss": _plain(contest.challenger_loss),
        "champion_loss": _plain(contest.champion_loss),
        "difference": _plain(difference),
        "labels": contest.labels,
        "days": contest.days,
        "since_us": contest.span.since_us,
        "until_us": contest.span.until_us,
    }


def _plain(measured: Interval | None) -> dict[str, float] | None:
    if measured is None:
        return None
    return {"value": measured.value, "low": measured.low, "high": measured.high, "n": measured.n}
