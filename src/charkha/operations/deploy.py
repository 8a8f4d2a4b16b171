"""Deploying by hand: one decision, one change of the pointer, in one transaction.

The operator goes on from whatever it finds: a shadow that a change by hand has ended begins anew beside the champion
that is now, unless it was decided about.
"""

from collections.abc import Mapping, Sequence

from charkha.bundles.manifest import GateResult
from charkha.bundles.store import BundleStore
from charkha.clock import Clock
from charkha.storage.home import Home
from charkha.storage.ledger import ROLLBACK, Assignment, Decision, Deployment, Draft, VersionRow


class DeploymentRefused(Exception):
    """A change of the deployment that would do harm, or nothing; says why, and the way out. Nothing was changed."""

    def __init__(self, model: str, problem: str) -> None:
        self.model, self.problem = model, problem
        super().__init__(f"model {model!r}: {problem}")


def promote(
    home: Home,
    clock: Clock,
    model: str,
    version: str,
    *,
    actor: str,
    reason: str,
    force: bool = False,
    alone: bool = True,
    noted: Mapping[str, object] | None = None,
) -> Decision:
    """Make a version the champion. The former one stays on disk, to roll back to.

    actor, reason: kept in the ledger for ever; neither may be empty. force: although its gates failed. alone: else it
    takes the champion's place, and whoever is beside stays. noted: what else the evidence has to tell.
    The bundle's bytes are checked first. Raises UnknownVersion, DeploymentRefused, UnknownBundle, BundleCorrupt, and
    StaleGeneration when somebody else changed the deployment meanwhile.
    """
    row, deployment = home.ledger.version(model, version), home.ledger.deployment(model)
    manifest = BundleStore(home.bundles).read(model, version).manifest
    if deployment.champion and deployment.champion.version == version:
        raise DeploymentRefused(model, f"{version} is the champion already")
    failed = refuse_failed(row, manifest.gates, force=force)
    evidence = {
        "version": version,
        "champion": deployment.champion.version if deployment.champion else None,
        "forced": force,
        "failed_gates": failed,
        **(noted or {}),
    }
    draft = draft_by_hand(clock, deployment, "promote", actor=actor, reason=reason, evidence=evidence)
    if alone or deployment.champion is None:
        return _deploy(home, draft, version, deployment.generation)
    others = [each for each in deployment.assignments if each.role != "champion" and each.version != version]
    rest = round(1 - sum(each.share for each in others if each.role == "challenger"), 9)
    deploy = [Assignment(version, "champion", rest), *others]
    return home.ledger.decide(draft, deploy=deploy, expect_generation=deployment.generation)


def rollback(home: Home, clock: Clock, model: str, *, actor: str, reason: str) -> Decision:
    """Go back to the champion before the present one that was not itself rolled back from.

    actor, reason: as for `promote`. The bundle's bytes are checked first. Raises DeploymentRefused when there is no
    champion to go back to; else as `promote` does.
    """
    deployment, line = home.ledger.deployment(model), home.ledger.champions(model)
    if len(line) < 2:
        raise DeploymentRefused(
            model,
            f"expected a champion before {line[-1] if line else 'the first'} to go back to, found none that was not "
            f"itself rolled back from. Promote a version by name instead: charkha promote {model} VERSION",
        )
    *_, target, present = line
    BundleStore(home.bundles).read(model, target)
    evidence = {"version": target, "champion": present}
    draft = draft_by_hand(clock, deployment, ROLLBACK, actor=actor, reason=reason, evidence=evidence)
    return _deploy(home, draft, target, deployment.generation)


def refuse_failed(row: VersionRow, gates: Sequence[GateResult], *, force: bool) -> list[str]:
    """Return the names of the gates that a version failed. Raises DeploymentRefused, unless it is forced."""
    failed = [gate for gate in gates if not gate.passed]
    if (failed or row.status != "accepted") and not force:
        raise DeploymentRefused(
            row.model,
            f"expected a version that passed its gates, but {row.version} did not: "
            f"{'; '.join(gate.reason for gate in failed) or row.status}. Train a better one; or take it all the "
            "same, by force, with a reason that holds when it is read in a year",
        )
    return [gate.name for gate in failed]


def draft_by_hand(
    clock: Clock, deployment: Deployment, action: str, *, actor: str, reason: str, evidence: Mapping[str, object]
) -> Draft:
    """Return the draft of a person's decision about the version that the evidence names. Raises DeploymentRefused."""
    require_reason(deployment.model, actor, reason)
    key = f"{deployment.model}/{action}/{evidence['version']}/by-hand/{deployment.generation}"
    return Draft(key, clock.now(), deployment.model, actor, action, reason, evidence)


def require_reason(model: str, actor: str, reason: str) -> None:
    """Raise DeploymentRefused unless it is said who decides, and why."""
    if not actor.strip() or not reason.strip():
        said = f"expected who does this and why, got actor {actor!r} and reason {reason!r}: the ledger keeps both"
        raise DeploymentRefused(model, said)


def _deploy(home: Home, draft: Draft, champion: str, generation: int) -> Decision:
    return home.ledger.decide(draft, deploy=[Assignment(champion, "champion")], expect_generation=generation)
