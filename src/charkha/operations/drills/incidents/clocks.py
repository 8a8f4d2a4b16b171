"""Time itself is wrong: a source writes local times, or a replica's clock is ahead."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from attrs import evolve

from charkha.features.seen import BoolArray
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import AGE_PREFIX, Traffic
from charkha.operations.drills.bending import bend_served, bend_source, hit_rows, where
from charkha.operations.drills.earlier import view_as_of
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident, check_subject
from charkha.operations.drills.targets import replicas, sources
from charkha.spec.aggregates import Aggregate
from charkha.spec.durations import HOUR_US
from charkha.spec.views import FeatureView


def _time_zone_shift(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Read times of a source as hours later or earlier: rows seem so much older, or wait until their time has come."""
    check_subject(fault, sources(traffic, rescore.plan), "a source")
    shift_us = round((fault.size or 0.0) * HOUR_US)
    of_source = [view for view in rescore.plan.views if view.source.name == fault.subject]

    def shifted(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        found: dict[str, pl.Series] = {}
        for view in of_source:
            if shift_us > 0:  # known in the future: not before then
                until_us = rows["_at_us"].to_numpy() - shift_us
                found |= view_as_of(
                    rescore.plan, view, rows, traffic.predictions, until_us.clip(min=fault.since_us - 1)
                )
            else:
                found |= _older(rows, view.name, -shift_us / 1e6)
                too_old = _too_old(found, rows, view.name, view.max_age_us)
                names = [f"{view.name}.{column}" for column in view.latest if f"{view.name}.{column}" in rows.columns]
                found |= {name: where(too_old, rows[name].clear(rows.height), rows[name]) for name in names}
                found |= _shorter_windows(view, rows, -shift_us)
        return found

    bent = bend_source(traffic, hit_rows(traffic, fault), rescore, shifted)
    span = fault.within(traffic.span)
    hit = (pl.col("source") == fault.subject) & pl.col("_hour_us").is_between(
        span.since_us, span.until_us, closed="left"
    )
    late = pl.when(hit).then(pl.col("late_s") - shift_us / 1e6).otherwise(pl.col("late_s")).alias("late_s")
    return evolve(bent, arrivals=bent.arrivals.with_columns(late))


def _shorter_windows(view: FeatureView, rows: pl.DataFrame, shift_us: int) -> dict[str, pl.Series]:
    """Return windows whose newest rows seem so much older: as much of each is gone as the shift is of its length."""
    found = {}
    for declared in (each for each in view.windows if isinstance(each, Aggregate)):
        for window in declared.windows():
            left = 1.0 - min(1.0, shift_us / window.size_us)
            for name in (f"{view.name}.{each}" for each in window.names if f"{view.name}.{each}" in rows.columns):
                if declared.measure.kind in ("count", "sum", "decayed_sum"):
                    found[name] = rows[name] * left
                elif left == 0.0:
                    found[name] = rows[name].clear(rows.height)
    return found


def _older(rows: pl.DataFrame, view: str, seconds: float) -> dict[str, pl.Series]:
    age = AGE_PREFIX + view
    return {age: rows[age] + seconds} if age in rows.columns else {}


def _too_old(found: Mapping[str, pl.Series], rows: pl.DataFrame, view: str, max_age_us: int | None) -> BoolArray:
    ages = found.get(AGE_PREFIX + view, pl.Series([0.0]).new_from_index(0, rows.height))
    limit = (1 << 62) if max_age_us is None else max_age_us
    return (ages * 1e6 > limit).fill_null(value=False).to_numpy().astype(np.bool_)


def _clock_skew(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    check_subject(fault, replicas(traffic, rescore.plan), "a replica")
    ahead_us = round((fault.size or 0.0) * 1e6)
    places = hit_rows(traffic, fault, featured=False)
    places = places[(traffic.predictions["replica"] == fault.subject).fill_null(value=False).to_numpy()[places]]

    def ahead(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        ages = {AGE_PREFIX + view: rows[AGE_PREFIX + view] + ahead_us / 1e6 for view in traffic.views}
        return {"_at_us": rows["_at_us"] + ahead_us, **ages}

    bent = bend_served(traffic, places, rescore, ahead)
    span = fault.within(traffic.span)
    hit = (pl.col("replica") == fault.subject) & pl.col("_minute_us").is_between(
        span.since_us, span.until_us, closed="left"
    )
    clock = (pl.col("clock_ahead_us") + pl.when(hit).then(ahead_us).otherwise(0)).alias("clock_ahead_us")
    return evolve(bent, vitals=bent.vitals.with_columns(clock))


INCIDENTS = (
    Incident(
        kind="time_zone_shift",
        cause="source",
        words="a source writes its times in another zone: its rows are known so much later, or seem so much older",
        inject=_time_zone_shift,
        subjects=sources,
        unit="hours",
        size=-5.0,
        within="6h",
        rows=200,
        touches={"predictions", "recomputed", "arrivals"},
    ),
    Incident(
        kind="clock_skew",
        cause="infrastructure",
        words="the clock of a replica is ahead",
        inject=_clock_skew,
        subjects=replicas,
        unit="seconds",
        size=1800.0,
        within="1h",
        rows=50,
        touches={"predictions", "vitals"},
    ),
)
