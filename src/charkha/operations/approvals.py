"""Steps that need a person: proposed by the operator, answered by a person, carried out at the next look that finds so.

    propose  ──►  approve  ──►  the step, if the deployment it rests on still stands
       └───────►  decline  ──►  nothing; it is not proposed again

All three are decisions, and there is nothing else: the key of a proposal derives from the step, the key of an answer
from the proposal, so that there is one answer to one proposal, whoever was first.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from attrs import evolve, frozen

from charkha.operations.step_keys import generation_of, step_key
from charkha.operations.steps import Evidence, Propose, Step
from charkha.operations.wording import moment, step_in_words
from charkha.storage.ledger import Decision

PROPOSE, APPROVE, DECLINE = "propose", "approve", "decline"
Answer = Literal["open", "approved", "declined"]
_ANSWERS: Mapping[str, Answer] = {APPROVE: "approved", DECLINE: "declined"}


@frozen(kw_only=True)
class Proposal:
    """A step that was proposed, and what a person said to it.

    key: of the proposing decision. proposes: the step in words. generation: the deployment that it rests on; None where
    it rests on none. not_by: who may not approve it. by, why, answered_us: of the answer, once there is one.
    """

    key: str
    model: str
    proposes: str
    generation: int | None
    not_by: tuple[str, ...]
    proposed_us: int
    reason: str
    answer: Answer = "open"
    by: str | None = None
    why: str | None = None
    answered_us: int | None = None

    def lapsed(self, generation: int) -> bool:
        """Say whether the deployment that it rests on is another by now: nothing comes of it any more."""
        return self.generation is not None and self.generation != generation


def proposals_of(decisions: Iterable[Decision]) -> dict[str, Proposal]:
    """Return every proposal among decisions by its key, with the answer that counts: the first that is allowed."""
    found: dict[str, Proposal] = {}
    for decision in decisions:
        if decision.action == PROPOSE:
            found.setdefault(decision.key, _proposal(decision))
        elif decision.action in _ANSWERS:
            key = str(decision.evidence.get("proposal"))
            if key in found and found[key].answer == "open":
                found[key] = _answered(found[key], decision)
    return found


def once_approved(
    step: Step, proposals: Mapping[str, Proposal], model: str, *, key: str | None = None, not_by: Sequence[str] = ()
) -> Step | None:
    """Return a step that a person has approved; else that it is proposed; None while it waits, or was declined.

    proposals: of the situation. key: of the proposal; it derives from the step, and the deployment that this rests on,
    unless given: what is declined is not proposed again under the same key. not_by: persons whose approval does not
    count, for they made what is to be approved.
    """
    key = key or proposal_key(model, step)
    known = proposals.get(key)
    if known is None:
        return Propose(
            key=key,
            proposes=step_in_words(step),
            generation=generation_of(step),
            not_by=tuple(not_by),
            reason=f"{step_in_words(step)}? {step.reason}{_who(not_by)}",
            evidence=step.evidence,
        )
    return _with_approval(step, known) if known.answer == "approved" else None


def proposal_key(model: str, step: Step) -> str:
    """Return the key of the decision that proposes a step."""
    return f"{step_key(model, step)}/proposed"


def answer_key(proposal: str) -> str:
    """Return the key of the one answer to a proposal."""
    return f"{proposal}/answered"


def proposing_evidence(step: Propose) -> Evidence:
    """Return what a proposing decision rests on: that of the step, and what is needed to answer it."""
    needed = {"proposes": step.proposes, "generation": step.generation, "not_by": list(step.not_by)}
    return {**step.evidence, **needed}


def _proposal(decision: Decision) -> Proposal:
    evidence = decision.evidence
    generation, not_by = evidence.get("generation"), evidence.get("not_by")
    return Proposal(
        key=decision.key,
        model=decision.model,
        proposes=str(evidence.get("proposes")),
        generation=generation if isinstance(generation, int) else None,
        not_by=tuple(map(str, not_by)) if isinstance(not_by, list) else (),
        proposed_us=decision.time_us,
        reason=decision.reason,
    )


def _answered(proposal: Proposal, decision: Decision) -> Proposal:
    answer = _ANSWERS[decision.action]
    if answer == "approved" and decision.actor in proposal.not_by:
        return proposal  # however it got into the ledger, one person alone does not count as two
    return evolve(proposal, answer=answer, by=decision.actor, why=decision.reason, answered_us=decision.time_us)


def _with_approval(step: Step, proposal: Proposal) -> Step:
    approval = {"proposal": proposal.key, "by": proposal.by, "why": proposal.why}
    said = f"approved by {proposal.by} at {moment(proposal.answered_us or 0)}: {proposal.why}"
    return evolve(step, reason=f"{step.reason}; {said}", evidence={**step.evidence, "approval": approval})


def _who(not_by: Sequence[str]) -> str:
    return f". Somebody else than {' and '.join(not_by)} has to approve it" if not_by else ""
