"""Carrying one step out, so that doing it again after a crash changes nothing.

Every decision is written under a key that derives from the step and what it rests on, together with the deployment it
makes, in one transaction. A training is first decided on, then begun, then carried out under the same key; whatever of
that a crash leaves undone is found by the next look.
"""

from collections.abc import Callable
from pathlib import Path

from attrs import evolve, frozen

from charkha.clock import Clock
from charkha.operations.approvals import PROPOSE, proposing_evidence
from charkha.operations.beside import shared_out, with_beside
from charkha.operations.look import WAITS
from charkha.operations.remedies.carry_out import mend
from charkha.operations.remedies.keys import ACTIONS
from charkha.operations.retraining.orders import order_of
from charkha.operations.rollout.trial import OPERATOR
from charkha.operations.runs.cancel import cancel_key
from charkha.operations.runs.tries import end_try
from charkha.operations.step_keys import action_of, step_key
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
from charkha.spec.failures import ANY_FAILS
from charkha.spec.model import Model
from charkha.storage.ledger import Assignment, Decision, Deployment, Draft, Ledger
from charkha.training.pipeline import Candidate, Order

ACTOR = OPERATOR
TRAINING = "training"

# Carries out an order, once per run key; None while it is at work elsewhere, to be asked again.
TrainOrder = Callable[[Order], Candidate | None]


def _nothing_to_end(run_key: str) -> None:
    """Where trainings are carried out at once, none is at work."""


@frozen(eq=False)
class Workshop:
    """What a step is carried out with.

    root: the project's folder. train: carries out an order, once per run key. end: ends what is at work under a key.
    """

    model: Model
    root: Path
    ledger: Ledger
    clock: Clock
    train: TrainOrder
    end: Callable[[str], None] = _nothing_to_end


def act(step: Step, workshop: Workshop) -> Decision:
    """Carry a step out and return the decision that the ledger has of it.

    A training that fails is written down as a failed run, or as one to be tried again, and does not raise. Raises
    StaleGeneration when the deployment that a step rests on has been changed: look again.
    """
    match step:
        case Train():
            return _train(step, workshop)
        case EndRun():
            return _end(step, workshop)
        case NoteFailure() | HoldTraining() | Note():
            return workshop.ledger.decide(_draft(workshop, _noted(step), step, workshop.clock.now()))
        case Propose():
            draft = evolve(_draft(workshop, PROPOSE, step, workshop.clock.now()), evidence=proposing_evidence(step))
            return workshop.ledger.decide(draft, expect_generation=step.generation)
        case Mend():
            return mend(step, workshop.ledger, _draft(workshop, ACTIONS[step.kind], step, workshop.clock.now()))
        case _:
            return _deploy(step, workshop)


def _noted(step: NoteFailure | HoldTraining | Note) -> str:
    """Return the action of a decision that changes nothing."""
    if isinstance(step, Note):
        return step.action
    return WAITS if isinstance(step, HoldTraining) else "train_failed"


def _train(step: Train, workshop: Workshop) -> Decision:
    ledger, model = workshop.ledger, workshop.model
    decision = ledger.decide(_draft(workshop, "train", step, step.as_of_us))
    ledger.begin_run(step.run_key, TRAINING, model.name, step.as_of_us)
    champion = ledger.deployment(model.name).champion
    order = order_of(step, model, workshop.root, champion.version if champion else None)
    try:
        candidate = workshop.train(order)
    except ANY_FAILS as error:  # whatever it was, the wheel goes on turning with the champion it has
        end_try(ledger, model.name, step.run_key, error, workshop.clock.now(), actor=ACTOR)
    else:
        if candidate is not None:
            result = {"version": candidate.version, "passed": candidate.passed}
            ledger.finish_run(step.run_key, workshop.clock.now(), "done", result)
    return decision


def _end(step: EndRun, workshop: Workshop) -> Decision:
    """End a run as cancelled; one whose version is in the ledger was too quick, and is done."""
    ledger, name = workshop.ledger, workshop.model.name
    workshop.end(step.run_key)
    ledger.begin_run(step.run_key, TRAINING, name, step.as_of_us)
    made = next((row for row in ledger.versions(name) if row.run_key == step.run_key), None)
    if made is not None:
        result: dict[str, object] = {"version": made.version, "passed": made.status == "accepted"}
        ledger.finish_run(step.run_key, workshop.clock.now(), "done", result)
    else:
        ledger.finish_run(step.run_key, workshop.clock.now(), "cancelled", {"error": step.reason})
    return next(each for each in ledger.decisions(name) if each.key == cancel_key(step.run_key))


def _deploy(step: Deploying, workshop: Workshop) -> Decision:
    """Write the decision and the deployment it makes; nothing is deployed by the rejection of what is not."""
    current = workshop.ledger.deployment(workshop.model.name)
    deploy = _assignments(step, current)
    changed = deploy if deploy != current.assignments else None
    draft = _draft(workshop, action_of(step), step, workshop.clock.now())
    return workshop.ledger.decide(draft, deploy=changed, expect_generation=step.generation)


def _assignments(step: Deploying, current: Deployment) -> tuple[Assignment, ...]:
    """Return who serves after a step."""
    match step:
        case StartShadow():
            return (*current.serving, Assignment(step.version, "shadow"))
        case Expose():
            return with_beside(current, Assignment(step.version, "challenger", step.share))
        case Retract():
            return shared_out(current.model, [each for each in current.assignments if each.version != step.version])
        case Promote():
            return (Assignment(step.version, "champion"),)
        case Reject():
            return tuple(each for each in current.assignments if each.version != step.version)


def _draft(workshop: Workshop, action: str, step: Step, time_us: int) -> Draft:
    return Draft(
        key=step_key(workshop.model.name, step),
        time_us=time_us,
        model=workshop.model.name,
        actor=ACTOR,
        action=action,
        reason=step.reason,
        evidence=step.evidence,
    )
