"""Kinds of steps: what a scheduler of one's own calls one after the other."""

from typing import Literal

from charkha.operations.steps import EndRun, HoldTraining, NoteFailure, Promote, Reject, StartShadow, Step, Train

StepKind = Literal["training", "rollout"]
_TRAINING = (Train, EndRun, NoteFailure, HoldTraining)
_ROLLOUT = (StartShadow, Promote, Reject)


def is_of(step: Step, kind: StepKind) -> bool:
    """Say whether a step is of a kind; one of neither, such as a proposal, is of both."""
    others = _ROLLOUT if kind == "training" else _TRAINING
    return not isinstance(step, others)
