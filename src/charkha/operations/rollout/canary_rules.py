"""The canary: a share of the entities, then a larger one, as long as no guardrail breaks."""

from charkha.operations.rollout.compared import unplanned_in_words
from charkha.operations.rollout.exposing import exposed
from charkha.operations.rollout.progress import Exposure
from charkha.operations.rollout.words import broken_guards, evidence_of, time_at_stage
from charkha.operations.situation import Situation
from charkha.operations.steps import Retract, Step
from charkha.operations.wording import count_of, percent
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model
from charkha.spec.retention import PATIENCE


def judge_canary(situation: Situation, model: Model) -> Step | None:
    """Return what becomes of a challenger that answers users: taken out, or a step further; None while it goes on."""
    progress = situation.progress
    exposure = progress.exposure if progress else None
    if exposure is None:
        return None
    if reasons := broken_guards(exposure.live, model):
        said = f"stopped with {percent(exposure.trial.share)} of the entities: {'; '.join(reasons)}"
        return retracted(situation, model, exposure, said, "rolled back")
    return _next(situation, model, exposure) if exposure.trial.stage == "canary" else None


def retracted(situation: Situation, model: Model, exposure: Exposure, reason: str, outcome: str) -> Retract:
    """Return the end of a rollout whose version answers users. outcome: "rolled back" or "inconclusive"."""
    trial = exposure.trial
    return Retract(
        version=trial.version,
        generation=situation.deployment.generation,
        reason=f"{trial.version}: {reason}",
        evidence={**evidence_of(exposure, model), "outcome": outcome},
    )


def _next(situation: Situation, model: Model, exposure: Exposure) -> Step | None:
    trial, canary, mine = exposure.trial, model.rollout.guardrails, exposure.live.challenger
    progress = situation.progress
    period_us, for_so_long = parse_duration(canary.period), time_at_stage(trial, situation.now_us)
    if situation.now_us < trial.since_us + period_us:
        return None
    step = min(trial.step + 1, len(model.rollout.shares) - 1)
    if mine.requests >= canary.min_requests:
        kept = f"no guardrail broke in {for_so_long} and {count_of(mine.requests, 'request')}"
        if further := exposed(situation, model, trial.version, step, kept):
            return further
    # An A/B test is planned by matured labels: those of the champion have to be waited for.
    if situation.now_us < trial.since_us + PATIENCE * (period_us + model.label.delay_us):
        return None
    if mine.requests < canary.min_requests:
        said = f"after {for_so_long} it has answered only {count_of(mine.requests, 'request')}"
        reason = f"{said}, where {canary.min_requests:,} are needed: inconclusive, {trial.champion} stays"
    elif progress and progress.usual and not progress.plan:
        why = unplanned_in_words(progress.usual, trial.champion, model)
        reason = f"after {for_so_long} {why}: inconclusive, {trial.champion} stays"
    else:
        reason = f"after {for_so_long} another challenger is in the way: inconclusive, {trial.champion} stays"
    return retracted(situation, model, exposure, reason, "inconclusive")
