"""What a thousand predictions cost: of those that were served, and of a version that has not served yet."""

from collections.abc import Sequence

from attrs import frozen

from charkha.bundles.manifest import RuntimeChoice
from charkha.spec.durations import DAY_US
from charkha.spec.prices import Prices
from charkha.storage.ledger import WHOLE, Ledger, Usage

SERVING = "serving"
# What was served of late: enough days for each of the week to count alike, and not so many that it is another machine.
LATELY_US = 28 * DAY_US
# With fewer, the start of the workers would weigh more than the answers.
LEAST_ROWS = 1000
NO_PRICES = Prices()


@frozen(kw_only=True)
class ServingCost:
    """What a thousand predictions of a version are expected to use and cost.

    amount: in `currency`; None while the price of a processor hour is not known, or nothing was measured. unknown: what
    is not in it. cpu_seconds: of a thousand. rows: that were served, by which it is known; 0 where it is by the model's
    own time alone. basis: in words.
    """

    amount: float | None
    currency: str
    unknown: tuple[str, ...]
    cpu_seconds: float | None
    rows: int
    basis: str


def served_lately(ledger: Ledger, model: str, now_us: int) -> Usage | None:
    """Return what a model's serving used of late, together; None where too little was served to tell."""
    rows = ledger.usage(model, kind=SERVING, since_us=now_us - LATELY_US, until_us=now_us + 1)
    found = [each for each in rows if each.stage != WHOLE]
    if not found:
        return None
    together = found[0]
    for each in found[1:]:
        together = together.plus(each)
    return together if together.rows >= LEAST_ROWS else None


def expected_cost(
    served: Usage | None, prices: Prices | None, version: RuntimeChoice | None, champion: RuntimeChoice | None
) -> ServingCost:
    """Return what a thousand predictions of a version are expected to cost.

    served: what serving used while the champion answered. version, champion: how long each takes for a row; the same,
    or None, for what serves itself.
    """
    table = prices or NO_PRICES
    own, theirs = _row_seconds(version), _row_seconds(champion)
    if served is not None:
        cpu = served.cpu_seconds / served.rows
        basis = f"{served.rows:,} predictions of the last 28 days took {1000 * cpu:.3g} s of processor time a thousand"
        if own is not None and theirs is not None and own != theirs:
            cpu = max(own, cpu + own - theirs)
            basis += f"; a row takes this version {1e6 * own:.3g} µs, and the champion {1e6 * theirs:.3g} µs"
        return _priced(1000 * cpu, served, table, basis)
    if own is None:
        return ServingCost(
            amount=None,
            currency=table.currency,
            unknown=("processor", "memory"),
            cpu_seconds=None,
            rows=0,
            basis="nothing was served yet, and how long the model takes for a row was not measured",
        )
    basis = f"a row takes the model {1e6 * own:.3g} µs; nothing was served yet, so features, HTTP and log come on top"
    return _priced(1000 * own, None, table, basis)


def _priced(cpu_seconds: float, served: Usage | None, prices: Prices, basis: str) -> ServingCost:
    """Return the price of a thousand predictions. What was not metered of what was served is unknown, not nothing."""
    rows = 0 if served is None else served.rows

    def of_a_thousand(metered: float | None) -> float | None:
        return None if metered is None or not rows else 1000 * metered / rows

    price = prices.of_work(
        cpu_seconds=cpu_seconds,
        memory_gb_seconds=of_a_thousand(served.memory_gb_seconds if served else None),
        gpu_seconds=of_a_thousand(served.gpu_seconds if served else None),
        moved_bytes=of_a_thousand(moved_bytes(served) if served else None),
    )
    return ServingCost(
        amount=None if "processor" in price.unknown else price.amount,
        currency=price.currency,
        unknown=price.unknown,
        cpu_seconds=cpu_seconds,
        rows=rows,
        basis=basis,
    )


def moved_bytes(usage: Usage) -> int | None:
    """Return how much was read and written; None where either was not metered."""
    return None if usage.read_bytes is None or usage.written_bytes is None else usage.read_bytes + usage.written_bytes


def _row_seconds(runtime: RuntimeChoice | None) -> float | None:
    """Return how long a runtime takes for one row (s); None where that was not measured."""
    measured = None if runtime is None else runtime.measured.get(runtime.name)
    return None if measured is None else measured.one_row_us / 1e6


def cost_in_words(cost: ServingCost) -> str:
    """Return what a thousand predictions cost, in words."""
    if cost.amount is None:
        return f"unknown: {cost.basis}"
    more = f" and {', '.join(cost.unknown)}, of which the price is unknown" if cost.unknown else ""
    return f"{cost.amount:.3g} {cost.currency}{more}: {cost.basis}"


def evidence_of(cost: ServingCost) -> dict[str, object]:
    """Return a cost as the evidence of a decision."""
    names: Sequence[str] = ("amount", "currency", "unknown", "cpu_seconds", "rows", "basis")
    return {f"{name}_per_1000" if name in ("amount", "cpu_seconds") else name: getattr(cost, name) for name in names}
