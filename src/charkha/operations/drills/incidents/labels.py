"""The labels are at fault: none come, some come later than others, or they are wrong."""

import numpy as np
import polars as pl
from attrs import evolve

from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import lots
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident
from charkha.operations.drills.questions import is_binary
from charkha.spec.durations import DAY_US


def _hit(fault: Fault) -> pl.Expr:
    """Say which labels became known within a fault; without an end, also those that come after the last question."""
    until_us = (1 << 62) if fault.until_us is None else fault.until_us
    return pl.col("_label_known_us").is_between(fault.since_us, until_us, closed="left")


def _drawn(traffic: Traffic, fault: Fault) -> pl.Series:
    return pl.Series(lots(traffic.labels, fault.seed, fault.kind) < (fault.size or 0.0))


def _label_outage(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Lose the labels of the span; where it has an end they come all at once then."""
    hit = _hit(fault) & _drawn(traffic, fault)
    if fault.until_us is None:
        return evolve(traffic, labels=traffic.labels.filter(~hit))
    late = pl.when(hit).then(fault.until_us).otherwise(pl.col("_label_known_us")).alias("_label_known_us")
    return evolve(traffic, labels=traffic.labels.with_columns(late).sort("_label_known_us", maintain_order=True))


def _biased_label_delay(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Have the labels that are true, or larger than most, come days later than the others."""
    limit = 0.5 if is_binary(traffic) else traffic.labels["label"].median()
    hit = _hit(fault) & (pl.col("label") > limit)
    late = pl.when(hit).then(round((fault.size or 0.0) * DAY_US)).otherwise(0)
    labels = traffic.labels.with_columns(pl.col("_label_known_us") + late)
    return evolve(traffic, labels=labels.sort("_label_known_us", maintain_order=True))


def _label_corruption(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Turn labels over by lot; numbers are exchanged among those that are drawn."""
    hit = traffic.labels.select(hit=_hit(fault) & _drawn(traffic, fault))["hit"]
    values = traffic.labels["label"].to_numpy().copy()
    places = np.flatnonzero(hit.to_numpy())
    if is_binary(traffic):
        values[places] = 1.0 - values[places]
    else:
        values[places] = values[np.random.default_rng(fault.seed).permutation(places)]
    return evolve(traffic, labels=traffic.labels.with_columns(pl.Series("label", values)))


INCIDENTS = (
    Incident(
        kind="label_outage",
        cause="label",
        words="no label comes any more; where the outage ends, all come then",
        inject=_label_outage,
        unit="share of the labels",
        size=1.0,
        within="2d",
        rows=1,
        touches={"labels"},
    ),
    Incident(
        kind="biased_label_delay",
        cause="label",
        words="true labels, of numbers those above the median, come days later than the others",
        inject=_biased_label_delay,
        unit="days",
        size=7.0,
        every_row=False,
        within="4d",
        rows=500,
        touches={"labels"},
    ),
    Incident(
        kind="label_corruption",
        cause="label",
        words="labels are turned over at one rate, whatever they are of; numbers are exchanged",
        inject=_label_corruption,
        unit="share of the labels",
        size=0.2,
        every_row=False,
        within="3d",
        rows=1_000,
        by_labels=True,
        touches={"labels"},
    ),
)
