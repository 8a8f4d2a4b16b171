"""Carrying a remedy out: one decision, and the deployment that it makes, in one transaction."""

from attrs import evolve

from charkha.operations.steps import Mend
from charkha.storage.ledger import Assignment, Decision, Deployment, Draft, Ledger


def mend(step: Mend, ledger: Ledger, draft: Draft) -> Decision:
    """Write a remedy's decision. Raises StaleGeneration when the deployment that it rests on has been changed."""
    if step.kind not in {"substitute", "restore", "roll_back"}:
        return ledger.decide(draft)
    current = ledger.deployment(draft.model)
    return ledger.decide(draft, deploy=_serving(step, current), expect_generation=step.generation)


def _serving(step: Mend, current: Deployment) -> tuple[Assignment, ...]:
    """Return who serves then: who stands in takes the champion's place, and one that is rolled back to serves alone."""
    if step.kind == "roll_back":
        return (Assignment(step.subject, "champion"),)
    others = (each for each in current.assignments if each.role != "champion" and each.version != step.subject)
    share = current.champion.share if current.champion else 1.0
    return (evolve(Assignment(step.subject, "champion"), share=share), *others)
