"""Sixty days of trips, some of which arrive late: small enough to train on in a blink, real enough to learn from."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import polars as pl

import charkha as ck
from charkha.bundles.estimators import Linear
from charkha.clock import parse_time, to_micros
from charkha.engines.local import LocalEngine
from charkha.features.reading import opened_readings
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.training.dataset import Dataset, build_dataset, sources_of
from charkha.training.pipeline import Order, dataset_and_parts
from charkha.training.split import BEGINNING, Parts

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF = parse_time("2024-03-01")

TRIPS = ck.Source(
    "trips",
    {"trip": str, "driver": str, "city": str, "asked_at": datetime, "done_at": datetime, "km": float, "late_by": float},
    ck.parquet("data/trips/*.parquet"),
    time="asked_at",
    known="done_at",
    key=["trip"],
)
HABITS = ck.FeatureView(
    "habits",
    ck.Entity("driver"),
    TRIPS,
    windows=[ck.mean("late_by", over=["6h", "7d"]), ck.count(over="7d")],
    latest=["late_by"],
)
LATE = Model(
    "late",
    label=ck.Label(TRIPS, pl.col("late_by") > 5, at="asked_at", delay="1d"),
    request=["driver", "city", "km"],
    features=[HABITS, ck.RequestFeatures("trip", km=pl.col("km"), city=pl.col("city"))],
    estimator=Linear(),
    split=ck.Split(validation="12d", test="12d"),
    calibrate="sigmoid",
    costs=ck.Costs(false_negative=3),
    slices=["city"],
    gates=[ck.beats_trivial("log_loss"), ck.beats_champion("log_loss"), ck.at_least("roc_auc", 0.6)],
    rules=[ck.Rule("far", pl.col("km") > 19), ck.Rule("sure", ck.score() > 0.9, shadow=True)],
    purpose="operations",
    owner="dispatch",
)
MINUTES = attrs.evolve(
    LATE,
    name="minutes",
    label=ck.Label(TRIPS, pl.col("late_by"), at="asked_at", delay="1d"),
    task="regression",
    calibrate=None,
    metrics=["mae", "rmse", "r2"],
    gates=[ck.beats_trivial("mae"), ck.beats_rules("rmse")],
)


def trips(n: int = 3000, seed: int = 0, days: float = 60) -> pl.DataFrame:
    """Trips in the order they were asked for: late when far, when the driver often is, and by luck."""
    rng = np.random.default_rng(seed)
    asked = np.sort(rng.uniform(0, days * 86_400, n)).round().astype(int)
    driver, km = rng.integers(0, 20, n), rng.uniform(1, 20, n)
    late_by = (km - 10) * 0.8 + (driver - 10) * 0.6 + rng.normal(0, 4, n) + 3
    took = rng.uniform(600, 7200, n).round().astype(int)
    return pl.DataFrame(
        {
            "trip": [f"t{seed}-{i}" for i in range(n)],
            "driver": [f"d{i}" for i in driver],
            "city": [("Pune", "Surat", "Agra")[i % 3] for i in driver],
            "asked_at": [BEGIN + timedelta(seconds=int(s)) for s in asked],
            "done_at": [BEGIN + timedelta(seconds=int(s)) for s in asked + took],
            "km": km,
            "late_by": late_by,
        }
    )


def write_trips(root: Path, frame: pl.DataFrame | None = None) -> Path:
    """Write trips as a project's data and return its folder."""
    (root / "data/trips").mkdir(parents=True, exist_ok=True)
    (trips() if frame is None else frame).write_parquet(root / "data/trips/all.parquet")
    return root


FIRST_US = to_micros(BEGIN)


def dataset_of(
    model: Model, root: Path, as_of_us: int = AS_OF, *, since_us: int = BEGINNING, threads: int = 2, **bounds: Any
) -> Dataset:
    """The dataset of a model, its sources read within bounds."""
    sources = attrs.evolve(sources_of(model, root, None), **bounds)
    with opened_readings(sources, model.views, LocalEngine(threads)) as readings:
        return build_dataset(model, readings, as_of_us, since_us=since_us)


def order_dataset(order: Order, home: Home) -> tuple[Dataset, Parts]:
    """The dataset of an order, and its parts."""
    with opened_readings(sources_of(order.model, order.root, home.log), order.model.views) as readings:
        return dataset_and_parts(order, readings)
