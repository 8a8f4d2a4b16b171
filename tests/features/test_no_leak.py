"""Nothing from the future: a feature that would give the label away by event time knows nothing by known time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

import charkha as ck
from charkha.bundles.predictor import load_predictor
from charkha.engines.local import LocalEngine
from charkha.features.offline import offline_features
from charkha.features.plan import plan_features
from charkha.features.rows import read_rows
from charkha.features.spine import label_spine
from charkha.spec.model import Lesson
from charkha.training.split import split_by_time

TRIPS = 4000
FIELDS = {"trip": int, "driver": str, "asked_at": datetime, "ended_at": datetime, "distance": float, "late": bool}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Any:
    """Trips whose outcome is a coin's; each is asked about when it begins, and its end is known an hour later."""
    folder, random = tmp_path_factory.mktemp("trips"), np.random.default_rng(3)
    asked = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=10 * trip) for trip in range(TRIPS)]
    pl.DataFrame(
        {
            "trip": np.arange(TRIPS),
            "driver": [f"d{driver}" for driver in random.integers(0, TRIPS, TRIPS)],
            "asked_at": asked,
            "ended_at": [moment + timedelta(hours=1) for moment in asked],
            "distance": random.normal(size=TRIPS),
            "late": random.random(TRIPS) < 0.3,
        }
    ).write_parquet(folder / "trips.parquet")
    return folder


def model(known: str) -> ck.Model:
    """A definition whose view reads the trip's own outcome, under one idea of when that was known."""
    trips = ck.Source("trips", FIELDS, ck.parquet("trips.parquet"), time="asked_at", known=known, key=["trip"])
    own = ck.FeatureView("own", ck.Entity("trip"), trips, windows=[ck.max("late", over="1h")], latest=["late"])
    return ck.Model(
        "late",
        label=ck.Label(trips, pl.col("late"), at="asked_at", known="ended_at", delay="2h"),
        request=["trip", "driver", "distance"],
        features=[own, ck.RequestFeatures("trip", distance=pl.col("distance"))],
        estimator=ck.LightGBM(trees=50, leaves=7),
        split=ck.Split(validation="3d", test="7d"),
        purpose="a test",
        owner="tests",
    )


def features_and_spine(folder: Any, known: Any) -> Any:
    definition = model(known)
    rows = read_rows(definition.label.source, folder)
    spine = label_spine(definition.label, definition.request, rows)
    return offline_features(plan_features(definition), spine, {"trips": rows}, LocalEngine()), spine


def test_by_event_time_the_feature_would_be_the_label(folder: Any) -> None:
    features, spine = features_and_spine(folder, "asked_at")
    assert features["own.late"].cast(pl.Float64).equals(spine["_label"])


def test_by_known_time_it_knows_nothing(folder: Any) -> None:
    features, _ = features_and_spine(folder, "ended_at")
    assert features["own.late"].null_count() == TRIPS
    assert features["own.max_late_1h"].null_count() == TRIPS


def test_a_model_with_it_is_as_blind_as_the_coin(folder: Any) -> None:
    features, spine = features_and_spine(folder, "ended_at")
    definition = model("ended_at")
    as_of_us = int(spine["_label_known_us"].max())
    parts = split_by_time(
        spine["_at_us"].to_numpy(), spine["_label_known_us"].to_numpy(), definition.split, 2 * 3_600_000_000, as_of_us
    )
    matrix = features.select(pl.all().cast(pl.Float64)).fill_null(float("nan")).to_numpy()
    labels = spine["_label"].to_numpy()
    state = definition.estimator.fit(
        Lesson(
            "binary",
            (matrix[parts.train], labels[parts.train]),
            (matrix[parts.validation], labels[parts.validation]),
            (),
            7,
        )
    )
    scores = load_predictor("lightgbm", state).predict(matrix[parts.test])
    assert abs(roc_auc_score(labels[parts.test], scores) - 0.5) < 0.06


def test_a_definition_that_leaks_is_refused_before_any_data_is_read() -> None:
    from charkha.spec.check import check

    faults = [str(fault) for fault in check([model("asked_at")])]
    assert any("late" in fault and "ended_at" in fault and "asked_at" in fault for fault in faults), faults
