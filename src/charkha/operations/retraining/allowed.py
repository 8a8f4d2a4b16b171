"""Whether a training may begin by what is left of the budget, and by how long ago the last one did.

The one place where the budget is asked: every training that the operator would make comes through `within_budget`, also
the first, an update, and those of remedies.
"""

from collections.abc import Mapping

from charkha.operations.retraining.cost import expected_cost, over_budget, spent
from charkha.operations.retraining.keys import is_of_update
from charkha.operations.situation import Situation
from charkha.operations.steps import Note, Train
from charkha.operations.wording import moment
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model

REFUSED = "train_refused"
# What the evidence of a refusal keeps of the training's own, where that has it.
_KEPT = ("triggers", "incidents", "incident", "remedy", "without", "champion", "gain")
# What a training is called in a refusal's key and words, by what its evidence says of it.
_KINDS: Mapping[str, tuple[str, str]] = {
    "without": ("/without", "training of a version without what is at fault"),
    "recalibrates_since_us": ("/recalibrate", "calibration anew"),
}


def next_run_key(situation: Situation, model: Model) -> str:
    """Return the key of the next training."""
    return f"{model.name}/train/{situation.trainings + 1}"


def may_train_from_us(situation: Situation, model: Model) -> int:
    """Return from when a training may begin, by the cooldown since the last one (µs)."""
    return (situation.last_trained_us or 0) + parse_duration(model.retrain.cooldown)


def cooled_down(situation: Situation, model: Model) -> bool:
    """Say whether the cooldown since the last training is over."""
    return situation.last_trained_us is None or situation.now_us >= may_train_from_us(situation, model)


def within_budget(step: Train, situation: Situation, model: Model) -> Train | Note:
    """Return a training that the budget has room for; else that it is refused."""
    updates = is_of_update(step.run_key)
    policy = model.priced_retrain
    cost = expected_cost(situation.past, policy, updates=updates)
    used = spent(situation.past, policy, situation.now_us)
    words = over_budget(used, cost, policy, counts=not updates)
    if words is None:
        return step
    return refused(step, "budget", words, situation, model, spent=used.plain, cost=cost.plain)


def cooled_since(step: Train, last_us: int | None, situation: Situation, model: Model) -> Train | Note:
    """Return a training whose cooldown is over; else that it is refused. last_us: when the last of its kind began."""
    from_us = (last_us or 0) + parse_duration(model.retrain.cooldown)
    if last_us is None or situation.now_us >= from_us:
        return step
    words = f"the last one began at {moment(last_us)}, and the next may at {moment(from_us)}"
    return refused(step, "cooldown", words, situation, model)


def refused(
    step: Train,
    because: str,
    words: str,
    situation: Situation,
    model: Model,
    **evidence: object,
) -> Note:
    """Return that a training is refused, once of each kind until another one is made.

    because: the kind of obstacle. words: the same to read.
    """
    updates = is_of_update(step.run_key)
    what = ("", "update" if updates else "training")
    kind, name = next((_KINDS[each] for each in _KINDS if step.evidence.get(each)), what)
    stem = step.run_key if updates else next_run_key(situation, model)
    kept = {each: step.evidence[each] for each in _KEPT if each in step.evidence}
    return Note(
        key=f"{stem}/refused/{because}{kind}",
        action=REFUSED,
        reason=f"no {name}: {words}. What is due: {step.reason}",
        evidence={**kept, "because": because, **evidence},
    )
