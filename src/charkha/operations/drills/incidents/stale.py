"""The store stops, or the events come late: features are those of before."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from attrs import evolve

from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import bend_served, bend_source, hit_rows
from charkha.operations.drills.earlier import view_as_of
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident, check_subject
from charkha.operations.drills.targets import sources, views
from charkha.spec.durations import HOUR_US


def _stale_store(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    check_subject(fault, views(traffic, rescore.plan), "a view")
    (view,) = (view for view in rescore.plan.views if view.name == fault.subject)

    def frozen(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        return view_as_of(rescore.plan, view, rows, traffic.predictions, np.full(rows.height, fault.since_us - 1))

    return bend_served(traffic, hit_rows(traffic, fault), rescore, frozen)


def _late_events(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    check_subject(fault, sources(traffic, rescore.plan), "a source")
    late_us = round((fault.size or 0.0) * HOUR_US)

    def delayed(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        until_us = np.maximum(rows["_at_us"].to_numpy() - late_us, fault.since_us - 1)
        of_source = [view for view in rescore.plan.views if view.source.name == fault.subject]
        found = [view_as_of(rescore.plan, view, rows, traffic.predictions, until_us) for view in of_source]
        return {name: values for each in found for name, values in each.items()}

    bent = bend_source(traffic, hit_rows(traffic, fault), rescore, delayed)
    return evolve(bent, arrivals=_later(bent.arrivals, fault, fault.within(traffic.span).until_us, late_us))


def _later(arrivals: pl.DataFrame, fault: Fault, until_us: int, late_us: int) -> pl.DataFrame:
    """Return arrivals with the source's hours later by whole hours, without those that would come after the end."""
    hours_us = late_us // HOUR_US * HOUR_US
    hit = (pl.col("source") == fault.subject) & pl.col("_hour_us").is_between(fault.since_us, until_us, closed="left")
    late = arrivals.filter(hit).with_columns(pl.col("_hour_us") + hours_us, pl.col("late_s") + late_us / 1e6)
    late = late.filter(pl.col("_hour_us") < until_us)
    return pl.concat([arrivals.filter(~hit), late]).sort("source", "_hour_us", maintain_order=True)


INCIDENTS = (
    Incident(
        kind="stale_store",
        cause="infrastructure",
        words="the online store is not written any more: each key keeps the features it had, and they grow older",
        inject=_stale_store,
        subjects=views,
        unit="none",
        size=1.0,
        within="6h",
        rows=200,
        touches={"predictions"},
    ),
    Incident(
        kind="late_events",
        cause="source",
        words="the rows of a source come hours late, so features are those of hours before",
        inject=_late_events,
        subjects=sources,
        unit="hours",
        size=12.0,
        within="12h",
        rows=200,
        touches={"predictions", "recomputed", "arrivals"},
    ),
)
