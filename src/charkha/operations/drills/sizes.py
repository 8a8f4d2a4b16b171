"""How strong a fault of a kind can be: the steps on which the smallest that would be seen is looked for."""

from collections.abc import Callable, Sequence

from charkha.operations.drills.incident import Incident

STEPS = (0.125, 0.25, 0.5, 1.0, 2.0)
# What cannot be half as strong: it is there or not, or is no strength at all.
FIXED = ("none", "the number", "categories")


def sizes_of(incident: Incident) -> tuple[float, ...]:
    """Return sizes from an eighth of the usual one to twice as much, the smallest first; the usual one is among them.

    Of a factor they are its powers (half of × 60 is × 7.7), a share has no more than all. A kind whose strength cannot
    be chosen has its usual one alone.
    """
    if incident.unit in FIXED:
        return (incident.size,)
    if incident.unit.startswith("factor"):
        return tuple(incident.size**step for step in STEPS)
    most = 1.0 if incident.unit.startswith("share") else float("inf")
    return tuple(incident.size * step for step in STEPS if step <= 1.0 or incident.size * step <= most)


def smallest_seen(sizes: Sequence[float], is_seen: Callable[[float], bool]) -> float | None:
    """Return the first of ascending sizes that is seen, where whatever is larger than that is seen as well."""
    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_seen(sizes[middle]) else (middle + 1, high)
    return sizes[low] if low < len(sizes) else None
