"""The gate on what predictions cost: what serving used of late, and how long the new version takes for a row."""

from charkha.bundles.manifest import Estimate, GateResult, RuntimeChoice
from charkha.bundles.store import BundleStore
from charkha.governance.cost.serving import ServingCost, cost_in_words, expected_cost, served_lately
from charkha.spec.gates import CostsAtMost
from charkha.spec.model import Model
from charkha.storage.home import Home


def costs_gates(
    model: Model, home: Home, champion: str | None, runtime: RuntimeChoice, now_us: int
) -> list[GateResult]:
    """Return what the gates of a model say that ask what its predictions cost.

    champion: the version that serves, if there is one. runtime: of the new one. Raises UnknownBundle and BundleCorrupt.
    """
    gates = [gate for gate in model.gates if isinstance(gate, CostsAtMost)]
    if not gates:
        return []
    theirs = None if champion is None else BundleStore(home.bundles).manifest(model.name, champion).runtime
    cost = expected_cost(served_lately(home.ledger, model.name, now_us), model.prices, runtime, theirs)
    return [check_cost(gate, cost) for gate in gates]


def check_cost(gate: CostsAtMost, cost: ServingCost) -> GateResult:
    """Return whether what a thousand predictions cost is as little as a gate asks for."""
    words = f"a thousand predictions cost {cost_in_words(cost)}; at most {gate.inr_per_1000:g} INR is asked for"
    if cost.amount is None:
        return GateResult(gate.name, passed=False, value=None, target=gate.inr_per_1000, reason=words)
    value = Estimate(cost.amount, cost.amount, cost.amount, cost.rows)
    passed = cost.amount <= gate.inr_per_1000
    return GateResult(gate.name, passed=passed, value=value, target=gate.inr_per_1000, reason=words)
