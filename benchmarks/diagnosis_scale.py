"""A look at millions of predictions: python benchmarks/diagnosis_scale.py [ROWS]; minutes. Not one of the claims.

A home is written as `collect` leaves it: parts of fifty thousand predictions with ten features over 35 days, a label
each, and the profiles of ten minutes. Then, in a process of its own each, what `charkha diagnose` does from there is
timed: reading, and every check. Recomputing a sample and scoring it again are left out: they are of 2,000 rows always.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from attrs import evolve, frozen
from diagnosis_cost_work import FEATURES, HEALTHY, MOVED, SEED, WATCHED, _rows

import charkha as ck
from charkha.bundles.profile import ProfileShape, learn_shape
from charkha.features.plan import plan_features
from charkha.monitoring.collect import FULL_PART_ROWS, labels_table, predictions_table, profiles_table
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.parts import Part, day_of
from charkha.monitoring.performance import Span
from charkha.monitoring.recorded import read_traffic
from charkha.monitoring.tiles import tiles_of
from charkha.serving.prediction_ids import unpack_ids
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import Model
from charkha.storage.home import Home, open_home

NAME, VERSION = "made", "v0001"
KEPT = (*FEATURES[:8], "made.text0", "made.text2")
SPAN = Span(HEALTHY.since_us, WATCHED.until_us)


def write(folder: Path, rows: int) -> None:
    """Write the tables of a home, and the shape that its profiles are of."""
    random, days = np.random.default_rng(SEED), (SPAN.until_us - SPAN.since_us) // DAY_US
    with open_home(folder) as home:
        shape: ProfileShape | None = None
        for day in range(days):
            of_day = Span(SPAN.since_us + day * DAY_US, SPAN.since_us + (day + 1) * DAY_US)
            made = _served(random, rows // days, of_day)
            shape = shape or learn_shape(made.select(KEPT), made["score"].to_numpy())
            for start in range(0, made.height, FULL_PART_ROWS):
                part = made.slice(start, FULL_PART_ROWS)
                name = Part(day_of(of_day.since_us), "web-0", day * 10**9 + start, day * 10**9 + start + 1).name
                home.tables.write(predictions_table(NAME), name, part)
                home.tables.write(profiles_table(NAME), name, tiles_of(shape, VERSION, part))
                home.tables.write(labels_table(NAME), name, _labels(random, part))
        asked = {"id": pl.Int64(), "x": pl.Float64(), "y": pl.Boolean(), "at": pl.Datetime("us", "UTC")}
        pl.DataFrame(schema=asked).write_parquet(folder / "asked.parquet")
        (folder / "shape.json").write_bytes(msgspec.json.encode(shape))


def _served(random: np.random.Generator, rows: int, span: Span) -> pl.DataFrame:
    made = _rows(random, rows, span, MOVED if span.since_us >= WATCHED.since_us else ())
    at_us = made["_at_us"].to_numpy()
    high = (at_us // 1000 << 16 | 7 << 12 | at_us % 1000 * 4096 // 1000).astype(">u8")
    low = (random.integers(0, 1 << 61, rows) + (2 << 61) + (1 << 61)).astype(">u8")
    return made.select("_at_us", *KEPT, "score").with_columns(
        pl.Series("id", unpack_ids(np.stack([high, low], axis=1).tobytes())),
        pl.Series("latency_us", random.integers(500, 3000, rows)),
        pl.Series("replica", [f"web-{each}" for each in range(3)])[random.integers(0, 3, rows)],
        pl.lit(VERSION).alias("version"),
        pl.lit("champion").alias("role"),
        pl.lit(None, pl.String).alias("fallback"),
        pl.lit("b" * 64).alias("bundle"),
        decision=pl.col("score") > 0.5,
        rules=pl.lit([], pl.List(pl.String)),
        _seen_us=pl.col("_at_us"),
        features_logged=True,
    )


def _labels(random: np.random.Generator, rows: pl.DataFrame) -> pl.DataFrame:
    known = rows["_at_us"] + random.integers(HOUR_US, 20 * HOUR_US, rows.height)
    label = (random.random(rows.height) < rows["score"].to_numpy()).astype(float)
    return rows.select("id", label=pl.Series(label), _label_known_us=known)


@frozen
class _Manifest:
    shape: ProfileShape


@frozen
class _Bundles:
    """What is read of the bundles of this home."""

    shape: ProfileShape

    def manifest(self, model: str, version: str) -> _Manifest:
        return _Manifest(self.shape)


def look(folder: Path, *, profiles: bool) -> dict[str, object]:
    """Read and diagnose; seconds of each."""
    asked = {"id": int, "x": float, "y": bool, "at": datetime}
    model = _model(ck.Source("asked", asked, ck.parquet("asked.parquet"), time="at", key="id"))
    shape = msgspec.json.decode((folder / "shape.json").read_bytes(), type=ProfileShape)
    with open_home(folder) as home:
        began = time.perf_counter()
        case = _case(home, model, shape, folder, profiles=profiles)
        read = time.perf_counter()
        found = diagnose(case)
        ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "read_s": read - began,
        "check_s": ended - read,
        "peak_MiB": round(peak),
        "looked_at": case.traffic.predictions.height,
        "found": found.headline,
    }


def _model(source: ck.Source) -> Model:
    features: dict[str, Any] = {name.removeprefix("made."): pl.col("x") for name in KEPT}
    return ck.Model(
        NAME,
        label=ck.Label(source, pl.col("y"), at="at", delay="1d"),
        request=["x"],
        features=[ck.RequestFeatures("made", **features)],
        estimator=ck.Linear(),
        purpose="benchmark",
        owner="benchmark",
    )


def _case(home: Home, model: Model, shape: ProfileShape, folder: Path, *, profiles: bool) -> Case:
    traffic = read_traffic(home, model, SPAN, SPAN.until_us, root=folder, sample=0)
    case = Case(traffic=traffic, healthy=HEALTHY, watched=WATCHED, task="binary", plan=plan_features(model))
    if not profiles:
        return case
    from charkha.monitoring.kept import kept_tiles

    kinds = {name: traffic.predictions.schema[name] for name in traffic.features}
    return evolve(case, kept=kept_tiles(home, NAME, _Bundles(shape), SPAN, features=kinds))  # type: ignore[arg-type]


def main() -> None:
    """Write a home and look at it from rows and from profiles; or, in a child, do one of these."""
    if sys.argv[1:2] == ["--look"]:
        print(json.dumps(look(Path(sys.argv[2]), profiles=sys.argv[3] == "profiles")))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), rows)
        for way in ("rows", "profiles"):
            subprocess.run([sys.executable, __file__, "--look", folder, way], check=True)


if __name__ == "__main__":
    main()
