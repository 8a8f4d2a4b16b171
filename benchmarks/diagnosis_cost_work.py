"""What a look at features costs us: run by `features_child`, each function in a process of its own.

The data are those of a model of thirty numbers, which go together and of which a few moved, and five texts.
"""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from attrs import evolve
from features_child import cpu_seconds

from charkha.bundles.profile import ProfileShape
from charkha.features.plan import FeaturePlan
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.features import FeatureView, feature_signals
from charkha.monitoring.performance import Span
from charkha.monitoring.tiles import tiles_of
from charkha.monitoring.traffic import PREDICTIONS, empty_traffic
from charkha.serving.prediction_frames import FEATURES_LOGGED, with_features
from charkha.spec.durations import DAY_US
from charkha.spec.model import FloatArray

START_US = 20_000 * DAY_US
HEALTHY_DAYS, WATCHED_DAYS = 28, 7
HEALTHY = Span(START_US, START_US + HEALTHY_DAYS * DAY_US)
WATCHED = Span(HEALTHY.until_us, HEALTHY.until_us + WATCHED_DAYS * DAY_US)
NUMBERS = tuple(f"made.number{place}" for place in range(30))
TEXTS = {"made.text0": 3, "made.text1": 10, "made.text2": 30, "made.text3": 100, "made.text4": 300}
FEATURES = (*NUMBERS, *TEXTS)
# By how many standard deviations the first numbers are off in the watched time.
MOVED = (0.05, 0.1, 0.25, 0.5, 1.0)
SEED = 17


def make(folder: str, reference: int, current: int) -> dict[str, float]:
    """Write reference.parquet and current.parquet: the features, `score`, and `_at_us` in order."""
    random = np.random.default_rng(SEED)
    Path(folder).mkdir()
    for name, rows, span, moved in (("reference", reference, HEALTHY, ()), ("current", current, WATCHED, MOVED)):
        _rows(random, rows, span, moved).write_parquet(Path(folder) / f"{name}.parquet")
    return {}


def _rows(random: np.random.Generator, rows: int, span: Span, moved: tuple[float, ...]) -> pl.DataFrame:
    common = random.standard_normal(rows)
    numbers = {name: _number(random, common, place, moved) for place, name in enumerate(NUMBERS)}
    texts = {name: _text(random, rows, kinds) for name, kinds in TEXTS.items()}
    at_us = np.sort(random.integers(span.since_us, span.until_us, rows))
    return pl.DataFrame({"_at_us": at_us, **numbers, **texts, "score": 1 / (1 + np.exp(2 - common))})


def _number(random: np.random.Generator, common: FloatArray, place: int, moved: tuple[float, ...]) -> FloatArray:
    """Return a number of each row: one in three is continuous, one skewed, one of whole values."""
    values = 0.5 * common + random.standard_normal(len(common)) + (moved[place] if place < len(moved) else 0.0)
    forms: tuple[Callable[[FloatArray], FloatArray], ...] = (np.asarray, np.exp, lambda each: np.round(10 * each))
    return forms[place % len(forms)](values)


def _text(random: np.random.Generator, rows: int, kinds: int) -> pl.Series:
    """Return texts whose shares fall as 1/rank."""
    shares = 1 / np.arange(1, kinds + 1)
    names = pl.Series([f"kind {number}" for number in range(kinds)])
    return names.gather(random.choice(kinds, rows, p=shares / shares.sum()))


def from_rows(folder: str) -> dict[str, float]:
    """Make the profiles of all rows and check the features of the watched ones, as `charkha diagnose` does."""
    case = _case(_read(folder))

    def check() -> None:
        feature_signals(case, FeatureView.of(case))

    return {"cpu_seconds": cpu_seconds(check)}


def keep(folder: str) -> dict[str, float]:
    """Write the profiles of all rows, as they are kept: tiles.parquet, and the shape they are of."""
    case = _case(_read(folder))
    shape = FeatureView.of(case).shape
    tiles = tiles_of(shape, "v1", with_features(case.traffic.predictions))
    tiles.write_parquet(Path(folder) / "tiles.parquet")
    (Path(folder) / "shape.json").write_bytes(msgspec.json.encode(shape))
    return {"tiles": tiles.height}


def from_profiles(folder: str) -> dict[str, float]:
    """Check the same from profiles that are kept; seconds of the clock and of processors, from the table to signals."""
    case, path = _case(_read(folder)), Path(folder) / "tiles.parquet"
    shape = msgspec.json.decode((Path(folder) / "shape.json").read_bytes(), type=ProfileShape)
    began, spent = time.perf_counter(), time.process_time()
    feature_signals(case, FeatureView.of_tiles(shape, pl.read_parquet(path)))
    return {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - spent}


def _read(folder: str) -> pl.DataFrame:
    both = pl.concat([pl.read_parquet(Path(folder) / f"{name}.parquet") for name in ("reference", "current")])
    told = {"version": "v1", "role": "champion", "replica": "replica-0", FEATURES_LOGGED: True}
    missing = {name: kind for name, kind in PREDICTIONS.items() if name not in both.columns}
    return both.with_columns(pl.lit(told.get(name), kind).alias(name) for name, kind in missing.items())


def _case(rows: pl.DataFrame) -> Case:
    span = Span(HEALTHY.since_us, WATCHED.until_us)
    kinds = {name: rows.schema[name] for name in FEATURES}
    nothing = empty_traffic("made", span, features=kinds, request={}, views=[])
    return Case(
        traffic=evolve(nothing, predictions=rows.select(nothing.predictions.columns)),
        healthy=HEALTHY,
        watched=WATCHED,
        task="binary",
        plan=FeaturePlan((), {}, "at", {}, FEATURES),
    )
