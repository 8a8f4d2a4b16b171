"""How far a fault of a source has reached a feature, and by which key a view is read.

A fault of a source reaches a feature as rows that were known since its onset take the place of older ones: at once for
a latest value, little by little for a window.
"""

import numpy as np
import polars as pl

from charkha.features.keys import key_column
from charkha.features.lineage import Derived
from charkha.monitoring.traffic import AGE_PREFIX
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.model import FloatArray
from charkha.spec.views import FeatureView


def key_of(view: FeatureView, rows: pl.DataFrame) -> pl.Series:
    """Return the key of a view in each row, as text; null where a part of it is null or was not logged."""
    columns = [REQUEST_PREFIX + key for key in view.entity.keys]
    if not set(columns) <= set(rows.columns):
        return pl.Series("key", [None], dtype=pl.String).new_from_index(0, rows.height)
    return key_column(rows, columns).alias("key")


def reached(derived: Derived, rows: pl.DataFrame, since_us: int) -> FloatArray:
    """Return which share of what a feature read was known since an onset, 0 to 1: float64 (rows,).

    0 while the newest row of the key is older than the onset. Rows are taken to come evenly over a window.
    """
    elapsed_us = np.maximum(rows["_at_us"].to_numpy() - since_us, 0).astype(np.float64)
    age = rows[AGE_PREFIX + derived.view.name].fill_null(0.0).to_numpy() if _has_age(derived, rows) else 0.0
    is_new = np.asarray((age * 1e6 <= elapsed_us) & (elapsed_us > 0))
    if derived.view.source.static:
        is_new = elapsed_us >= 0  # a table without times is read anew, all of it
    if derived.window_us is None or derived.kind in ("last", "last_k"):
        return np.where(is_new, 1.0, 0.0)
    return np.where(is_new, np.minimum(elapsed_us / derived.window_us, 1.0), 0.0)


def _has_age(derived: Derived, rows: pl.DataFrame) -> bool:
    return AGE_PREFIX + derived.view.name in rows.columns
