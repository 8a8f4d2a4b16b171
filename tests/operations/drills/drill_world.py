"""A little traffic with everything in it: two views of two sources, text, numbers, nulls, replicas, labels."""

from datetime import datetime

import numpy as np
import polars as pl
from attrs import evolve, frozen

import charkha as ck
from charkha.bundles.rules import BoolArray
from charkha.clock import parse_time
from charkha.features.plan import FeaturePlan, plan_features
from charkha.features.request import with_request_features
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import ARRIVALS, VITALS, Traffic
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.fields import TIME
from charkha.spec.model import FloatArray, Model

DAYS, PER_DAY = 40, 60
START_US = parse_time("2024-01-01")
SPAN = Span(START_US, START_US + DAYS * DAY_US)
ONSET_US, END_US = START_US + 20 * DAY_US, START_US + 30 * DAY_US

RIDES = ck.Source(
    "rides",
    {"ride": int, "city": str, "km": float, "minutes": float, "asked_at": datetime, "done_at": datetime},
    time="asked_at",
    known="done_at",
)
WEATHER = ck.Source("weather", {"city": str, "temp": float, "sky": str, "at": datetime}, time="at", key=["city", "at"])
CITY = ck.Entity("city")
MODEL: Model = ck.Model(
    "late",
    label=ck.Label(RIDES, pl.col("minutes") > 30, at="asked_at", delay="1d"),
    request=["city", "km"],
    features=[
        ck.FeatureView(
            "traffic",
            CITY,
            RIDES,
            windows=[ck.mean("minutes", over=["1h", "7d"]), ck.sum("km", over="7d"), ck.count(over="1d")],
        ),
        ck.FeatureView("sky", CITY, WEATHER, latest=["temp", "sky"], max_age="12h"),
        ck.RequestFeatures(
            "ride",
            city=pl.col("city"),
            km=pl.col("km"),
            pace=pl.col("km") * pl.col("traffic.mean_minutes_7d"),
            hour=pl.col("asked_at").dt.hour(),
        ),
    ],
    estimator=ck.Linear(),
    purpose="tests",
    owner="tests",
)
PLAN = plan_features(MODEL)


@frozen
class LinearRescore:
    """A model that anybody can compute."""

    plan: FeaturePlan = PLAN

    def __call__(self, rows: pl.DataFrame) -> tuple[FloatArray, BoolArray | None]:
        number = pl.col("ride.km") * 0.1 + pl.col("traffic.mean_minutes_1h") * 0.02 + pl.col("sky.temp") * 0.03
        place = pl.col("ride.city").replace_strict({"Pune": 0.5, "Surat": 0.0}, default=-0.5, return_dtype=pl.Float64)
        logit = rows.select(x=number.fill_null(0.0) + place.fill_null(0.0) - 2.0)["x"].to_numpy()
        scores = 1 / (1 + np.exp(-logit))
        return scores, scores > 0.5


RESCORE = LinearRescore()


def traffic(seed: int = 0, *, regression: bool = False, per_day: int = PER_DAY) -> Traffic:
    """Forty days, sixty questions a day unless given, labels some hours later."""
    random, n = np.random.default_rng(seed), DAYS * per_day
    at_us = np.sort(random.integers(SPAN.since_us, SPAN.until_us, n))
    temp = np.where(random.random(n) < 0.1, np.nan, random.normal(20, 5, n))
    rows = pl.DataFrame(
        {
            "id": [f"q{number}" for number in range(n)],
            "_at_us": at_us,
            "version": "v1",
            "role": "champion",
            "replica": [f"web-{number}" for number in random.integers(0, 3, n)],
            "bundle": "b" * 64,
            "score": 0.0,
            "decision": False,
            "fallback": pl.Series([None] * n, dtype=pl.String),
            "latency_us": random.integers(500, 3000, n),
            "features_logged": True,
            "request.city": random.choice(["Pune", "Surat", "Agra"], n, p=[0.5, 0.3, 0.2]),
            "request.km": random.uniform(1, 20, n),
            "traffic.mean_minutes_1h": random.normal(25, 5, n),
            "traffic.mean_minutes_7d": random.normal(25, 1, n),
            "traffic.sum_km_7d": random.normal(4000, 100, n),
            "traffic.count_1d": random.integers(10, 30, n).astype(float),
            "sky.temp": pl.Series(temp, nan_to_null=True),
            "sky.sky": random.choice(["clear", "rain"], n),
            "age.traffic": random.uniform(10, 3000, n),
            "age.sky": random.uniform(10, 7000, n),
        }
    )
    asked = rows.with_columns(rows["_at_us"].cast(TIME).alias("asked_at"), city="request.city", km="request.km")
    made = with_request_features(PLAN, asked).select(
        "ride.city", "ride.km", "ride.pace", pl.col("ride.hour").cast(float)
    )
    rows = rows.hstack(made)
    scores, decisions = RESCORE(rows)
    rows = rows.with_columns(pl.Series("score", scores), pl.Series("decision", decisions))
    truth = scores + random.normal(0, 0.1, n) if regression else (random.random(n) < scores).astype(float)
    known_us = at_us + random.integers(HOUR_US, 20 * HOUR_US, n)
    features = [name for name in rows.columns if "." in name and not name.startswith(("request.", "age."))]
    return Traffic(
        model="late",
        span=SPAN,
        predictions=rows,
        labels=pl.DataFrame({"id": rows["id"], "label": truth, "_label_known_us": known_us}).sort("_label_known_us"),
        arrivals=_arrivals(),
        vitals=_vitals(),
        recomputed=rows.select("id", "version", *features).sample(n // 5, seed=seed),
    )


def with_shadow(healthy: Traffic) -> Traffic:
    """The same, each question scored by a second version that is not heard."""
    unheard = healthy.predictions.with_columns(version=pl.lit("v2"), role=pl.lit("shadow"), score=pl.col("score") / 2)
    return evolve(healthy, predictions=pl.concat([healthy.predictions, unheard]).sort("_at_us", maintain_order=True))


def _arrivals() -> pl.DataFrame:
    hours = pl.DataFrame({"_hour_us": range(SPAN.since_us, SPAN.until_us, HOUR_US)})
    each = hours.with_columns(rows=pl.lit(5), late_s=pl.lit(600.0), duplicates=pl.lit(0))
    frames = [each.with_columns(source=pl.lit(name)) for name in ("rides", "weather")]
    return pl.concat(frames).select(pl.col(name).cast(kind) for name, kind in ARRIVALS.items())


def _vitals() -> pl.DataFrame:
    hours = pl.DataFrame({"_minute_us": range(SPAN.since_us, SPAN.until_us, HOUR_US)})
    quiet = {"requests": 9, "errors": 0, "sheds": 0, "timeouts": 0, "clock_ahead_us": 0}
    each = hours.with_columns(
        *(pl.lit(value).alias(name) for name, value in quiet.items()),
        latency_ms_p50=pl.lit(1.0),
        latency_ms_p95=pl.lit(3.0),
    )
    frames = [each.with_columns(replica=pl.lit(f"web-{number}")) for number in range(3)]
    return pl.concat(frames).select(pl.col(name).cast(kind) for name, kind in VITALS.items())
