"""Rollouts by hand: begun with a version of one's choice, or ended before their time, each in one decision."""

from charkha.bundles.store import BundleStore
from charkha.clock import Clock
from charkha.operations.beside import shared_out, with_beside
from charkha.operations.deploy import DeploymentRefused, draft_by_hand, promote, refuse_failed
from charkha.operations.rollout.trial import ABORT, STARTED, Trial, find_trial
from charkha.serving.lineup import usable_bundle
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.ledger import Assignment, Decision


def start_rollout(
    home: Home, clock: Clock, model: Model, version: str, *, actor: str, reason: str, force: bool = False
) -> Decision:
    """Put a version at the first stage of its model's rollout; the operator takes it from there.

    actor, reason: kept in the ledger for ever; neither may be empty. force: although its gates failed. A version that
    was rejected before may be started again. Raises what `deploy_beside` raises, and DeploymentRefused while another
    version is on its way.
    """
    row, deployment = home.ledger.version(model.name, version), home.ledger.deployment(model.name)
    champion = deployment.champion
    if champion is None:
        said = f"expected a champion, beside which {version} is to be tried; none serves. Promote it: charkha promote"
        raise DeploymentRefused(model.name, said)
    if any(each.version == version for each in deployment.assignments):
        role = next(each.role for each in deployment.assignments if each.version == version)
        raise DeploymentRefused(model.name, f"{version} is a {role} already")
    if beside := [each.version for each in deployment.assignments if each.role != "champion"]:
        said = f"expected nobody beside {champion.version}, got {', '.join(beside)}. Abort or withdraw it first"
        raise DeploymentRefused(model.name, said)
    manifest = usable_bundle(model, version, BundleStore(home.bundles)).manifest
    failed = refuse_failed(row, manifest.gates, force=force)
    rollout = model.rollout
    unseen = rollout.unseen is not None
    first = Assignment(version, "shadow") if unseen else Assignment(version, "challenger", rollout.shares[0])
    evidence = {
        "version": version,
        "champion": champion.version,
        "stage": "shadow" if unseen else "canary",
        "step": 0,
        "share": None if unseen else rollout.shares[0],
        "first": True,
        "forced": force,
        "failed_gates": failed,
    }
    draft = draft_by_hand(clock, deployment, STARTED, actor=actor, reason=reason, evidence=evidence)
    deploy = with_beside(deployment, first)
    return home.ledger.decide(draft, deploy=deploy, expect_generation=deployment.generation)


def abort_rollout(home: Home, clock: Clock, model: Model, *, actor: str, reason: str) -> Decision:
    """Take the version on its way out, at whichever stage; the champion answers all again, and it is not put back.

    actor, reason: as for `start_rollout`. Raises DeploymentRefused and StaleGeneration.
    """
    trial, deployment = on_its_way(home, model), home.ledger.deployment(model.name)
    rest = shared_out(model.name, [each for each in deployment.assignments if each.version != trial.version])
    evidence = {
        "version": trial.version,
        "champion": trial.champion,
        "stage": trial.stage,
        "share": trial.share,
        "outcome": "rolled back",
    }
    draft = draft_by_hand(clock, deployment, ABORT, actor=actor, reason=reason, evidence=evidence)
    return home.ledger.decide(draft, deploy=rest, expect_generation=deployment.generation)


def promote_rollout(home: Home, clock: Clock, model: Model, *, actor: str, reason: str) -> Decision:
    """Make the version on its way the champion before its rollout has come to it. As for `abort_rollout`.

    Where the rollout declares that two persons have to agree, whoever trained it or started it is refused.
    """
    trial, approval = on_its_way(home, model), model.rollout.approval
    if approval is not None and approval.two_persons and actor in trial.authors:
        said = (
            f"expected somebody else than {' and '.join(trial.authors)}, who made what is to be promoted, got {actor}: "
            "two persons have to agree"
        )
        raise DeploymentRefused(model.name, said)
    return promote(home, clock, model.name, trial.version, actor=actor, reason=reason)


def on_its_way(home: Home, model: Model) -> Trial:
    """Return the version on its way to be the champion. Raises DeploymentRefused where there is none."""
    ledger, name = home.ledger, model.name
    trial = find_trial(ledger.deployments(name), ledger.decisions(name), ledger.runs(name))
    if trial is None:
        raise DeploymentRefused(name, "expected a rollout under way, found none. Begin one: charkha rollout start")
    return trial
