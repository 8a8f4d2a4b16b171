"""The project whose server is fuzzed: every kind of field, events that are pushed and held to a contract, a model."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
from processes import charkha, run_well

from charkha.spec.project import Project, load_project

ROWS = 3000
SETTINGS = '[project]\nname = "rides"\n'
DEFINITION = """
from datetime import datetime

import polars as pl

import charkha as ck

rides = ck.Source(
    "rides",
    {
        "ride": int, "city": str, "km": float, "stops": int, "pooled": bool, "wanted_at": datetime,
        "booked_at": datetime, "ended_at": datetime, "late": bool,
    },
    ck.parquet("rides.parquet"),
    time="ended_at",
    key="ride",
    contract=ck.Contract(fields={"km": ck.Expect(low=0, high=1000)}),
)
late = ck.Model(
    "late",
    label=ck.Label(rides, pl.col("late"), at="booked_at", delay="1h"),
    request=["city", "km", "stops", "pooled", "wanted_at"],
    features=[
        ck.FeatureView("traffic", ck.Entity("city"), rides, windows=[ck.count(over="1d"), ck.mean("km", over="7d")]),
        ck.RequestFeatures("ask", per_stop=pl.col("km") / pl.col("stops"), hour=pl.col("wanted_at").dt.hour()),
    ],
    estimator=ck.LightGBM(trees=20, leaves=7, early_stopping=None),
    gates=[],
    purpose="to be fuzzed", owner="benchmark",
)
"""


def make_rides(folder: Path, log: Path, seed: int) -> Project:
    """Make the project in a new folder, and train its model."""
    folder.mkdir(exist_ok=True)
    (folder / "charkha.toml").write_text(SETTINGS)
    (folder / "definition.py").write_text(DEFINITION)
    dice = np.random.default_rng(seed)
    kms = dice.gamma(2.0, 4.0, ROWS)
    ended = pl.datetime_range(pl.datetime(2026, 1, 1), pl.datetime(2026, 3, 31), interval="30m", eager=True)[:ROWS]
    frame = pl.DataFrame(
        {
            "ride": np.arange(len(ended)),
            "city": dice.choice(["Pune", "Delhi", "Goa"], len(ended)),
            "km": kms[: len(ended)],
            "stops": dice.integers(0, 5, len(ended)),
            "pooled": dice.random(len(ended)) < 0.3,
            "wanted_at": ended - timedelta(hours=1),
            "booked_at": ended - timedelta(hours=2),
            "ended_at": ended,
            "late": dice.random(len(ended)) < kms[: len(ended)] / 30,
        }
    )
    frame.write_parquet(folder / "rides.parquet")
    run_well(charkha("--project", folder, "train"), log, timeout_seconds=300.0)
    return load_project(folder)
