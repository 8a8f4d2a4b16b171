"""The rules of a rollout: what becomes of the version on its way, from what is known of it now.

    candidate ──► shadow ──► canary, step by step ──► A/B test ──► champion
        │            │              │                     │
     rejected     rejected     rolled back     rolled back, inconclusive, or a person is asked

Each rule is pure; stages come from deployments and decisions (`trial`), figures from the tables (`measure`). Where the
rollout declares no live stage, the shadow is judged once, by the paired difference (`verdict.judge`).
"""

from collections.abc import Callable

from charkha.monitoring.skew_watch import skew_in_words
from charkha.operations.rollout.ab_rules import judge_test
from charkha.operations.rollout.canary_rules import judge_canary
from charkha.operations.rollout.compared import unplanned_in_words
from charkha.operations.rollout.exposing import exposed
from charkha.operations.rollout.promoting import promoted
from charkha.operations.rollout.trial import Trial
from charkha.operations.rollout.unseen import LEAST_REQUESTS, Unseen, reasons_to_stop
from charkha.operations.rollout.waiting import reject_waiting
from charkha.operations.rollout.words import time_at_stage
from charkha.operations.situation import Situation
from charkha.operations.steps import Promote, Reject, StartShadow, Step
from charkha.operations.verdict import judge, nothing_to_judge_by, unless_skewed
from charkha.operations.wording import count_of, length_of
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model
from charkha.spec.retention import PATIENCE

__all__ = ["ROLLOUT_RULES", "reject_waiting"]


def start(situation: Situation, model: Model) -> Step | None:
    """Return the beginning of a rollout: of the version that waits, where none is on its way."""
    champion = situation.deployment.champion
    if champion is None or situation.deployment.shadows or (situation.progress and situation.progress.trial):
        return None
    shadow = model.rollout.unseen
    for waiting in situation.waiting:
        passed = f"{waiting.version} passed its {count_of(len(waiting.gates), 'gate')}"
        if shadow is None:
            return exposed(situation, model, waiting.version, 0, f"{passed}: no shadow is declared")
        period = length_of(parse_duration(shadow.period))
        until = f" and until {count_of(shadow.min_labels, 'label')} have matured"
        return StartShadow(
            version=waiting.version,
            generation=situation.deployment.generation,
            reason=(
                f"{passed}: it scores every request unseen beside {champion.version}, for at least {period}"
                f"{'' if model.rollout.live else until}"
            ),
            evidence={"version": waiting.version, "champion": champion.version, "stage": "shadow"},
        )
    return None


def stop_shadow(situation: Situation, model: Model) -> Step | None:
    """Return the rejection of a shadow that breaks a limit of its stage."""
    progress = situation.progress
    trial, unseen = (progress.trial, progress.unseen) if progress else (None, None)
    if trial is None or unseen is None:
        return None
    reasons = reasons_to_stop(unseen, model.rollout.shadow)
    return _rejected(situation, trial, f"stopped as a shadow: {'; '.join(reasons)}", unseen) if reasons else None


def judge_shadow(situation: Situation, model: Model) -> Step | None:
    """Return the verdict on a shadow that decides the rollout: once its time is up and enough labels have matured."""
    contest, shadow = situation.contest, model.rollout.shadow
    over_us = situation.since_us + parse_duration(shadow.period)
    if model.rollout.live or contest is None or situation.now_us < over_us:
        return None
    if contest.labels >= shadow.min_labels and contest.difference is not None:
        found = unless_skewed(judge(situation.deployment.generation, contest, contest.difference), situation.skew)
        return promoted(found, situation, model) if isinstance(found, Promote) else found
    patience_us = PATIENCE * (parse_duration(shadow.period) + model.label.delay_us)
    if situation.now_us < situation.since_us + patience_us:
        return None
    return nothing_to_judge_by(situation.deployment.generation, contest, shadow.min_labels, patience_us)


