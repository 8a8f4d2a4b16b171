"""The rules of training: what was begun goes on, a failure is written down, and a challenger is trained once it is due.

One training answers all that calls for it, and what it was made for is not a cause again until it shows anew. Whatever
keeps one from being made that is due (a version on trial, a stale source, a budget, a gain that does not pay; for a
fall or a diagnosis a cooldown, or too little that is new) is written down once, and asked again at every look.
"""

from collections.abc import Sequence

from charkha.operations.retraining.allowed import (
    cooled_down,
    cooled_since,
    may_train_from_us,
    next_run_key,
    refused,
    within_budget,
)
from charkha.operations.retraining.cost import Cost, expected_cost
from charkha.operations.retraining.gain import does_not_pay, expected_gain
from charkha.operations.retraining.held import being_answered, is_held_up, what_holds_up
from charkha.operations.retraining.keys import is_of_update
from charkha.operations.retraining.triggers import Trigger, answered_in_all, new_from_us, triggers, unripe
from charkha.operations.situation import Situation
from charkha.operations.steps import Evidence, Note, NoteFailure, Step, Train, TrainFirst
from charkha.operations.veto import unless_broken
from charkha.operations.wording import moment
from charkha.spec.model import Model
from charkha.storage.ledger import Incident

TOO_EARLY = "train_waits"


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
    allowed = within_budget(first, situation, model)
    return allowed if isinstance(allowed, Note) else unless_broken(first, situation, model)


def retrain(situation: Situation, model: Model) -> Step | None:
    """Train a challenger where that is due, may be, and pays; else say once why not."""
    if situation.deployment.champion is None:
        return None
    found = triggers(situation, model)
    if not found:
        return None if is_held_up(situation) else _too_early(situation, model)
    allowed = _allowed(found, situation, model)
    return unless_broken(allowed, situation, model) if isinstance(allowed, Train) else allowed


def _allowed(found: Sequence[Trigger], situation: Situation, model: Model) -> Train | Note | None:
    """Return the training that triggers call for; that it is refused; or None where it is too soon to speak of it."""
    cost = expected_cost(situation.past, model.priced_retrain)
    step = _train(situation, model, found, cost)
    asked = [each for each in found if each.kind not in being_answered(situation)]
    if held := what_holds_up(situation):
        return refused(step, *held, situation, model) if asked else None
    if isinstance(over := within_budget(step, situation, model), Note):
        return over
    gain = expected_gain(_incidents(found), situation.past, model.retrain, situation.now_us)
    if words := does_not_pay(gain, cost):
        return refused(step, "gain", words, situation, model, cost=cost.plain)
    if cooled_down(situation, model):
        return step
    urgent = any(each.incidents or each.kind == "fall" for each in asked)
    return cooled_since(step, situation.last_trained_us, situation, model) if urgent else None


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
