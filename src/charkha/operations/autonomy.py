"""Between deciding and acting: what the operator may do by itself, what it proposes, and what it only writes down.

The one place where `ck.Autonomy` is applied. What was decided already goes on, and what was done is undone, whatever is
declared by now: otherwise half of it would stay.
"""

from charkha.operations.approvals import once_approved
from charkha.operations.remedies.keys import ACTIONS, PAGE
from charkha.operations.situation import Situation
from charkha.operations.step_keys import action_of, step_key
from charkha.operations.steps import Deploying, Mend, Note, Reject, Retract, Step, Train
from charkha.operations.wording import step_in_words
from charkha.spec.autonomy import Deed
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model

_MENDS: dict[str, Deed] = {
    "serve_fallback": "serve_fallback",
    "substitute": "quarantine_feature",
    "roll_back": "roll_back",
    "eject_replica": "eject_replica",
}


def restrained(step: Step, situation: Situation, model: Model) -> Step | None:
    """Return a step that may be done; else that it is proposed, or would be done; None where that was said already."""
    if isinstance(step, Note) and step.key in situation.written:
        return None
    deed = deed_of(step)
    if deed is None or "approval" in step.evidence or step_key(model.name, step) in situation.written:
        return step
    mode = model.autonomy.of(deed)
    if mode == "observe":
        return _would(step, situation, model)
    unheard = isinstance(step, Reject) and step.version not in {each.version for each in situation.deployment.serving}
    harmless = unheard or isinstance(
        step, Retract
    )  # whom a guardrail stops is not kept with users until somebody reads
    if mode == "act" or harmless:
        return step
    return _proposed(step, situation, model)


def deed_of(step: Step) -> Deed | None:
    """Return as what a step counts; None for one that needs no leave: it writes something down, or undoes."""
    match step:
        case Train():
            if step.evidence.get("recalibrates_since_us") is not None:
                return "recalibrate"
            return "quarantine_feature" if step.evidence.get("without") else "retrain"
        case Mend():
            return _MENDS.get(step.kind)
        case Note():
            return "page" if step.action == PAGE else None
        case _:
            return "rollout" if isinstance(step, Deploying) else None


def _would(step: Step, situation: Situation, model: Model) -> Note | None:
    """Return that a step would be done, once; a training again after each cooldown, as it would have been made."""
    stem = f"{step_key(model.name, step)}/would"
    said = sorted(time_us for key, time_us in situation.written.items() if key.startswith(stem))
    if said and (not _recurs(step) or situation.now_us < said[-1] + parse_duration(model.retrain.cooldown)):
        return None
    return Note(
        key=f"{stem}/{len(said) + 1}",
        action=f"would_{_action(step)}",
        reason=f"would {step_in_words(step)}: {step.reason}",
        evidence=step.evidence,
    )


def _proposed(step: Step, situation: Situation, model: Model) -> Step | None:
    """Return a step that was approved, or that it is proposed; a training anew a cooldown after it was declined."""
    if not _recurs(step):
        return once_approved(step, situation.proposals, model.name)
    stem = f"{step_key(model.name, step)}/"
    declined = [each for key, each in situation.proposals.items() if key.startswith(stem) and each.answer == "declined"]
    cooldown_us = parse_duration(model.retrain.cooldown)
    if any(situation.now_us < (each.answered_us or 0) + cooldown_us for each in declined):
        return None
    return once_approved(step, situation.proposals, model.name, key=f"{stem}{len(declined) + 1}/proposed")


def _recurs(step: Step) -> bool:
    """Say whether a step has the next free key, which stays free as long as it is not done."""
    return deed_of(step) == "retrain"


def _action(step: Step) -> str:
    match step:
        case Train():
            return "train"
        case Mend():
            return ACTIONS[step.kind]
        case Note():
            return step.action
        case _:
            return action_of(step) if isinstance(step, Deploying) else "act"