def leave_shadow(situation: Situation, model: Model) -> Step | None:
    """Return the first live stage for a shadow that has kept its limits, on enough requests and for long enough."""
    progress = situation.progress
    trial, unseen = (progress.trial, progress.unseen) if progress else (None, None)
    period_us = parse_duration(model.rollout.shadow.period)
    if not model.rollout.live or trial is None or unseen is None or situation.now_us < trial.since_us + period_us:
        return None
    if unseen.requests < LEAST_REQUESTS:
        if situation.now_us < trial.since_us + PATIENCE * period_us:
            return None
        said = (
            f"after {time_at_stage(trial, situation.now_us)} it has scored only {count_of(unseen.requests, 'request')}"
        )
        return _rejected(situation, trial, f"{said}: {LEAST_REQUESTS} are needed before users meet it", unseen)
    if situation.skew is not None and situation.skew.skewed:
        return _rejected(situation, trial, skew_in_words(situation.skew.skewed[0]), unseen)
    reason = (
        f"it kept its limits as a shadow for {time_at_stage(trial, situation.now_us)}, on "
        f"{count_of(unseen.requests, 'request')}"
    )
    further = exposed(situation, model, trial.version, 0, reason)
    return further or _unplanned(situation, model, trial, unseen)


def _unplanned(situation: Situation, model: Model, trial: Trial, unseen: Unseen) -> Reject | None:
    """Return the end of a shadow that an A/B test was to follow, where for all its patience none could be planned."""
    usual = situation.progress.usual if situation.progress else None
    patience_us = PATIENCE * (parse_duration(model.rollout.shadow.period) + model.label.delay_us)
    test_is_next = len(model.rollout.shares) == 1
    if not test_is_next or usual is None or situation.now_us < trial.since_us + patience_us:
        return None
    if situation.progress and situation.progress.plan:
        return None  # a person's challenger is in the way
    said = f"after {time_at_stage(trial, situation.now_us)} {unplanned_in_words(usual, trial.champion, model)}"
    return _rejected(situation, trial, said, unseen)


def unless_changed(step: Step | None, situation: Situation, model: Model) -> Step | None:
    """Return a step that takes a shadow further; its rejection where its features differ from the champion's."""
    progress = situation.progress
    trial, changes = (progress.trial, progress.changes) if progress else (None, None)
    if trial is None or trial.stage != "shadow" or changes is None or step is None or isinstance(step, Reject):
        return step
    beyond = changes.beyond(model.rollout.shadow.max_feature_change)
    if not beyond:
        return step
    first = beyond[0]
    others = f"; and {count_of(len(beyond) - 1, 'other feature')}" if beyond[1:] else ""
    said = (
        f"feature {first.feature} differs from the champion's on {first.differing:,} of {first.requests:,} requests"
        f"{others}, where {model.rollout.shadow.max_feature_change:.0%} may be. What is declared otherwise needs "
        "another name, or ck.shadow(max_feature_change=)"
    )
    return _rejected(situation, trial, said, progress.unseen if progress else None)


def _shadow(situation: Situation, model: Model) -> Step | None:
    return unless_changed(judge_shadow(situation, model) or leave_shadow(situation, model), situation, model)


def _rejected(situation: Situation, trial: Trial, reason: str, unseen: Unseen | None) -> Reject:
    evidence: dict[str, object] = {"version": trial.version, "champion": trial.champion, "outcome": "rejected"}
    if unseen is not None:
        evidence |= {
            "calls": unseen.calls,
            "calls_without_a_score": unseen.missed,
            "requests": unseen.requests,
            "decided_otherwise": unseen.disagreed,
            "latency_us": unseen.latency_us,
            "spread": unseen.spread,
        }
    return Reject(
        version=trial.version,
        generation=situation.deployment.generation,
        reason=f"{trial.version}: {reason}",
        evidence=evidence,
    )


ROLLOUT_RULES: tuple[Callable[[Situation, Model], Step | None], ...] = (
    start,
    stop_shadow,
    _shadow,
    judge_canary,
    judge_test,
)
