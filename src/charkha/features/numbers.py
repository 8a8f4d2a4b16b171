"""The one form of a decimal, in which whatever compares, counts or keys by it finds equal ones equal.

NaN and infinities are what a division by nothing leaves behind: no value, so null. Zero has one sign.
"""

from math import isfinite

import polars as pl


def finite(column: pl.Expr) -> pl.Expr:
    """Return a column of float64 with null for what is not finite, and 0.0 for -0.0."""
    # Polars takes `column + 0.0` for the column itself, so that a zero would keep its sign.
    return pl.when(column == 0.0).then(0.0).when(column.is_finite()).then(column)


def finite_number(value: float | None) -> float | None:
    """Return the same of one value."""
    return value + 0.0 if value is not None and isfinite(value) else None
