"""Definitions whose features are proven: every aggregation, kinds of keys, and several views of one source."""

from datetime import datetime
from functools import cache, partial

import polars as pl
from attrs import frozen

import charkha as ck
from charkha.features.plan import FeaturePlan, feature_names
from charkha.spec.aggregates import Aggregate, Ratio
from charkha.spec.fields import FieldType
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView

FIELDS: dict[str, FieldType] = {
    "row": int,
    "name": str,
    "number": int,
    "yes": bool,
    "value": float,
    "whole": int,
    "text": str,
    "moment": datetime,
    "happened_at": datetime,
    "known_at": datetime,
}
REQUEST: dict[str, FieldType] = {name: FIELDS[name] for name in ("name", "number", "yes")}
POSITIVE, MARKED = pl.col("value") > 0, pl.col("text") == "x"
NUMBERED = pl.col("text").cast(pl.Int64) == 7  # fails on other texts
SHORT = ["10m", "2h", "all"]
DECAYED = partial(ck.decayed_sum, half_life="20m")

WINDOWS: tuple[list[Aggregate | Ratio], ...] = (
    [
        *(kind("value", over=SHORT) for kind in (ck.sum, ck.mean, DECAYED)),
        ck.mean("value", over="2d"),
        ck.sum("whole", over=["2h", "all"]),
        ck.sum("yes", over="2h"),
        ck.count(over=["10m", "2h", "2d", "all"]),
        ck.ratio(ck.count(over="10m"), ck.count(over="all")),
        ck.ratio(ck.sum("value", over="10m"), ck.count(over="2h"), name="sum_per_row"),
    ],
    [
        *(kind("value", over=SHORT) for kind in (ck.min, ck.max, ck.first, ck.last)),
        ck.last_k("value", k=3, over=SHORT),
        ck.max("whole", over=["10m", "2d"]),
        ck.last("yes", over="all"),
        ck.ratio(ck.max("value", over="10m"), ck.max("value", over="2h")),
    ],
    [
        *(kind("value", over=SHORT) for kind in (ck.variance, ck.std)),
        ck.variance("value", over="2d", hop="1h"),
        ck.std("whole", over="2h"),
        ck.time_since_last(over=["10m", "2d", "all"]),
    ],
    [
        *(ck.distinct(column, over=["2h", "all"]) for column in ("value", "whole", "text", "yes")),
        ck.top_k("value", k=2, over=SHORT),
        ck.top_k("whole", k=3, over="2h"),
        ck.quantile("value", q=[0.5, 0.9], over=SHORT),
    ],
    [
        ck.count(over=["10m", "2h", "all"], where=MARKED, name="marked_count"),
        ck.sum("value", over=["2h", "all"], where=POSITIVE, name="positive_sum"),
        ck.last_k("value", k=2, over="2h", where=MARKED, name="marked_last"),
        ck.quantile("value", q=0.5, over="2h", where=MARKED, name="marked_quantile"),
        ck.time_since_last(over="2h", where=POSITIVE, name="positive_recency"),
        ck.count(over="2h", where=NUMBERED, name="numbered_count"),
        ck.ratio(ck.count(over="2h", where=MARKED, name="marked"), ck.count(over="2h"), name="marked_share"),
    ],
)
KEYS = (("name",), ("number",), ("name", "number"), ("yes", "name"), ("number", "yes"))


@frozen(eq=False)
class World:
    """A source and a plan of two views of it: one of windows and latest values, one of packed latest values."""

    source: Source
    plan: FeaturePlan

    @property
    def views(self) -> tuple[FeatureView, ...]:
        """The views of the plan."""
        return self.plan.views


@cache
def world(windows: int, keys: int, odd: int) -> World:
    """Return one of the definitions. odd: which kind of row key, age and second view it has."""
    rows: FieldType = str if odd % 2 else int
    key = ["row", "happened_at"] if odd == 2 else ["row"]
    data = ck.parquet("rows-*.parquet")
    source = ck.Source("events", FIELDS | {"row": rows}, data, time="happened_at", known="known_at", key=key)
    max_age = None if odd == 1 else "3h"
    columns = ["value", "text", "moment"]
    first = ck.FeatureView(
        "first", ck.Entity("e", KEYS[keys]), source, windows=WINDOWS[windows], latest=columns, max_age=max_age
    )
    second = ck.FeatureView(
        "second",
        ck.Entity("e", KEYS[(keys + odd) % len(KEYS)]),
        source,
        windows=[ck.count(over=["2h", "all"])],
        latest=["value", "whole", "yes", "moment"],
        max_age="1d",
    )
    views = (first, second)
    expressions = {"request.excess": pl.col("first.value") - pl.col("second.value")} if odd else {}
    names = tuple(name for view in views for name in feature_names(view))
    return World(source, FeaturePlan(views, REQUEST, "asked_at", expressions, (*names, *expressions)))
