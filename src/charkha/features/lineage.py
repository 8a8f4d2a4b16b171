"""Which features read which field of which source, and how strongly: told by the views' own declarations."""

from collections.abc import Iterable, Iterator

from attrs import frozen

from charkha.features.plan import FeaturePlan, feature_names
from charkha.spec.aggregates import Aggregate, Ratio
from charkha.spec.views import FeatureView

# What a feature becomes when the field it reads becomes k times as large: k to this power.
POWERS = {"variance": 2, "count": 0, "distinct": 0, "time_since_last": 0}


@frozen(eq=False)
class Derived:
    """A feature of a view that reads a field of its source.

    power: by which it scales with the field. kind: the aggregation; "latest" or "ratio" besides. window_us: how far
    back it reads; None for the newest row alone.
    """

    feature: str
    view: FeatureView
    kind: str
    power: int
    window_us: int | None


def derived_from(plan: FeaturePlan, source: str, column: str) -> list[Derived]:
    """Return the features of views that read a field of a source."""
    return [found for view in plan.views if view.source.name == source for found in _of_view(view, column)]


def _of_view(view: FeatureView, column: str) -> Iterator[Derived]:
    for declared in view.windows:
        power = _power(declared, column)
        if power is not None:
            kind = "ratio" if isinstance(declared, Ratio) else declared.measure.kind
            for window in declared.windows():
                names = [declared.name] if isinstance(declared, Ratio) else window.names
                yield from (Derived(f"{view.name}.{name}", view, kind, power, window.size_us) for name in names)
                if isinstance(declared, Ratio):
                    break
    if column in view.latest:
        yield Derived(f"{view.name}.{column}", view, "latest", 1, None)


def _power(declared: Aggregate | Ratio, column: str) -> int | None:
    """Return by which power an aggregate scales with a field; None where it does not read it."""
    if isinstance(declared, Aggregate):
        return POWERS.get(declared.measure.kind, 1) if declared.measure.column == column else None
    sides = _power(declared.numerator, column), _power(declared.denominator, column)
    return None if sides == (None, None) else (sides[0] or 0) - (sides[1] or 0)


def downstream(plan: FeaturePlan, changed: Iterable[str]) -> list[str]:
    """Return the request features that read something changed, also through others; in the order of their use.

    changed: fields of the request by name, the time by the plan's name for it, and features by full name.
    """
    reached, found = set(changed), []
    for name, expression in plan.expressions.items():
        if name not in reached and reached.intersection(expression.meta.root_names()):
            reached.add(name)
            found.append(name)
    return found


def names_of_view(plan: FeaturePlan, name: str) -> list[str]:
    """Return the full names of the features of a view, that the plan gives."""
    return [each for view in plan.views if view.name == name for each in feature_names(view) if each in plan.names]


def origins(plan: FeaturePlan) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return of each feature the fields that it is made of: (source, field), and ("request", field) of the request.

    What a feature of the request reads of other features is made of what these are made of.
    """
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in plan.names}
    for view in plan.views:
        for column in view.source.fields:
            for derived in _of_view(view, column):
                found.setdefault(derived.feature, set()).add((view.source.name, column))
    for name, expression in plan.expressions.items():
        roots = expression.meta.root_names()
        own = {("request", root) for root in roots if root in plan.request}
        found[name] = own.union(*(found[root] for root in roots if root in found))
    return {name: tuple(sorted(fields)) for name, fields in found.items()}
