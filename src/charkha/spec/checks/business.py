"""Checks of the business metrics that a model declares: their names, and which way is better."""

from collections.abc import Iterator, Mapping

from charkha.spec.business import DIRECTIONS, LONGEST_NAME, MOST_METRICS
from charkha.spec.checks.values import name_faults, quote
from charkha.spec.faults import Fault
from charkha.spec.model import COST, METRICS, ROW_LOSSES

_OURS = frozenset({COST, *(name for names in (*METRICS.values(), *ROW_LOSSES.values()) for name in names)})


def business_faults(where: str, business: object) -> Iterator[Fault]:
    """Yield what is wrong with a model's business metrics."""
    inner = f"{where}, business"
    if not isinstance(business, Mapping):
        yield Fault(inner, "a dict of names and 'higher' or 'lower'", quote(business), 'Write {"margin": "higher"}.')
        return
    if len(business) > MOST_METRICS:
        remedy = "Keep those that may decide something."
        yield Fault(inner, f"at most {MOST_METRICS} business metrics", str(len(business)), remedy)
    for name, better in business.items():
        yield from name_faults(inner, name)
        if isinstance(name, str) and len(name) > LONGEST_NAME:
            yield Fault(inner, f"names of at most {LONGEST_NAME} characters", quote(name), "Choose a shorter one.")
        if name in _OURS:
            yield Fault(inner, "a name that no metric of a model has", quote(name), "Rename it.")
        if not isinstance(better, str) or better not in DIRECTIONS:
            remedy = "Say which way is better."
            yield Fault(f"{inner}[{quote(name)}]", "'higher' or 'lower'", quote(better), remedy)
