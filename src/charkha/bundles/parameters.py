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


def bounded(**bound: Any) -> dict[str, Bound]:
    """Return the metadata that gives an attrs field its bound: `field(default=3, metadata=bounded(low=1))`."""
    return {_BOUND: Bound(**bound)}


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
