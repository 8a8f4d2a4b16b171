"""Promoting by hand where two persons have to agree: not by who made the version, unless the glass is broken."""

from collections.abc import Mapping

from charkha.bundles.store import BundleStore
from charkha.clock import Clock
from charkha.operations.deploy import DeploymentRefused, promote
from charkha.operations.rollout.trial import find_trial
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.ledger import Decision

# In the evidence of a promotion that one person alone decided of, where two have to.
BREAK_GLASS = "break_glass"


def promote_by_hand(
    home: Home,
    clock: Clock,
    model: Model,
    version: str,
    *,
    actor: str,
    reason: str,
    force: bool = False,
    alone: bool = True,
    break_glass: bool = False,
) -> Decision:
    """Make a version the champion, as `promote` does; where two persons have to agree, another than who made it.

    break_glass: whoever made it, too; the evidence says so for ever. Raises what `promote` raises, and
    DeploymentRefused for one person alone.
    """
    noted = require_another(home, model, version, actor, break_glass=break_glass)
    return promote(home, clock, model.name, version, actor=actor, reason=reason, force=force, alone=alone, noted=noted)


def require_another(home: Home, model: Model, version: str, actor: str, *, break_glass: bool) -> Mapping[str, object]:
    """Return what a promotion's evidence has to tell of who decided alone; nothing where that is as declared.

    Raises DeploymentRefused.
    """
    if not _asks_for_two(home, model):
        return {}
    authors = authors_of(home, model.name, version)
    if actor not in authors:
        return {}
    if not break_glass:
        raise DeploymentRefused(model.name, _alone(authors, actor))
    return {BREAK_GLASS: {"by": actor, "authors": list(authors)}}


def require_another_than_maker(home: Home, model: Model, actor: str, *, break_glass: bool) -> None:
    """Raise DeploymentRefused where `actor` would make a version and promote it alone; before it is made."""
    if _asks_for_two(home, model) and not break_glass:
        raise DeploymentRefused(model.name, _alone((actor,), actor))


def _asks_for_two(home: Home, model: Model) -> bool:
    """Say whether two persons have to agree: a first champion takes nobody's place, and asks for one."""
    approval = model.rollout.approval
    return approval is not None and approval.two_persons and home.ledger.deployment(model.name).champion is not None


def authors_of(home: Home, model: str, version: str) -> tuple[str, ...]:
    """Return the persons who trained a version, gave it or one it was made of its rules, or began its rollout."""
    ledger, bundles = home.ledger, BundleStore(home.bundles)
    runs, known = ledger.runs(model), {row.version for row in ledger.versions(model)}
    found: list[str] = []
    at, seen = version, set[str]()
    while at in known and at not in seen:
        seen.add(at)
        found += [str(run.result["by"]) for run in runs if run.result.get("version") == at and "by" in run.result]
        applied = bundles.manifest(model, at).lineage.rules_applied
        if applied is None:
            break
        found.append(applied.by)
        at = applied.version
    trial = find_trial(ledger.deployments(model), ledger.decisions(model), runs)
    if trial is not None and trial.version == version:
        found += trial.authors
    return tuple(dict.fromkeys(found))


def _alone(authors: tuple[str, ...], actor: str) -> str:
    return (
        f"expected somebody else than {' and '.join(authors)}, who made what is to be promoted, got {actor}: two "
        "persons have to agree. In an emergency break the glass (--break-glass): the ledger tells of it"
    )
