"""Kinds of steps: what a scheduler of one's own calls one after the other."""

from typing import Literal

from charkha.operations.steps import EndRun, HoldTraining, Note, NoteFailure, Step, Train

StepKind = Literal["training", "rollout"]
_TRAINING = (Train, EndRun, NoteFailure, HoldTraining)
_NOTED = ("train_refused", "train_waits", "would_train")


def is_of(step: Step, kind: StepKind) -> bool:
    """Say whether a step is of a kind; what is not about training is of the rollout."""
    of_training = isinstance(step, _TRAINING) or (isinstance(step, Note) and step.action in _NOTED)
    return of_training == (kind == "training")
