"""Rows that are changed in some columns: what follows from these is computed anew, and nothing else is touched.

A *source* that is broken changes what was served and what is recomputed, for both read the same rows; a *skew* changes
only what was served.
"""

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
from attrs import evolve

from charkha.features.lineage import downstream
from charkha.features.plan import FeaturePlan
from charkha.features.request import with_request_features
from charkha.features.seen import BoolArray
from charkha.features.segments import IntArray
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.fault import Fault
from charkha.serving.prediction_frames import FEATURES_LOGGED, REQUEST_PREFIX
from charkha.spec.fields import TIME
from charkha.spec.model import FloatArray

# Given rows of predictions, what some of their columns become; the rows are those of one fault, in the order of time.
Change = Callable[[pl.DataFrame], Mapping[str, pl.Series]]


def hit_rows(traffic: Traffic, fault: Fault, *, featured: bool = True) -> IntArray:
    """Return the places of the predictions within a fault's span; of those with features, unless all are wanted."""
    span = fault.within(traffic.span)
    hit = (pl.col("_at_us") >= span.since_us) & (pl.col("_at_us") < span.until_us)
    if featured:
        hit &= pl.col(FEATURES_LOGGED) & (pl.col("role") != "fallback")
    return traffic.predictions.select(hit=hit)["hit"].fill_null(value=False).arg_true().to_numpy().astype(np.int64)


def bend_served(traffic: Traffic, places: IntArray, rescore: Rescore, change: Change) -> Traffic:
    """Change what was served at some places; the sources are as they were, and so is what is recomputed of them."""
    rows = traffic.predictions[places]
    return evolve(
        traffic, predictions=replaced(traffic.predictions, places, _with_effects(rows, change(rows), rescore))
    )


def bend_source(traffic: Traffic, places: IntArray, rescore: Rescore, change: Change) -> Traffic:
    """Change what the sources say for the predictions at some places: what was served, and what is recomputed."""
    bent = bend_served(traffic, places, rescore, change)
    return evolve(bent, recomputed=_recomputed_of(traffic, bent, places, rescore, change))


def replaced(frame: pl.DataFrame, places: IntArray, columns: Mapping[str, pl.Series]) -> pl.DataFrame:
    """Return a frame with other values at some places of some columns, each in the type that it has."""
    if not len(places):
        return frame
    order = np.arange(frame.height)
    order[places] = frame.height + np.arange(len(places))
    taken = pl.Series(order)
    return frame.with_columns(
        pl.concat([frame[name], values.cast(frame.schema[name], strict=False).rename(name)]).gather(taken)
        for name, values in columns.items()
    )


def lots(rows: pl.DataFrame, seed: int, salt: str = "") -> FloatArray:
    """Return a number from 0 to 1 for each row, drawn by its id: the same wherever the row stands, float64 (rows,)."""
    return lots_of(rows["id"], seed, salt)


def lots_of(texts: pl.Series, seed: int, salt: str = "") -> FloatArray:
    """Return the same for texts."""
    found: FloatArray = (texts + f"/{salt}").hash(seed).to_numpy() / 2.0**64
    return found


def _with_effects(rows: pl.DataFrame, changed: Mapping[str, pl.Series], rescore: Rescore) -> dict[str, pl.Series]:
    """Return the changed columns and what follows from them: request features, scores and decisions."""
    columns = {name: values.cast(rows.schema[name], strict=False).alias(name) for name, values in changed.items()}
    bent = rows.with_columns(columns.values())
    columns |= follow(rescore.plan, bent, columns)
    bent = bent.with_columns(columns.values())
    if "score" not in changed:
        columns |= _scored(rows, bent, list(columns), rescore)
    return columns


def follow(plan: FeaturePlan, bent: pl.DataFrame, changed: Mapping[str, pl.Series]) -> dict[str, pl.Series]:
    """Return the request features of bent rows that read something changed, in the types they were logged in."""
    roots = [plan.at if name == "_at_us" else name.removeprefix(REQUEST_PREFIX) for name in changed]
    names = [name for name in downstream(plan, roots) if name in bent.columns and name not in changed]
    if not names:
        return {}
    asked = {field: pl.col(REQUEST_PREFIX + field) for field in plan.request if REQUEST_PREFIX + field in bent.columns}
    made = with_request_features(plan, bent.with_columns(pl.col("_at_us").cast(TIME).alias(plan.at), **asked))
    return {name: _as_logged(made[name], bent.schema[name]) for name in names}


def _as_logged(values: pl.Series, kind: pl.DataType) -> pl.Series:
    values = values.cast(kind, strict=False)
    return values.fill_nan(None) if kind == pl.Float64() else values


def _scored(before: pl.DataFrame, bent: pl.DataFrame, names: list[str], rescore: Rescore) -> dict[str, pl.Series]:
    """Return scores and decisions: new ones for the rows that are not what they were, whatever was said of them."""
    differ = bent.select(pl.any_horizontal(pl.col(name).ne_missing(before[name]) for name in names)) if names else None
    places = np.flatnonzero(differ.to_series().to_numpy()) if differ is not None else np.array([], np.int64)
    if not len(places):
        return {}
    scores, decisions = rescore(bent[places])
    found = replaced(before.select("score", "decision"), places, {"score": pl.Series(scores, nan_to_null=True)})
    if decisions is not None:
        found = replaced(found, places, {"decision": pl.Series(decisions)})
    return {"score": found["score"], "decision": found["decision"]}


def _recomputed_of(traffic: Traffic, bent: Traffic, places: IntArray, rescore: Rescore, change: Change) -> pl.DataFrame:
    """Return what would be recomputed: of a row that agreed with what was served, what is served now.

    Where they disagreed before, by another fault, the recomputed row is bent in the same way.
    """
    sample, names = traffic.recomputed, list(traffic.features)
    rows = traffic.predictions[places].select("id", "version").with_columns(_place=pl.Series(places))
    found = sample.select("id", "version").with_row_index("_row").join(rows, on=["id", "version"], how="inner")
    if found.is_empty():
        return sample
    at, own = found["_place"].to_numpy(), found["_row"].to_numpy().astype(np.int64)
    told, made = traffic.predictions[at].select(names), sample[own].select(names)
    agreed = (
        made.select(pl.all_horizontal(pl.col(name).eq_missing(told[name]) for name in names)).to_series().to_numpy()
    )
    after = replaced(sample, own[agreed], bent.predictions[at[agreed]].select(names).to_dict())
    if agreed.all():
        return after
    again = replaced(traffic.predictions, at, made.to_dict())[places]
    changed = _with_effects(again, change(again), rescore)
    spot = np.searchsorted(places, at[~agreed])
    return replaced(after, own[~agreed], {n: v.gather(pl.Series(spot)) for n, v in changed.items() if n in names})


def where(mask: BoolArray, then: pl.Series, otherwise: pl.Series) -> pl.Series:
    """Return a column with other values where a mask is true, in its own type."""
    return then.cast(otherwise.dtype, strict=False).zip_with(pl.Series(mask), otherwise)
