"""Kinds of steps: what a scheduler of one's own calls one after the other."""

from typing import Literal

from charkha.operations.steps import EndRun, HoldTraining, NoteFailure, Step, Train

StepKind = Literal["training", "rollout"]
_TRAINING = (Train, EndRun, NoteFailure, HoldTraining)


def is_of(step: Step, kind: StepKind) -> bool:
    """Say whether a step is of a kind; what is not about training is of the rollout."""
    return isinstance(step, _TRAINING) == (kind == "training")
