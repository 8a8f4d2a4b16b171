"""What rollouts say of themselves: plans, differences, guardrails, and the evidence of each."""

from collections.abc import Iterator, Mapping
from math import isfinite, log

import numpy as np

from charkha.monitoring.sequential.events import shift_at_least
from charkha.operations.rollout.compared import better_in_words, name_of, unit_of
from charkha.operations.rollout.guards import alpha_of_guard, excesses, slice_excesses
from charkha.operations.rollout.live import Arm, Live
from charkha.operations.rollout.plan import Plan
from charkha.operations.rollout.progress import Exposure
from charkha.operations.rollout.trial import Trial
from charkha.operations.rollout.verdicts import Sequence, sequence
from charkha.operations.wording import count_of, figure, length_of, moment, percent
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model


def plan_in_words(plan: Plan, model: Model, now_us: int) -> str:
    """Return what an A/B test needs, and by when it has it at the present traffic."""
    digits = _digits(plan.effect)
    needs = (
        f"To find a difference of {figure(plan.effect, digits)} ({percent(model.rollout.mde)} of the champion's "
        f"{name_of(model)}) with a power of {percent(plan.power)} takes "
        f"{count_of(plan.labels, f'matured {unit_of(model)}')}"
    )
    if plan.days is None:
        return f"{needs}; at the present traffic they never come"
    return f"{needs}, at the present traffic by {moment(now_us + int(plan.days * DAY_US))}"


def difference_in_words(found: Sequence, plan: Plan) -> str:
    """Return a difference with its confidence sequence, such as "-0.021 (96.5 % at every look -0.033 to -0.009)"."""
    if not isfinite(found.low):
        return "the difference is not known yet"
    digits = _digits((found.high - found.low) / 2)
    value, low, high = (figure(each, digits, signed=True) for each in (found.value, found.low, found.high))
    return f"{value} ({percent(1 - plan.alpha)} at every look {low} to {high})"


def means_in_words(live: Live, model: Model, found: Sequence, plan: Plan) -> str:
    """Return how the two arms do on matured labels."""
    mine, others = live.challenger.matured, live.champion.matured
    digits = _digits(plan.effect)
    better = better_in_words(model)
    return (
        f"{name_of(model)} {_mean(mine.value, digits)} on {count_of(mine.rows, f'matured {unit_of(model)}')} against "
        f"the champion's {_mean(others.value, digits)} on {others.rows:,}: {difference_in_words(found, plan)}"
        f"{f', {better}' if better else ''}"
    )


def broken_guards(live: Live, model: Model) -> list[str]:
    """Return which guardrails a challenger breaks, in words; none where it keeps them all."""
    rollout = model.rollout
    alpha, figures = alpha_of_guard(rollout), live.figures
    above = excesses(figures, rollout.guardrails, live.challenger.share, alpha)
    said = dict(_guards_in_words(live, model, alpha))
    return [said[name] for name, excess in above.items() if float(excess) > 0]


def _guards_in_words(live: Live, model: Model, alpha: float) -> Iterator[tuple[str, str]]:
    mine, others, limits = live.challenger, live.champion, model.rollout.guardrails
    metric, figures = name_of(model), live.figures
    yield "failures", f"it fails more often: {_rates(mine, others, 'failed', 'had a request that failed')}"
    yield (
        "assignment",
        f"sample ratio mismatch: it answered {mine.entities:,} of {mine.entities + others.entities:,} entities first, "
        f"where its share is {percent(mine.share)}; what it is compared by cannot be trusted",
    )
    yield (
        "latency",
        f"it is slow: {_rates(mine, others, 'slow', f'had a call of more than {live.slow_us / 1000:.3g} ms')}",
    )
    yield (
        "decisions",
        f"it decides otherwise by more than the factor {limits.max_decision_change:g}: "
        f"{_rates(mine, others, 'decided', 'had a positive decision')}",
    )
    shift = float(shift_at_least(*figures.scores, alpha))
    yield (
        "scores",
        f"its scores are distributed otherwise: by at least {shift:.2f}, where {limits.max_score_shift:.2f} may be",
    )
    yield (
        "loss",
        f"it is worse: {metric} {_mean(mine.early.value)} on {count_of(mine.early.rows, unit_of(model))} so far, "
        f"the champion's {_mean(others.early.value)} on {others.early.rows:,}",
    )
    yield (
        "labels",
        f"its {unit_of(model)}s are missing otherwise than the champion's: of {_entities(mine)} the first matured "
        f"prediction has none for {mine.first_without:,}, of the champion's {_entities(others)} for "
        f"{others.first_without:,}, and any has none for {mine.without:,} against {others.without:,}; what it is "
        "compared by cannot be trusted",
    )
    if live.slices:
        worst = live.slices[int(np.argmax(slice_excesses(figures, alpha)))]
        yield (
            "slices",
            f"it is worse where {worst.name} is {worst.value}: {metric} by {_mean(worst.difference, signed=True)}",
        )


