"""Rows known at the very time of the prediction that is asked for them are said, and a lag keeps them apart."""

from pathlib import Path

import attrs
import pytest
from small_world import LATE, TRIPS, dataset_of, trips, write_trips

import charkha as ck
from charkha.spec.checks.sources import source_faults


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The trips, and beside them what was known of each when it was asked for, with the same time."""
    asked = trips().select("trip", "driver", "asked_at", "km")
    asked.write_parquet(tmp_path / "asked.parquet")
    return write_trips(tmp_path)


def model(lag: str | None = None) -> ck.Model:
    fields = {name: TRIPS.fields[name] for name in ("trip", "driver", "asked_at", "km")}
    asked = ck.Source("asked", fields, ck.parquet("asked.parquet"), time="asked_at", key="trip", lag=lag)
    habit = ck.FeatureView("habit", ck.Entity("driver"), asked, windows=[ck.count(over="10m")])
    return attrs.evolve(LATE, features=[*LATE.features, habit])


def test_a_source_whose_rows_are_known_when_they_are_asked_about_is_said(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert dataset_of(model(), root).features["habit.count_10m"].to_numpy().min() == 1
    assert "occasions, a row of source asked became known at the very time of the prediction" in caplog.text
    assert "source trips" not in caplog.text


def test_with_a_lag_it_is_not(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert dataset_of(model("1s"), root).features["habit.count_10m"].to_numpy().min() == 0
    assert caplog.text == ""


def test_a_lag_is_a_duration_of_a_source_with_time() -> None:
    assert [fault.where for fault in source_faults(attrs.evolve(TRIPS, lag="soon"))] == ["source 'trips', lag"]
    static = ck.Source("cities", {"city": str}, ck.csv("cities.csv"), time=None, static=True, lag="1s")
    assert "a static one" in [fault.found for fault in source_faults(static)]
