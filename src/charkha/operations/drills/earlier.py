"""What a view's features were for the same key at an earlier time: as the traffic itself has it."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from charkha.features.plan import FeaturePlan, feature_names
from charkha.features.segments import IntArray
from charkha.monitoring.traffic import AGE_PREFIX
from charkha.operations.drills.bending import where
from charkha.operations.drills.derivation import key_of
from charkha.spec.views import FeatureView


def view_as_of(
    plan: FeaturePlan, view: FeatureView, rows: pl.DataFrame, every: pl.DataFrame, as_of_us: IntArray
) -> Mapping[str, pl.Series]:
    """Return the features of a view, and its age, as the key's last prediction until `as_of_us` had them.

    rows: whose features are asked for; every: all predictions, in the order of their times. as_of_us: int64 (rows,).
    Where the key was not asked about before, its first later prediction stands for what the store had; ages are those
    of the older rows at the time of the question. Latest values that are too old by then are null.
    """
    names = [name for name in feature_names(view) if name in every.columns]
    asked = pl.DataFrame({"key": key_of(view, rows), "_until": as_of_us}).with_row_index("_row").sort("_until")
    told = pl.DataFrame({"key": key_of(view, every), "_until": every["_at_us"]}).with_row_index("_place")
    told = told.drop_nulls("key").sort("_until", maintain_order=True)
    before = asked.join_asof(told, on="_until", by="key", strategy="backward", check_sortedness=False)
    later = asked.join_asof(told, on="_until", by="key", strategy="forward", check_sortedness=False)
    place = before["_place"].fill_null(later["_place"]).gather(before["_row"].arg_sort())
    found = {name: every[name].gather(place) for name in names}
    age = AGE_PREFIX + view.name
    if age not in every.columns:
        return found
    waited = (rows["_at_us"] - every["_at_us"].gather(place)).cast(pl.Float64) / 1e6
    ages = (every[age].gather(place) + waited).clip(lower_bound=0.0)
    if view.max_age_us is not None:
        too_old = (ages * 1e6 > view.max_age_us).fill_null(value=False).to_numpy().astype(np.bool_)
        of_latest = [name for name in names if name.removeprefix(f"{view.name}.") in view.latest]
        found |= {name: where(too_old, found[name].clear(len(too_old)), found[name]) for name in of_latest}
    return {**found, age: ages}
