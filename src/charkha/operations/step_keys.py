"""Under which key a step is in the ledger: derived from the step and what it rests on, so that it is done once."""

from collections.abc import Mapping

from charkha.operations.steps import (
    Deploying,
    EndRun,
    Expose,
    HoldTraining,
    Mend,
    Note,
    NoteFailure,
    Promote,
    Propose,
    Reject,
    Retract,
    StartShadow,
    Step,
    Train,
)

# Steps that change who serves → their action in the ledger.
_ACTIONS: Mapping[type[Deploying], str] = {
    StartShadow: "shadow",
    Promote: "promote",
    Reject: "reject",
    Retract: "retract",
}


def action_of(step: Deploying) -> str:
    """Return what a step that changes who serves is called in the ledger."""
    return step.stage if isinstance(step, Expose) else _ACTIONS[type(step)]


def step_key(model: str, step: Step) -> str:
    """Return the key of the decision that carries a step out."""
    match step:
        case Train():
            return step.run_key
        case NoteFailure():
            return failure_key(step.run_key)
        case EndRun():
            return f"{step.run_key}/ended"
        case HoldTraining() | Propose() | Note() | Mend():
            return step.key
        case _:
            return f"{model}/{action_of(step)}/{step.version}/{step.generation}"


def failure_key(run_key: str) -> str:
    """Return the key of the decision that writes down that a training failed."""
    return f"{run_key}/failed"


def generation_of(step: Step) -> int | None:
    """Return the deployment that a step rests on; None for one that rests on none."""
    return None if isinstance(step, Train | EndRun | NoteFailure | HoldTraining | Note) else step.generation
