"""The last step of a rollout: promoted at once, or once a person has approved it where that is declared."""

from charkha.operations.approvals import once_approved, proposal_key
from charkha.operations.situation import Situation
from charkha.operations.steps import Promote, Reject, Retract, Step
from charkha.spec.model import Model


def promoted(step: Promote, situation: Situation, model: Model) -> Step | None:
    """Return a promotion, or its proposal; None while it waits; the end of the rollout where it was declined."""
    approval = model.rollout.approval
    return step if approval is None else asked(step, situation, model, two_persons=approval.two_persons)


def asked(step: Promote, situation: Situation, model: Model, *, two_persons: bool) -> Step | None:
    """Return a promotion that a person has approved; see `promoted`."""
    trial = situation.progress.trial if situation.progress else None
    key = proposal_key(model.name, step)
    known = situation.proposals.get(key)
    if known is not None and known.answer == "declined":
        ended = Reject if trial is None or trial.stage == "shadow" else Retract
        return ended(
            version=step.version,
            generation=step.generation,
            reason=f"{step.version}: its promotion was declined by {known.by}: {known.why}",
            evidence={**step.evidence, "outcome": "declined", "proposal": key, "by": known.by},
        )
    not_by = trial.authors if trial and two_persons else ()
    return once_approved(step, situation.proposals, model.name, key=key, not_by=not_by)
