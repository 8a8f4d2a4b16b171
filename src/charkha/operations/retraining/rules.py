"""The rules of training: what was begun goes on, a failure is written down, and a challenger is trained once it is due.

One training answers all that calls for it, and what it was made for is not a cause again until it shows anew. Whatever
keeps one from being made that a diagnosis calls for (a cooldown, a budget, a gain that does not pay, too little that is
new) is written down once, and asked again at every look.
"""

from collections.abc import Sequence

from charkha.operations.retraining.cost import Cost, expected_cost, over_budget, spent
from charkha.operations.retraining.gain import does_not_pay, expected_gain
from charkha.operations.retraining.keys import is_of_update
from charkha.operations.retraining.triggers import Trigger, answered_in_all, new_from_us, triggers, unripe
from charkha.operations.situation import Situation
from charkha.operations.steps import Evidence, Note, NoteFailure, Step, Train, TrainFirst
from charkha.operations.veto import unless_broken
from charkha.operations.wording import moment
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model
from charkha.storage.ledger import Incident

REFUSED, TOO_EARLY = "train_refused", "train_waits"


def finish_training(situation: Situation, model: Model) -> Step | None:
    """Go on with a training that was decided on and has not ended."""
    training = situation.training
    if training is None or training.state not in ("decided", "running"):
        return None
    kind = TrainFirst if training.first else Train
    return kind(
        run_key=training.run_key, as_of_us=training.decided_us, reason=training.reason, evidence=training.evidence
    )


def note_failed_training(situation: Situation, model: Model) -> Step | None:
    """Write down a training that failed."""
    training = situation.training
    if training is None or training.state != "failed" or training.noted:
        return None
    again = f"The next may begin at {moment(may_train_from_us(situation, model))}"
    said = f"the training decided on at {moment(training.decided_us)} failed: {training.error}. {again}"
    if is_of_update(training.run_key):
        said = f"the update decided on at {moment(training.decided_us)} was not made: {training.error}"
    return NoteFailure(
        run_key=training.run_key,
        reason=said,
        evidence={"run_key": training.run_key, "error": training.error},
    )


def train_first(situation: Situation, model: Model) -> Step | None:
    """Train where there is no champion, and no version that could become one."""
    if situation.deployment.champion or not cooled_down(situation, model):
        return None
    first = TrainFirst(
        run_key=next_run_key(situation, model),
        as_of_us=situation.now_us,
        reason=f"{model.name} has no champion: training one on what was known at {moment(situation.now_us)}",
        evidence={"champion": None},
    )
    return unless_broken(first, situation, model)


def retrain(situation: Situation, model: Model) -> Step | None:
    """Train a challenger where that is due, may be, and pays; else say once why not."""
    if is_held_up(situation) or situation.deployment.champion is None:
        return None
    found = triggers(situation, model)
    if not found:
        return _too_early(situation, model)
    cost = expected_cost(situation.past, model.retrain)
    if refused := _refused(situation, model, found, cost):
        return refused
    if not cooled_down(situation, model):
        return None
    return unless_broken(_train(situation, model, found, cost), situation, model)


def is_held_up(situation: Situation) -> bool:
    """Say whether nothing is trained beside a champion now: while a version is on trial, or a source is stale."""
    # Rows that have not come would be missing from the dataset: what is broken is mended before it is learnt from.
    stale = any(finding.kind == "freshness" and finding.significant for finding in situation.findings)
    return bool(situation.contest or (situation.progress and situation.progress.trial)) or stale


def next_run_key(situation: Situation, model: Model) -> str:
    """Return the key of the next training."""
    return f"{model.name}/train/{situation.trainings + 1}"


def may_train_from_us(situation: Situation, model: Model) -> int:
    """Return from when a training may begin, by the cooldown since the last one (µs)."""
    return (situation.last_trained_us or 0) + parse_duration(model.retrain.cooldown)


def cooled_down(situation: Situation, model: Model) -> bool:
    """Say whether the cooldown since the last training is over."""
    return situation.last_trained_us is None or situation.now_us >= may_train_from_us(situation, model)


def _train(situation: Situation, model: Model, found: Sequence[Trigger], cost: Cost) -> Train:
    gain = expected_gain(_incidents(found), situation.past, model.retrain, situation.now_us)
    reason = "; and ".join(trigger.reason for trigger in found)
    weighed = f"Expected gain {gain.words}. Expected cost {cost.words}"
    evidence: dict[str, object] = {}
    for trigger in reversed(found):
        evidence |= trigger.evidence
    return Train(
        run_key=next_run_key(situation, model),
        as_of_us=situation.now_us,
        reason=f"{reason}. {weighed}",
        evidence={**evidence, **_asked(found), "gain": gain.plain, "cost": cost.plain},
    )


def _refused(situation: Situation, model: Model, found: Sequence[Trigger], cost: Cost) -> Note | None:
    """Return that a training is refused; None where it is not, or where that is written."""
    incidents = _incidents(found)
    used = spent(situation.past, model.retrain, situation.now_us)
    gain = expected_gain(incidents, situation.past, model.retrain, situation.now_us)
    why = {
        "budget": over_budget(used, cost, model.retrain),
        "gain": does_not_pay(gain, cost),
        "cooldown": _cooling(situation, model) if incidents else None,
    }
    kind, words = next(((kind, words) for kind, words in why.items() if words), (None, None))
    if kind is None:
        return None
    due = "; and ".join(trigger.reason for trigger in found)
    return Note(
        key=f"{next_run_key(situation, model)}/refused/{kind}",
        action=REFUSED,
        reason=f"no training: {words}. What is due: {due}",
        evidence={**_asked(found), "because": kind, "spent": used.plain, "gain": gain.plain, "cost": cost.plain},
    )


def _cooling(situation: Situation, model: Model) -> str | None:
    if cooled_down(situation, model):
        return None
    again = moment(may_train_from_us(situation, model))
    return f"the last one began at {moment(situation.last_trained_us or 0)}, and the next may at {again}"


def _too_early(situation: Situation, model: Model) -> Note | None:
    """Return that an incident is too new to be learnt from; None where none is."""
    found = unripe(situation, model)
    if not found:
        return None
    first = min(found, key=lambda each: new_from_us(each, model))
    return Note(
        key=f"{next_run_key(situation, model)}/too-early/{first.id}",
        action=TOO_EARLY,
        reason=(
            f"training waits: of what is new since incident {first.id} began at {moment(first.began_us)}, there is "
            f"enough to learn, and enough left to test on, from {moment(new_from_us(first, model))} on"
        ),
        evidence={"incidents": [each.id for each in found], "from_us": new_from_us(first, model)},
    )


def _asked(found: Sequence[Trigger]) -> Evidence:
    return {"triggers": [trigger.kind for trigger in found], "incidents": list(answered_in_all(found))}


def _incidents(found: Sequence[Trigger]) -> tuple[Incident, ...]:
    return tuple({each.id: each for trigger in found for each in trigger.incidents}.values())
