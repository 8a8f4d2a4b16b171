"""Which other version a decision kept from answering, and for how long: read from the deployments before and after it.

By what a decision did, not by what it is called: a promotion by the rules, by hand or at the end of any rollout is one.
"""

from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from charkha.monitoring.performance import Span
from charkha.operations.wording import moment
from charkha.storage.ledger import Assignment, Decision, Deployment, Ledger

# Decisions about a version that change no deployment where it was in none.
GIVEN_UP = ("reject", "withdraw")


@frozen(kw_only=True)
class Alternative:
    """What answered and what could have, in its place. role: of what answered, in which it did. span: for how long."""

    question: str
    actual: str
    instead: str
    role: Literal["champion", "challenger"]
    span: Span


@frozen
class Nothing:
    """A question to which there is no measurable answer, and why."""

    question: str
    reason: str


def alternative_to(ledger: Ledger, decision: Decision, now_us: int) -> Alternative | Nothing:
    """Return what would have answered had a decision not been made, or been the opposite."""
    deployments = ledger.deployments(decision.model)
    if decision.generation is not None:
        return _of_deployment(decision, deployments, now_us)
    version = decision.evidence.get("version")
    if decision.action in GIVEN_UP and isinstance(version, str):
        serving = [each for each in deployments if each.since_us <= decision.time_us]
        return _had_it_been_taken(decision, version, serving[-1:], deployments, now_us)
    if decision.action == "train":
        return _had_it_not_been_trained(ledger, decision, now_us)
    return Nothing(
        f"had it not been decided to {decision.action.replace('_', ' ')}",
        "no version answered, or was kept from answering, because of it: there is nothing to measure",
    )


def _of_deployment(decision: Decision, deployments: Sequence[Deployment], now_us: int) -> Alternative | Nothing:
    after = next(each for each in deployments if each.generation == decision.generation)
    before = next((each for each in deployments if each.generation == after.generation - 1), None)
    was, became = before.champion if before else None, after.champion
    if became is None:
        return Nothing(f"had {was.version if was else 'nothing'} gone on", "nothing answered since: nothing was logged")
    if was is None:
        question = f"had {became.version} not become the champion"
        return Nothing(question, "there was no other version that could have answered")
    if was.version != became.version:
        question = f"had {was.version} stayed the champion in place of {became.version}"
        span = _while_champion(became.version, after, deployments, now_us)
        return Alternative(question=question, actual=became.version, instead=was.version, role="champion", span=span)
    return _beside(decision, before or after, after, deployments, now_us)


def _beside(
    decision: Decision, before: Deployment, after: Deployment, deployments: Sequence[Deployment], now_us: int
) -> Alternative | Nothing:
    """Return what a change among those beside the champion kept from answering."""
    gone = _versions(before.assignments) - _versions(after.assignments)
    risen = [each for each in after.assignments if each.role == "challenger" and each not in before.assignments]
    if gone:
        return _had_it_been_taken(decision, min(gone), [after], deployments, now_us)
    champion = after.champion
    if risen and champion is not None:
        span = Span(after.since_us, _changes(after, deployments, now_us))
        question = f"had {champion.version} answered where {risen[0].version} did, as a challenger"
        return Alternative(
            question=question, actual=risen[0].version, instead=champion.version, role="challenger", span=span
        )
    return Nothing(
        f"had it not been decided to {decision.action.replace('_', ' ')}",
        "who answers stayed as it was: what scores unseen changes no answer",
    )


def _had_it_been_taken(
    decision: Decision, version: str, serving: Sequence[Deployment], deployments: Sequence[Deployment], now_us: int
) -> Alternative | Nothing:
    question = f"had {version} become the champion at {moment(decision.time_us)}"
    champion = serving[0].champion if serving else None
    if champion is None or champion.version == version:
        return Nothing(question, "no other version answered since: there is nothing to compare it with")
    until_us = _while_champion(champion.version, serving[0], deployments, now_us).until_us
    span = Span(decision.time_us, until_us)
    return Alternative(question=question, actual=champion.version, instead=version, role="champion", span=span)


def _had_it_not_been_trained(ledger: Ledger, decision: Decision, now_us: int) -> Alternative | Nothing:
    question = "had nothing been trained"
    made = next((each.version for each in ledger.versions(decision.model) if each.run_key == decision.key), None)
    if made is None:
        return Nothing(question, "the training made no version: what serves would be the same")
    for later in ledger.decisions(decision.model, after=decision.sequence):
        if later.generation is not None and later.evidence.get("version") == made:
            found = alternative_to(ledger, later, now_us)
            if isinstance(found, Alternative) and found.actual == made:
                asked = f"{question}: {found.instead} would have answered in place of {made}, which it made"
                return Alternative(question=asked, actual=made, instead=found.instead, role=found.role, span=found.span)
    return Nothing(question, f"{made}, which it made, took no other version's place: the answers would be the same")


def _while_champion(version: str, first: Deployment, deployments: Sequence[Deployment], now_us: int) -> Span:
    """Return from when until when a version is the champion without a break, from one generation on."""
    for each in deployments:
        if each.generation > first.generation and (each.champion is None or each.champion.version != version):
            return Span(first.since_us, each.since_us)
    return Span(first.since_us, now_us)


def _changes(first: Deployment, deployments: Sequence[Deployment], now_us: int) -> int:
    return next((each.since_us for each in deployments if each.generation == first.generation + 1), now_us)


def _versions(assignments: Sequence[Assignment]) -> set[str]:
    return {each.version for each in assignments}
