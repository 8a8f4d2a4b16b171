"""Carrying a remedy out: one decision, and the deployment that it makes, in one transaction."""

from charkha.operations.beside import shared_out
from charkha.operations.steps import Mend
from charkha.storage.ledger import Assignment, Decision, Deployment, Draft, Ledger


def mend(step: Mend, ledger: Ledger, draft: Draft) -> Decision:
    """Write a remedy's decision. Raises StaleGeneration when the deployment that it rests on has been changed."""
    if step.kind not in {"substitute", "restore", "roll_back"}:
        return ledger.decide(draft)
    current = ledger.deployment(draft.model)
    return ledger.decide(draft, deploy=serving_after(step, current), expect_generation=step.generation)


def serving_after(step: Mend, current: Deployment) -> tuple[Assignment, ...]:
    """Return who serves then: who stands in takes the champion's place, and one that is rolled back to serves alone.

    Whoever is taken out leaves its share to who stands in.
    """
    if step.kind == "roll_back":
        return (Assignment(step.subject, "champion"),)
    gone = {step.subject, *step.takes_out}
    others = [each for each in current.assignments if each.role != "champion" and each.version not in gone]
    return shared_out(current.model, [Assignment(step.subject, "champion"), *others])