def evidence_of(exposure: Exposure, model: Model) -> dict[str, object]:
    """Return what was measured of a challenger that answers users, for the ledger.

    Of a guardrail that nothing speaks against, the excess is null: JSON has no infinity.
    """
    trial, live = exposure.trial, exposure.live
    plan = trial.plan
    found = sequence(*live.difference, plan) if plan else None
    above = excesses(live.figures, model.rollout.guardrails, live.challenger.share, alpha_of_guard(model.rollout))
    return {
        "version": trial.version,
        "champion": trial.champion,
        "stage": trial.stage,
        "step": trial.step,
        "share": trial.share,
        "since_us": live.span.since_us,
        "until_us": live.span.until_us,
        "metric": model.rollout.compare.metric,
        "higher_is_better": model.compared_higher,
        "arms": {"champion": arm_in_figures(live.champion), "challenger": arm_in_figures(live.challenger)},
        "difference": sequence_in_figures(found),
        "guards": {name: float(excess) if isfinite(excess) else None for name, excess in above.items()},
        "log_bar": -log(alpha_of_guard(model.rollout)),
        "plan": plan.written() if plan else None,
    }


def arm_in_figures(arm: Arm) -> Mapping[str, object]:
    """Return an arm as plain figures; what is not known is null."""
    return {
        "version": arm.version,
        "share": arm.share,
        "requests": arm.requests,
        "entities": arm.entities,
        "failed_entities": arm.failed,
        "slow_entities": arm.slow,
        "positive_entities": arm.decided,
        "latency_p95_ms": None if arm.latency_us is None else arm.latency_us / 1000,
        "labels": arm.matured.rows,
        "of_matured_predictions": arm.predictions,
        "entities_without_label": arm.without,
        "labels_so_far": arm.early.rows,
        "mean": arm.matured.value if isfinite(arm.matured.value) else None,
        "mean_so_far": arm.early.value if isfinite(arm.early.value) else None,
    }


def sequence_in_figures(found: Sequence | None) -> dict[str, float] | None:
    """Return a difference as plain figures; None where nothing is known."""
    if found is None or not isfinite(found.low):
        return None
    return {"value": found.value, "low": found.low, "high": found.high, "information": found.information}


def time_at_stage(trial: Trial, now_us: int) -> str:
    """Return how long a version has been at its stage, in words."""
    return length_of(now_us - trial.since_us)


def _rates(mine: Arm, others: Arm, name: str, what: str) -> str:
    return (
        f"{getattr(mine, name):,} of its {mine.entities:,} entities {what}, "
        f"{getattr(others, name):,} of the champion's {others.entities:,}"
    )


def _entities(arm: Arm) -> str:
    return f"{arm.first_with + arm.first_without:,} entities"


def _mean(value: float, digits: int | None = None, *, signed: bool = False) -> str:
    if not isfinite(value):
        return "unknown"
    return figure(value, (4 if abs(value) < 100 else 1) if digits is None else digits, signed=signed)


def _digits(width: float) -> int:
    """Return how many decimals show a width with two figures: 3 to 7, fewer of what is larger than 1."""
    if width <= 0 or not isfinite(width):
        return 4
    return max(3 if width < 1 else 0, min(7, int(np.ceil(-np.log10(width))) + 1))
