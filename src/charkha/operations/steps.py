"""What the operator can do: each step is one change of the world, with its reason in words and its evidence.

A step says all that is needed to carry it out, and to carry it out again after a crash without doing it twice.
"""

from collections.abc import Mapping

from attrs import frozen

Evidence = Mapping[str, object]


@frozen(kw_only=True)
class Train:
    """Train a challenger on what was known at `as_of_us`; the same `run_key` is the same training."""

    run_key: str
    as_of_us: int
    reason: str
    evidence: Evidence


@frozen(kw_only=True)
class TrainFirst(Train):
    """Train the first champion."""


@frozen(kw_only=True)
class EndRun:
    """End a run that a person has cancelled. as_of_us: when it was decided on."""

    run_key: str
    as_of_us: int
    reason: str
    evidence: Evidence


@frozen(kw_only=True)
class NoteFailure:
    """Write down that a training failed."""

    run_key: str
    reason: str
    evidence: Evidence


@frozen(kw_only=True)
class HoldTraining:
    """Write down that a training is due and waits. key: of the decision."""

    key: str
    reason: str
    evidence: Evidence


@frozen(kw_only=True)
class StartShadow:
    """Let a version score every request unseen, beside the champion. generation: the deployment this rests on."""

    version: str
    generation: int
    reason: str
    evidence: Evidence


@frozen(kw_only=True)
class Promote:
    """Let a version answer, alone. generation: the deployment this rests on."""

    version: str
    generation: int
    reason: str
    evidence: Evidence


@frozen(kw_only=True)
class Reject:
    """Give a version up, and end its shadow if it is one. generation: the deployment this rests on."""

    version: str
    generation: int
    reason: str
    evidence: Evidence


Step = TrainFirst | Train | EndRun | NoteFailure | HoldTraining | StartShadow | Promote | Reject
