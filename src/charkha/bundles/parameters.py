"""Bounds on an estimator's parameters, written beside their defaults and checked when it is declared."""

import math
from typing import Any

import attrs
from attrs import frozen

from charkha.spec.faults import DefinitionError, Fault

_BOUND = "charkha.bound"


@frozen
class Bound:
    """What a number may be: whole or not, None or not, from `low` (or above it) to `high`."""

    low: float
    high: float = math.inf
    whole: bool = False
    above: bool = False
    optional: bool = False

    def allows(self, value: object) -> bool:
        """Say whether `value` lies within."""
        if value is None:
            return self.optional
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return (self.low < value if self.above else self.low <= value) and value <= self.high and math.isfinite(value)

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        low = f"{'above' if self.above else 'from'} {self.low:g}"
        high = "" if self.high == math.inf else f" to {self.high:g}"
        return f"{kind} {low}{high}{', or None' if self.optional else ''}"


def count(default: int, *, low: int = 1, high: float = math.inf, optional: bool = False) -> Any:
    """Return an attrs field for a whole number. optional: None is allowed too."""
    return _field(default, Bound(low, high, whole=True, optional=optional))


def share(default: float) -> Any:
    """Return an attrs field for a share, above 0."""
    return _field(default, Bound(0, 1, above=True))


def amount(default: float, *, above: bool = False) -> Any:
    """Return an attrs field for a number from 0 on. above: 0 itself is not allowed."""
    return _field(default, Bound(0, above=above))


def _field(default: float, bound: Bound) -> Any:
    return attrs.field(default=default, metadata={_BOUND: bound})


def check_parameters(declared: Any) -> None:
    """Raise DefinitionError with every parameter of an attrs declaration that is not within its bound."""
    faults = [
        Fault(f"{type(declared).__name__}({parameter.name}=…)", str(bound), repr(value), _remedy(parameter.default))
        for parameter in attrs.fields(type(declared))
        if (bound := parameter.metadata.get(_BOUND)) and not bound.allows(value := getattr(declared, parameter.name))
    ]
    if faults:
        raise DefinitionError(faults)


def _remedy(default: object) -> str:
    return f"Leave it out for the default, {default!r}."
