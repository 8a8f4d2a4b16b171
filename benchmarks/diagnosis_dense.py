"""Traffic of ten questions a minute, drawn from a world's own."""

import numpy as np
import polars as pl
from attrs import evolve

from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import Traffic
from charkha.serving.vitals_log import MINUTE_US
from charkha.spec.durations import DAY_US, HOUR_US

A_MINUTE = 10
SEED = 5


def dense(traffic: Traffic, span: Span) -> Traffic:
    """Return ten questions for each minute of a span, each one that was asked on that day about that hour.

    So days are as far apart as they were. Drawn questions have no labels, and are not recomputed; what replicas and
    sources tell is as it was.
    """
    random = np.random.default_rng(SEED)
    asked = traffic.predictions.filter(pl.col("_at_us").is_between(span.since_us, span.until_us, closed="left"))
    asked = asked.sort("_at_us", maintain_order=True)
    at_us = asked["_at_us"].to_numpy()
    drawn, times = [], []
    for hour_us in range(span.since_us, span.until_us, HOUR_US):
        low, high = np.searchsorted(at_us, (hour_us - HOUR_US, hour_us + 2 * HOUR_US))
        if low == high:  # a quiet night: anything of that day
            low, high = np.searchsorted(at_us, (hour_us - DAY_US // 2, hour_us + DAY_US // 2))
        if low < high:
            drawn.append(random.integers(low, high, A_MINUTE * 60))
            times.append(hour_us + np.arange(A_MINUTE * 60) * (MINUTE_US // A_MINUTE))
    rows = asked[np.concatenate(drawn)].with_columns(
        pl.Series("_at_us", np.concatenate(times)), id=pl.format("dense-{}", pl.int_range(pl.len()))
    )
    # Who answers, and how soon, is a lot for each: what is drawn twice does not go to one replica.
    served = asked.select("replica", "latency_us").sample(rows.height, with_replacement=True, seed=SEED)
    rows = rows.with_columns(served)
    return evolve(
        traffic,
        span=span,
        predictions=rows.select(traffic.predictions.columns),
        labels=traffic.labels.clear(),
        recomputed=traffic.recomputed.clear(),
    )
