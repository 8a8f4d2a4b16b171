"""A world is what production would have logged: healthy, in the order of time, nothing of it from the future."""

import importlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from charkha.clock import parse_time
from charkha.engines.local import LocalEngine
from charkha.features.offline import offline_features
from charkha.features.rows import read_rows

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("diagnosis_worlds")


@pytest.mark.slow
def test_the_loans_are_served_as_they_would_have_been(worlds: Any, tmp_path: Path) -> None:
    made = worlds.world("loans", tmp_path)
    traffic, rows = made.traffic, made.traffic.predictions
    assert rows["_at_us"].is_sorted()
    assert rows["_at_us"].is_between(traffic.span.since_us, traffic.span.until_us, closed="left").all()
    assert made.training["_at_us"].max() < parse_time("2004-10-15") == traffic.span.since_us
    known = traffic.labels.join(rows.select("id", "_at_us"), on="id")
    assert (known["_label_known_us"] > known["_at_us"]).all()
    scores, decisions = made.rescore(rows)
    assert scores.tolist() == rows["score"].to_list()
    assert decisions.tolist() == rows["decision"].to_list()
    served = traffic.recomputed.select("id").join(rows, on="id", how="left", maintain_order="left")
    assert_frame_equal(served.select(traffic.recomputed.columns), traffic.recomputed)
    _features_are_those_of_the_kernel(made, worlds.WORLDS["loans"].folder)
    _a_cached_world_is_the_same(worlds, tmp_path, made)


def _features_are_those_of_the_kernel(made: Any, folder: Path) -> None:
    some = made.traffic.predictions.gather_every(500)
    plan = made.rescore.plan
    asked = some.select("_at_us", **{name: pl.col(f"request.{name}") for name in plan.request})
    rows = {source.name: read_rows(source, folder) for source in made.definition.sources}
    again = offline_features(plan, asked, rows, LocalEngine(1))
    numbers = [name for name in made.traffic.features if some.schema[name] == pl.Float64()]
    assert_frame_equal(some.select(numbers), again.select(pl.col(numbers).cast(pl.Float64).fill_nan(None)))
    for view in made.definition.views:
        ages = made.traffic.predictions[f"age.{view.name}"].drop_nulls()
        assert ages.min() >= 0


def _a_cached_world_is_the_same(worlds: Any, build: Path, made: Any) -> None:
    again = worlds.world("loans", build)
    for name in worlds.FRAMES:
        assert_frame_equal(getattr(again.traffic, name), getattr(made.traffic, name))
    assert_frame_equal(again.training, made.training)


def test_every_world_has_its_project(worlds: Any) -> None:
    for recipe in worlds.WORLDS.values():
        assert (recipe.folder / "charkha.toml").is_file()
        assert parse_time(recipe.as_of) < parse_time(recipe.until)
