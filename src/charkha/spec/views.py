"""Features: windowed aggregates and latest values of an entity, and expressions over the request."""

from collections.abc import Callable, Mapping
from typing import overload

import polars as pl
from attrs import field, frozen

from charkha.spec.aggregates import Aggregate, Ratio, Window
from charkha.spec.durations import parse_duration
from charkha.spec.faults import Fault
from charkha.spec.fields import one_or_many
from charkha.spec.functions import Function, expressions_of
from charkha.spec.sources import Entity, Source

Value = str | int | float | bool


@frozen
class FeatureView:
    """Features of one entity from one source. Each is called `view.feature`, such as `congestion.mean_arr_delay_6h`.

    windows: aggregates over *known* time: what an online system had seen when it was asked.
    latest: columns whose value is that of the newest row by event time, among those known.
    max_age: latest values of rows older than this (by event time) are null; they never age unless given.
    """

    name: str
    entity: Entity
    source: Source
    windows: tuple[Aggregate | Ratio, ...] = field(default=(), converter=tuple[Aggregate | Ratio, ...], kw_only=True)
    latest: tuple[str, ...] = field(default=(), converter=one_or_many, kw_only=True)
    max_age: str | None = field(default=None, kw_only=True)

    def all_windows(self) -> list[Window]:
        """Return every window that is computed, in the order declared; those of ratios are called by their sides."""
        return [window for declared in self.windows for window in declared.windows()]

    def ratios(self) -> list[Ratio]:
        """Return the ratios."""
        return [declared for declared in self.windows if isinstance(declared, Ratio)]

    def window_features(self) -> list[str]:
        """Return the name of every feature made of windows, in the order declared."""
        return [name for declared in self.windows for name in declared.features()]

    @property
    def max_age_us(self) -> int | None:
        """`max_age` in µs."""
        return parse_duration(self.max_age) if self.max_age else None


@frozen(eq=False, init=False)
class RequestFeatures:
    """Features computed when a prediction is asked for, over the request's fields and the features fetched for it.

    Each is a Polars expression and is called `group.name`. It may use the request's fields by name, the time of the
    prediction by the name of the label's `at` column, and any other feature by its full name.

    defaults: by feature, what stands where it cannot be evaluated, such as a strict cast of strange text; null unless
        given. A feature that is evaluated and is null stays null.
    fault: why there are no expressions, when they should have come from a function.
    """

    name: str
    expressions: Mapping[str, pl.Expr]
    defaults: Mapping[str, Value]
    fault: Fault | None

    def __init__(self, name: str, *, defaults: Mapping[str, Value] | None = None, **expressions: pl.Expr) -> None:
        self.__attrs_init__(name, expressions, {} if defaults is None else defaults, None)

    @classmethod
    def of(cls, name: str, function: Function, *, defaults: Mapping[str, Value] | None = None) -> "RequestFeatures":
        """Return the features that a function makes of columns; it is run here, once, and never again.

        function: takes the columns it names, or all as `row`, as expressions, and returns an expression for each
        feature. What is wrong with it, also what it raises, is told by `charkha check` with all the other faults.
        """
        made = cls.__new__(cls)
        expressions, fault = expressions_of(function)
        made.__attrs_init__(name, expressions, {} if defaults is None else defaults, fault)
        return made

    def by_full_name(self) -> dict[str, pl.Expr]:
        """Return the expressions under their full names."""
        return {f"{self.name}.{feature}": expression for feature, expression in self.expressions.items()}

    def defaults_by_full_name(self) -> dict[str, Value]:
        """Return the defaults under the full names of their features."""
        return {f"{self.name}.{feature}": value for feature, value in self.defaults.items()}


@overload
def on_request(function: Function, /) -> RequestFeatures: ...
@overload
def on_request(
    *, name: str | None = None, defaults: Mapping[str, Value] | None = None
) -> Callable[[Function], RequestFeatures]: ...
def on_request(
    function: Function | None = None, /, *, name: str | None = None, defaults: Mapping[str, Value] | None = None
) -> RequestFeatures | Callable[[Function], RequestFeatures]:
    """Make request features of a function on columns; they are called as the function is, unless `name` says otherwise.

    Written above the function, with or without brackets; see `RequestFeatures.of`.
    """

    def declared(given: Function) -> RequestFeatures:
        called = str(getattr(given, "__name__", repr(given))) if name is None else name
        return RequestFeatures.of(called, given, defaults=defaults)

    return declared if function is None else declared(function)
