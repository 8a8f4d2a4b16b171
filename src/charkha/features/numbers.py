"""The one form of a decimal, in which whatever compares, counts or keys by it finds equal ones equal.

NaN and infinities are what a division by nothing leaves behind: no value, so null. Zero has one sign.
"""

from math import isfinite

import numpy as np
import polars as pl

from charkha.spec.model import FloatArray


def finite(column: pl.Expr) -> pl.Expr:
    """Return a column of float64 with null for what is not finite, and 0.0 for -0.0."""
    # Polars takes `column + 0.0` for the column itself, so that a zero would keep its sign.
    return pl.when(column == 0.0).then(0.0).when(column.is_finite()).then(column)


def finite_number(value: float | None) -> float | None:
    """Return the same of one value."""
    return value + 0.0 if value is not None and isfinite(value) else None


def ratio_of(above: FloatArray, below: FloatArray) -> FloatArray:
    """Return a ratio, NaN for null: where a side is, where the lower one is 0, and where it is beyond a float."""
    with np.errstate(over="ignore"):
        ratio = np.divide(above, below, out=np.full(len(above), np.nan), where=below != 0)
    return np.where(np.isfinite(ratio), ratio, np.nan)
