"""What the operator can do: each step is one change of the world, with its reason in words and its evidence.

A step says all that is needed to carry it out, and to carry it out again after a crash without doing it twice.
"""

from collections.abc import Mapping
from typing import Literal

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


@frozen(kw_only=True)
class Expose:
    """Let a version answer a share of the entities, beside the champion.

    stage: "canary" or "ab_test", which is the action in the ledger, too. share: 0 to 1. generation: as of a shadow.
    """

    version: str
    stage: Literal["canary", "ab_test"]
    share: float
    generation: int
    reason: str
    evidence: Evidence


@frozen(kw_only=True)
class Retract:
    """Take a version that answers users out again: the champion has its share back. generation: as of a shadow."""

    version: str
    generation: int
    reason: str
    evidence: Evidence


@frozen(kw_only=True)
class Propose:
    """Write down that a step waits for a person. key: of the decision. proposes: the step, in words.

    generation: the deployment that the step rests on; None where it rests on none. not_by: who may not approve it.
    """

    key: str
    proposes: str
    generation: int | None
    not_by: tuple[str, ...] = ()
    reason: str
    evidence: Evidence


@frozen(kw_only=True)
class Note:
    """Write something down, once, and change nothing else. key, action: of the decision."""

    key: str
    action: str
    reason: str
    evidence: Evidence


MendKind = Literal["serve_fallback", "end_fallback", "substitute", "restore", "roll_back", "eject_replica"]


@frozen(kw_only=True)
class Mend:
    """Carry out a remedy of an incident, or undo one. key: of the decision.

    subject: the version that is to serve, or the replica that is to be replaced; "" where it is the model as a whole.
    generation: the deployment that this rests on; None where it rests on none. takes_out: versions that are to serve
    beside nobody any more.
    """

    kind: MendKind
    key: str
    subject: str = ""
    generation: int | None = None
    takes_out: tuple[str, ...] = ()
    reason: str
    evidence: Evidence


Deploying = StartShadow | Expose | Promote | Reject | Retract
Step = TrainFirst | Train | EndRun | NoteFailure | HoldTraining | Deploying | Propose | Note | Mend
