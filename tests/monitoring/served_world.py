"""Twenty-four quiet days of a model with two views and three replicas, and the case of its last three days."""

from collections.abc import Callable
from datetime import datetime

import numpy as np
import polars as pl
from attrs import evolve, frozen

import charkha as ck
from charkha.bundles.rules import BoolArray
from charkha.clock import parse_time
from charkha.features.plan import FeaturePlan, plan_features
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.budget import Budget
from charkha.monitoring.traffic import ARRIVALS, LABELS, VITALS, Traffic
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import FloatArray, Model

MINUTE_US = 60_000_000
START_US = parse_time("2024-01-01")
HEALTHY = Span(START_US, START_US + 21 * DAY_US)
WATCHED = Span(HEALTHY.until_us, HEALTHY.until_us + 3 * DAY_US)
ONSET_US = WATCHED.since_us + 30 * HOUR_US
REPLICAS = ("web-0", "web-1", "web-2")

RIDES = ck.Source("rides", {"city": str, "km": float, "minutes": float, "asked_at": datetime}, time="asked_at")
WEATHER = ck.Source("weather", {"city": str, "temp": float, "at": datetime}, time="at")
MODEL: Model = ck.Model(
    "late",
    label=ck.Label(RIDES, pl.col("minutes") > 30, at="asked_at", delay="1d"),
    request=["city", "km"],
    features=[
        ck.FeatureView("traffic", ck.Entity("city"), RIDES, windows=[ck.mean("minutes", over=["1h", "7d"])]),
        ck.FeatureView("sky", ck.Entity("city"), WEATHER, latest=["temp"]),
        ck.RequestFeatures("ride", km=pl.col("km"), pace=pl.col("km") * pl.col("traffic.mean_minutes_1h")),
    ],
    estimator=ck.Linear(),
    purpose="tests",
    owner="tests",
)
PLAN = plan_features(MODEL)
FEATURES = ("traffic.mean_minutes_1h", "traffic.mean_minutes_7d", "sky.temp", "ride.km", "ride.pace")


@frozen
class PlainRescore:
    """A model that anybody can compute."""

    plan: FeaturePlan = PLAN

    def __call__(self, rows: pl.DataFrame) -> tuple[FloatArray, BoolArray | None]:
        score = pl.col("ride.km") * 0.01 + pl.col("traffic.mean_minutes_1h") * 0.005
        return rows.select(score=score)["score"].to_numpy(), None


def quiet(seed: int = 0) -> Traffic:
    """Return what was served while nothing was wrong: thirty questions an hour."""
    random, span = np.random.default_rng(seed), Span(HEALTHY.since_us, WATCHED.until_us)
    n = 24 * 24 * 30
    at_us = np.sort(random.integers(span.since_us, span.until_us, n))
    city = random.integers(0, 6, n)
    temp = np.where(random.random(n) < 0.1, np.nan, random.normal(20, 5, n))
    hour = random.normal(25, 3, (24 * 24, 6))[(at_us - span.since_us) // HOUR_US, city]
    rows = pl.DataFrame(
        {
            "id": [f"q{number}" for number in range(n)],
            "_at_us": at_us,
            "version": "v1",
            "role": "champion",
            "replica": random.choice(REPLICAS, n),
            "bundle": "b" * 64,
            "score": 0.0,
            "decision": pl.Series([None] * n, dtype=pl.Boolean),
            "fallback": pl.Series([None] * n, dtype=pl.String),
            "latency_us": random.lognormal(7.5, 0.3, n).astype(np.int64),
            "features_logged": True,
            "request.city": [f"c{each}" for each in city],
            "request.km": random.uniform(1, 20, n),
            "traffic.mean_minutes_1h": hour,
            "traffic.mean_minutes_7d": random.normal(25, 1, n),
            "sky.temp": pl.Series(temp, nan_to_null=True),
            "age.traffic": random.uniform(10, 3000, n),
            "age.sky": random.uniform(10, 7000, n),
        }
    )
    rows = rows.with_columns(
        **{"ride.km": rows["request.km"], "ride.pace": rows["request.km"] * rows["traffic.mean_minutes_1h"]}
    )
    rows = rows.with_columns(pl.Series("score", PlainRescore()(rows)[0]))
    return Traffic(
        model="late",
        span=span,
        predictions=rows,
        labels=pl.DataFrame(schema=LABELS),
        arrivals=_arrivals(random, span),
        vitals=_vitals(random, span),
        recomputed=rows.select("id", "version", *FEATURES).sample(n // 5, seed=seed),
    )


def case_of(traffic: Traffic) -> Case:
    """Return the case of some traffic."""
    return Case(
        traffic=traffic,
        healthy=HEALTHY,
        watched=WATCHED,
        task="binary",
        plan=PLAN,
        registered={"v1": "b" * 64},
        rescore=PlainRescore(),
        budget=Budget(checks=100),
    )


def served_otherwise(traffic: Traffic, where: pl.Expr | None = None, **columns: pl.Expr) -> Traffic:
    """Return traffic with other values in some columns of predictions since the onset."""
    hit = (pl.col("_at_us") >= ONSET_US) & (pl.lit(value=True) if where is None else where)
    changed = [pl.when(hit).then(each).otherwise(pl.col(name)).alias(name) for name, each in columns.items()]
    return evolve(traffic, predictions=traffic.predictions.with_columns(changed))


def told_otherwise(frame: pl.DataFrame, time: str, where: pl.Expr | None = None, **columns: pl.Expr) -> pl.DataFrame:
    """Return arrivals or vitals with other values since the onset."""
    hit = (pl.col(time) >= ONSET_US) & (pl.lit(value=True) if where is None else where)
    return frame.with_columns(
        pl.when(hit).then(each).otherwise(pl.col(name)).cast(frame.schema[name]).alias(name)
        for name, each in columns.items()
    )


def found(signals: Callable[[Case], list[Signal]], traffic: Traffic) -> dict[tuple[str, str], Signal]:
    """Return what a family of checks finds, by check and subject."""
    return {(signal.check, signal.subject): signal for signal in signals(case_of(traffic))}


def _arrivals(random: np.random.Generator, span: Span) -> pl.DataFrame:
    hours = np.arange(span.since_us, span.until_us, HOUR_US)
    frames = [
        pl.DataFrame(
            {
                "source": [name] * len(hours),
                "_hour_us": hours,
                "rows": random.poisson(40, len(hours)),
                "late_s": random.normal(600, 30, len(hours)),
                "duplicates": np.zeros(len(hours), np.int64),
            }
        )
        for name in ("rides", "weather")
    ]
    return pl.concat(frames).select(pl.col(name).cast(kind) for name, kind in ARRIVALS.items())


def _vitals(random: np.random.Generator, span: Span) -> pl.DataFrame:
    minutes = np.arange(span.since_us, span.until_us, 10 * MINUTE_US)
    frames = [
        pl.DataFrame(
            {
                "_minute_us": minutes,
                "replica": [name] * len(minutes),
                "requests": random.poisson(2, len(minutes)),
                **{name: np.zeros(len(minutes), np.int64) for name in ("errors", "sheds", "timeouts")},
                "latency_ms_p50": np.ones(len(minutes)),
                "latency_ms_p95": np.full(len(minutes), 3.0),
                "clock_ahead_us": random.normal(0, 2000, len(minutes)).astype(np.int64),
            }
        )
        for name in REPLICAS
    ]
    return pl.concat(frames).select(pl.col(name).cast(kind) for name, kind in VITALS.items())
