"""Features: windowed aggregates and latest values of an entity, and expressions over the request."""

import polars as pl
from attrs import field, frozen

from charkha.spec.aggregates import Aggregate, Ratio, Window
from charkha.spec.durations import parse_duration
from charkha.spec.fields import one_or_many
from charkha.spec.sources import Entity, Source


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
    """

    name: str
    expressions: dict[str, pl.Expr]

    def __init__(self, name: str, **expressions: pl.Expr) -> None:
        self.__attrs_init__(name, expressions)

    def by_full_name(self) -> dict[str, pl.Expr]:
        """Return the expressions under their full names."""
        return {f"{self.name}.{feature}": expression for feature, expression in self.expressions.items()}
