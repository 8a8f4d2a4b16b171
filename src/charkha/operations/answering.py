"""Answering a proposal by hand: one decision of a person, after which the operator goes on, or lets it be."""

from collections.abc import Sequence

from charkha.clock import Clock
from charkha.operations.approvals import APPROVE, DECLINE, Proposal, answer_key, proposals_of
from charkha.operations.deploy import require_reason
from charkha.storage.home import Home
from charkha.storage.ledger import Decision, Draft


class AnswerRefused(Exception):
    """An answer that may not be given, or to nothing; says why, and the way out. Nothing was written."""

    def __init__(self, model: str, problem: str) -> None:
        self.model, self.problem = model, problem
        super().__init__(f"model {model!r}: {problem}")


def open_proposals(home: Home, model: str) -> list[Proposal]:
    """Return what waits for a person and still rests on what is, oldest first."""
    generation = home.ledger.deployment(model).generation
    known = proposals_of(home.ledger.decisions(model)).values()
    return [each for each in known if each.answer == "open" and not each.lapsed(generation)]


def approve(home: Home, clock: Clock, model: str, key: str | None = None, *, actor: str, reason: str) -> Decision:
    """Let a proposed step be done: the operator does it at its next look, if it would still propose it then.

    key: of the proposal, or of the step; may be left out while one is open. actor, reason: kept in the ledger for ever;
    neither may be empty. Approved again, the first approval stands. Raises AnswerRefused, DeploymentRefused for an
    empty actor or reason, and StaleGeneration when somebody changed the deployment meanwhile.
    """
    return _answer(home, clock, _asked(home, model, key), APPROVE, (actor, reason))


def decline(home: Home, clock: Clock, model: str, key: str | None = None, *, actor: str, reason: str) -> Decision:
    """Let a proposed step not be done: it is not proposed again. As for `approve`; anybody may decline."""
    return _answer(home, clock, _asked(home, model, key), DECLINE, (actor, reason))


def _asked(home: Home, model: str, key: str | None) -> Proposal:
    waiting = open_proposals(home, model)
    if key is None:
        if len(waiting) == 1:
            return waiting[0]
        said = f"expected one proposal that waits, or the key of one; {_listed(waiting)}"
        raise AnswerRefused(model, said)
    known = proposals_of(home.ledger.decisions(model))
    found = known.get(key) or known.get(f"{key}/proposed")
    if found is None:
        raise AnswerRefused(model, f"expected the key of a proposal, got {key!r}; {_listed(waiting)}")
    return found


def _answer(home: Home, clock: Clock, proposal: Proposal, action: str, why: tuple[str, str]) -> Decision:
    actor, reason = why
    model = proposal.model
    require_reason(model, actor, reason)
    if proposal.answer == "open" and proposal.lapsed(home.ledger.deployment(model).generation):
        said = f"the deployment has changed since it was proposed to {proposal.proposes}: look at what is proposed now"
        raise AnswerRefused(model, said)
    if action == APPROVE and actor in proposal.not_by:
        raise AnswerRefused(
            model,
            f"expected somebody else than {' and '.join(proposal.not_by)}, who made what is to be approved, got "
            f"{actor}: two persons have to agree",
        )
    evidence = {"proposal": proposal.key, "proposes": proposal.proposes, "generation": proposal.generation}
    draft = Draft(answer_key(proposal.key), clock.now(), model, actor, action, reason, evidence)
    written = home.ledger.decide(draft, expect_generation=proposal.generation)
    if written.action != action:
        verb = "approved" if written.action == APPROVE else "declined"
        raise AnswerRefused(model, f"to {proposal.proposes} was {verb} already, by {written.actor}: {written.reason}")
    return written


def _listed(waiting: Sequence[Proposal]) -> str:
    if not waiting:
        return "none waits"
    return "there wait " + ", ".join(f"{each.key} (to {each.proposes})" for each in waiting)
