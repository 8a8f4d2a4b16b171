"""Where a rollout is, on which evidence, and what would end it: for `charkha rollout status`."""

from collections.abc import Mapping, Sequence
from typing import Any

from charkha.clock import to_iso
from charkha.operations.decide import decide
from charkha.operations.rollout.compared import better_in_words, unplanned_in_words
from charkha.operations.rollout.features import FeatureChanges
from charkha.operations.rollout.guards import alpha_of_guard, excesses
from charkha.operations.rollout.live import Live
from charkha.operations.rollout.progress import Progress
from charkha.operations.rollout.trial import ABORT, RETRACT, Trial
from charkha.operations.rollout.unseen import Unseen
from charkha.operations.rollout.verdicts import sequence
from charkha.operations.rollout.words import (
    arm_in_figures,
    difference_in_words,
    plan_in_words,
    sequence_in_figures,
)
from charkha.operations.situation import Situation
from charkha.operations.wording import count_of, moment, percent, step_in_words
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model
from charkha.storage.ledger import Decision

ENDS: Mapping[str, str] = {
    "promote": "champion",
    "reject": "rejected",
    RETRACT: "rolled back",
    ABORT: "rolled back",
    "withdraw": "rolled back",
}


def status_of(
    situation: Situation, model: Model, decisions: Sequence[Decision], changes: FeatureChanges | None = None
) -> dict[str, Any]:
    """Return all that is to be said of a model's rollout, as plain values.

    decisions: all of the model. changes: of the features of a shadow, where they were compared.
    """
    progress, step = situation.progress, decide(situation, model)
    trial = progress.trial if progress else None
    waiting = [each for each in situation.proposals.values() if each.answer == "open"]
    waiting = [each for each in waiting if not each.lapsed(situation.deployment.generation)]
    state = stage_of(trial, situation, needs_a_person=bool(waiting))
    return {
        "model": model.name,
        "as_of": to_iso(situation.now_us),
        "stage": state,
        "version": trial.version if trial else None,
        "champion": situation.deployment.champion.version if situation.deployment.champion else None,
        "share": trial.share if trial and trial.stage != "shadow" else None,
        "metric": model.rollout.compare.metric,
        "higher_is_better": model.compared_higher,
        "since": to_iso(trial.since_us) if trial else None,
        "started_by": trial.started_by if trial else None,
        "shadow": _of_shadow(progress.unseen, changes) if progress and progress.unseen else None,
        "arms": _arms(progress.live) if progress and progress.live else None,
        "difference": _difference(trial, progress.live, model) if trial and progress and progress.live else None,
        "guards": _guards(progress.live, model) if progress and progress.live else None,
        "plan": trial.plan.written() if trial and trial.plan else None,
        "next": {"step": step_in_words(step), "reason": step.reason} if step else None,
        "ends_when": ends_when(trial, progress, situation, model) if trial and progress else [],
        "proposals": [{"step": each.key.removesuffix("/proposed"), "proposes": each.proposes} for each in waiting],
        "last": _last(decisions),
    }


def stage_of(trial: Trial | None, situation: Situation, *, needs_a_person: bool) -> str:
    """Return the state of the machine in words."""
    if trial is None:
        return "candidate" if any(each.passed for each in situation.waiting) else "none"
    stage = {"shadow": "shadow", "canary": f"canary, step {trial.step + 1}", "ab": "A/B test"}[trial.stage]
    return f"{stage}; needs a person" if needs_a_person else stage


def ends_when(trial: Trial, progress: Progress, situation: Situation, model: Model) -> list[str]:
    """Return what would end the present stage, in words."""
    rollout = model.rollout
    if trial.stage == "shadow":
        left_us = trial.since_us + parse_duration(rollout.shadow.period)
        further = "a live stage" if rollout.live else f"a verdict on {rollout.shadow.min_labels:,} matured labels"
        ended = [f"from {moment(left_us)}: {further}", "a limit of the shadow that breaks: rejected"]
        return [*ended, *_planned(trial, progress, model, situation.now_us)] if len(rollout.shares) == 1 else ended
    guards = "a guardrail that breaks: rolled back"
    if trial.stage == "canary":
        canary = rollout.guardrails
        next_us = trial.since_us + parse_duration(canary.period)
        share = rollout.shares[min(trial.step + 1, len(rollout.shares) - 1)]
        needed = count_of(canary.min_requests, "request")
        planned = _planned(trial, progress, model, situation.now_us)
        return [f"from {moment(next_us)} and after {needed}: {percent(share)} of the entities", guards, *planned]
    over_us = trial.since_us + parse_duration(rollout.compare.within) + model.label.delay_us
    better, worse = ("above", "below") if model.compared_higher else ("below", "above")
    ended = [
        f"the whole sequence {better} zero: champion; {worse} zero: rolled back",
        f"at {moment(over_us)} at the latest: inconclusive",
        guards,
    ]
    return [*ended, plan_in_words(trial.plan, model, trial.since_us)] if trial.plan else ended


def _planned(trial: Trial, progress: Progress, model: Model, now_us: int) -> list[str]:
    """Return what the A/B test would need, or why none can be planned."""
    if progress.plan is not None:
        return [plan_in_words(progress.plan, model, now_us)]
    if progress.usual is None:
        return []
    return [f"no A/B test yet: {unplanned_in_words(progress.usual, trial.champion, model)}"]


def _of_shadow(unseen: Unseen, changes: FeatureChanges | None) -> dict[str, Any]:
    own, usual = unseen.latency_us or (None, None)
    spent, spent_usual = unseen.spent_us or (None, None)
    return {
        "calls": unseen.calls,
        "calls_without_a_score": unseen.missed,
        "requests": unseen.requests,
        "latency_p95_ms": None if own is None else own / 1000,
        "champion_latency_p95_ms": None if usual is None else usual / 1000,
        "ms_per_1000_requests": spent,
        "champion_ms_per_1000_requests": spent_usual,
        "decided_otherwise": unseen.disagreed,
        "decided": unseen.decided,
        "mean_score_difference": unseen.score_difference,
        "score_spread": unseen.spread[0],
        "champion_score_spread": unseen.spread[1],
        "features": None
        if changes is None
        else [
            {"feature": each.feature, "requests": each.requests, "differing": each.differing, "size": each.size}
            for each in changes.changes
            if each.differing
        ],
    }


def _arms(live: Live) -> list[Mapping[str, object]]:
    return [arm_in_figures(live.champion), arm_in_figures(live.challenger)]


def _difference(trial: Trial, live: Live, model: Model) -> dict[str, Any] | None:
    if trial.plan is None:
        return None
    found = sequence(*live.difference, trial.plan)
    known = sequence_in_figures(found)
    share = found.information / trial.plan.information
    better = better_in_words(model) if known else ""
    words = difference_in_words(found, trial.plan) + (f", {better}" if better else "")
    return {**(known or {}), "words": words, "of_planned_information": share}


def _guards(live: Live, model: Model) -> dict[str, str]:
    above = excesses(live.figures, model.rollout.guardrails, live.challenger.share, alpha_of_guard(model.rollout))
    return {name: "breaks" if float(excess) > 0 else "holds" for name, excess in above.items()}


def _last(decisions: Sequence[Decision]) -> dict[str, Any] | None:
    """Return how the rollout before ended."""
    ended = [each for each in decisions if each.action in ENDS]
    if not ended:
        return None
    last = ended[-1]
    outcome = last.evidence.get("outcome") or ENDS[last.action]
    return {
        "version": last.evidence.get("version"),
        "outcome": outcome,
        "by": last.actor,
        "at": to_iso(last.time_us),
        "reason": last.reason,
    }
