"""What predictions cost, as evidence of whoever is promoted."""

from typing import TypeVar

from attrs import evolve

from charkha.bundles.store import BundleCorrupt, BundleStore, UnknownBundle
from charkha.governance.cost.serving import ServingCost, evidence_of, expected_cost, served_lately
from charkha.operations.steps import Promote
from charkha.spec.model import Model
from charkha.storage.home import Home

AnyStep = TypeVar("AnyStep")


def with_cost(step: AnyStep, home: Home, model: Model, now_us: int) -> AnyStep:
    """Return a promotion with what its predictions are expected to cost beside its evidence; other steps as they are.

    A promotion stays as it is, too, where there is nothing to tell: no price, and nothing was measured.
    """
    if not isinstance(step, Promote):
        return step
    cost = cost_of_version(home, model, step.version, now_us)
    if model.prices is None and cost.cpu_seconds is None:
        return step
    return evolve(step, evidence={**step.evidence, "cost": evidence_of(cost)})


def cost_of_version(home: Home, model: Model, version: str, now_us: int) -> ServingCost:
    """Return what a thousand predictions of a version are expected to cost, by what serving used of late."""
    champion = home.ledger.deployment(model.name).champion
    bundles = BundleStore(home.bundles)
    runtimes = []
    for each in (version, champion.version if champion else None):
        try:
            runtimes.append(None if each is None else bundles.manifest(model.name, each).runtime)
        except (UnknownBundle, BundleCorrupt):
            runtimes.append(None)
    return expected_cost(served_lately(home.ledger, model.name, now_us), model.prices, *runtimes)
