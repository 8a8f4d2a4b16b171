"""The server is slow, or fails: the numbers it answers are right where it answers."""

from collections.abc import Mapping

import polars as pl
from attrs import evolve

from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import bend_served, hit_rows, lots, replaced
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident

# What the fallback says caused it.
CAUSE = "model_failed"


def _in_span(traffic: Traffic, fault: Fault) -> pl.Expr:
    span = fault.within(traffic.span)
    return pl.col("_minute_us").is_between(span.since_us, span.until_us, closed="left")


def _latency(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    times = fault.size or 1.0

    def slower(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        return {"latency_us": (rows["latency_us"] * times).round(0), "score": rows["score"]}

    bent = bend_served(traffic, hit_rows(traffic, fault, featured=False), rescore, slower)
    slow = [
        pl.when(_in_span(traffic, fault)).then(pl.col(name) * times).otherwise(pl.col(name)).alias(name)
        for name in ("latency_ms_p50", "latency_ms_p95")
    ]
    return evolve(bent, vitals=bent.vitals.with_columns(slow))


def _error_burst(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    share = fault.size or 0.0
    places = hit_rows(traffic, fault, featured=False)
    places = places[lots(traffic.predictions[places], fault.seed, fault.kind) < share]
    count = len(places)
    failed = {
        "role": pl.Series(["fallback"], dtype=pl.String).new_from_index(0, count),
        "fallback": pl.Series([CAUSE], dtype=pl.String).new_from_index(0, count),
        "score": pl.Series([None], dtype=pl.Float64).new_from_index(0, count),
        "decision": pl.Series([None], dtype=pl.Boolean).new_from_index(0, count),
    }
    predictions = replaced(traffic.predictions, places, failed)
    more = pl.when(_in_span(traffic, fault)).then((pl.col("requests") * share).ceil().cast(pl.Int64)).otherwise(0)
    vitals = traffic.vitals.with_columns(pl.col("errors") + more)
    return evolve(traffic, predictions=predictions, vitals=vitals)


INCIDENTS = (
    Incident(
        kind="latency",
        cause="infrastructure",
        words="answers take so many times as long",
        inject=_latency,
        unit="factor",
        size=5.0,
        within="30m",
        rows=50,
        touches={"predictions", "vitals"},
    ),
    Incident(
        kind="error_burst",
        cause="infrastructure",
        words="the model fails on a share of the rows, which the fallback answers",
        inject=_error_burst,
        unit="share of the rows",
        size=0.2,
        every_row=False,
        within="30m",
        rows=50,
        touches={"predictions", "vitals"},
    ),
)
