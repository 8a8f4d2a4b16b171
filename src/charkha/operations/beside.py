"""Who answers or scores beside the champion, decided by hand: challengers with their shares, shadows, and their end.

A deployment is written as a whole: the shares of the challengers and what they leave to the champion add up to 1. An
entity's place on that interval never moves, so one whose version stays in its part of it meets the same version.
"""

from collections.abc import Sequence
from typing import Literal

from attrs import evolve

from charkha.bundles.store import BundleStore
from charkha.clock import Clock
from charkha.operations.deploy import DeploymentRefused, draft_by_hand, refuse_failed
from charkha.operations.rollout.trial import find_trial
from charkha.serving.lineup import usable_bundle
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.ledger import Assignment, Decision, Deployment

Beside = Literal["challenger", "shadow"]
ACTIONS: dict[Beside, str] = {"challenger": "challenge", "shadow": "shadow"}


def deploy_beside(
    home: Home, clock: Clock, model: Model, assignment: Assignment, *, actor: str, reason: str, force: bool = False
) -> Decision:
    """Put a version beside the champion, or give it another role or share.

    assignment: a challenger with its share of the entities, or a shadow. actor, reason: kept in the ledger for ever;
    neither may be empty. force: although its gates failed. The bundle is loaded first, as a server would. While a
    rollout is among users no other challenger can be put beside it: entities would change their arm. Raises
    UnknownVersion, DeploymentRefused, UnknownBundle, BundleCorrupt, UnusableBundle, and StaleGeneration when somebody
    else changed the deployment meanwhile.
    """
    row, deployment = home.ledger.version(model.name, assignment.version), home.ledger.deployment(model.name)
    champion = _champion(deployment, assignment.version)
    refuse_beside_a_trial(home, model, deployment, assignment)
    manifest = usable_bundle(model, assignment.version, BundleStore(home.bundles)).manifest
    failed = refuse_failed(row, manifest.gates, force=force)
    assignments = with_beside(deployment, assignment)
    if assignments == deployment.assignments:
        raise DeploymentRefused(model.name, f"{assignment.version} is that already")
    evidence = {
        "version": assignment.version,
        "champion": champion.version,
        "share": assignment.share if assignment.role == "challenger" else None,
        "shares": shares_of(assignments),
        "forced": force,
        "failed_gates": failed,
    }
    action = ACTIONS["challenger" if assignment.role == "challenger" else "shadow"]
    draft = draft_by_hand(clock, deployment, action, actor=actor, reason=reason, evidence=evidence)
    return home.ledger.decide(draft, deploy=assignments, expect_generation=deployment.generation)


def withdraw(home: Home, clock: Clock, model: str, version: str, *, actor: str, reason: str) -> Decision:
    """Take a challenger or a shadow out; the champion has its share back, and the operator leaves the version alone.

    actor, reason: as for `deploy_beside`. Raises DeploymentRefused and StaleGeneration.
    """
    deployment = home.ledger.deployment(model)
    champion = _champion(deployment, version)
    others = [each for each in deployment.assignments if each.version != version]
    if len(others) == len(deployment.assignments):
        beside = ", ".join(each.version for each in others if each is not champion) or "none"
        raise DeploymentRefused(model, f"expected one of those beside {champion.version} ({beside}), got {version}")
    assignments = shared_out(model, others)
    evidence = {"version": version, "champion": champion.version, "shares": shares_of(assignments)}
    draft = draft_by_hand(clock, deployment, "withdraw", actor=actor, reason=reason, evidence=evidence)
    return home.ledger.decide(draft, deploy=assignments, expect_generation=deployment.generation)


def with_beside(deployment: Deployment, assignment: Assignment) -> tuple[Assignment, ...]:
    """Return who is at work once a version has a role beside the champion. Raises DeploymentRefused.

    A challenger keeps its turn among the others when its share changes, so that no entity moves without need.
    """
    roles = {each.version: each.role for each in deployment.assignments}
    if roles.get(assignment.version) == assignment.role:
        changed = [assignment if each.version == assignment.version else each for each in deployment.assignments]
    else:
        changed = [each for each in deployment.assignments if each.version != assignment.version]
        changed.append(assignment)
    return shared_out(deployment.model, changed)


def shares_of(assignments: Sequence[Assignment]) -> dict[str, float]:
    """Return of each version that answers its share of the entities."""
    return {each.version: each.share for each in assignments if each.role != "shadow"}


def shared_out(model: str, assignments: Sequence[Assignment]) -> tuple[Assignment, ...]:
    """Return assignments, champion first and shadows last, the champion's share being what the others leave."""
    challengers = [each for each in assignments if each.role == "challenger"]
    for each in challengers:
        if not 0 < each.share < 1:
            said = f"expected a share above 0 and below 1 for {each.version}, got {each.share:g}"
            raise DeploymentRefused(model, said)
    rest = round(1 - sum(each.share for each in challengers), 9)
    if rest <= 0:
        given = ", ".join(f"{each.version} {each.share:g}" for each in challengers)
        raise DeploymentRefused(
            model,
            f"expected shares that add up to less than 1, for the champion answers the rest, got {given}. Give them "
            "less, or make one of them the champion: charkha promote",
        )
    champions = [evolve(each, share=rest) for each in assignments if each.role == "champion"]
    return (*champions, *challengers, *(each for each in assignments if each.role == "shadow"))


def refuse_beside_a_trial(home: Home, model: Model, deployment: Deployment, assignment: Assignment) -> None:
    """Refuse a challenger beside another one that a rollout has among users. Raises DeploymentRefused."""
    if assignment.role != "challenger" or not any(each.role == "challenger" for each in deployment.assignments):
        return
    ledger, name = home.ledger, model.name
    trial = find_trial(ledger.deployments(name), ledger.decisions(name), ledger.runs(name))
    if trial is None or trial.stage == "shadow" or trial.version == assignment.version:
        return
    said = (
        f"expected no other challenger while the rollout of {trial.version} is among users, got one more: its arms "
        f"could no longer be compared. Wait for its end, or end it first: charkha rollout abort {name} --reason …"
    )
    raise DeploymentRefused(name, said)


def _champion(deployment: Deployment, version: str) -> Assignment:
    if deployment.champion is None:
        said = f"expected a champion, beside which {version} is to be; none serves. Promote it: charkha promote"
        raise DeploymentRefused(deployment.model, said)
    if deployment.champion.version == version:
        said = f"{version} is the champion. Promote another version first, or go back: charkha rollback"
        raise DeploymentRefused(deployment.model, said)
    return deployment.champion
