"""The kill switch: a model on its fallback, at once and until it is revived, whichever versions serve it."""

from charkha.clock import Clock
from charkha.operations.deploy import DeploymentRefused, require_reason
from charkha.storage.home import Home
from charkha.storage.ledger import KILL, REVIVE, Decision, Draft


def kill(home: Home, clock: Clock, model: str, *, actor: str, reason: str) -> Decision:
    """Put a model on its fallback. Every server follows within a quarter of a second, and after a restart too.

    actor, reason: kept in the ledger for ever; neither may be empty. Raises DeploymentRefused for a model that is
    killed already.
    """
    killed = home.ledger.killed().get(model)
    if killed is not None:
        raise DeploymentRefused(model, f"it is killed already, by {killed.actor}: {killed.reason}")
    return _decide(home, clock, model, KILL, (actor, reason))


def revive(home: Home, clock: Clock, model: str, *, actor: str, reason: str) -> Decision:
    """Let a model answer again. actor, reason: as for `kill`. Raises DeploymentRefused for one that was not killed."""
    if model not in home.ledger.killed():
        raise DeploymentRefused(model, "expected a model that is killed; this one answers")
    return _decide(home, clock, model, REVIVE, (actor, reason))


def _decide(home: Home, clock: Clock, model: str, action: str, why: tuple[str, str]) -> Decision:
    actor, reason = why
    require_reason(model, actor, reason)
    deployment, now_us = home.ledger.deployment(model), clock.now()
    champion = deployment.champion.version if deployment.champion else None
    evidence = {"champion": champion, "generation": deployment.generation}
    return home.ledger.decide(
        Draft(f"{model}/{action}/by-hand/{now_us}", now_us, model, actor, action, reason, evidence)
    )
