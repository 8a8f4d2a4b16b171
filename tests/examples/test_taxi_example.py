"""The taxi example: its data, its definition, and a few days of it as if they were live."""

from pathlib import Path

import polars as pl
import pytest
from attrs import evolve

from charkha.bundles.estimators import LightGBM
from charkha.clock import SimulatedClock, parse_time
from charkha.engines.local import LocalEngine
from charkha.operations.operator import Operator
from charkha.operations.replay import Stage, replay
from charkha.operations.replay_summary import ReplaySummary
from charkha.operations.summary import Span, summarise
from charkha.spec.model import Model, Split
from charkha.spec.project import load_project
from charkha.spec.sources import Entity
from charkha.storage.home import open_home
from charkha.training.pipeline import train
from charkha.training.tracking import NoTracker

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "taxi"
FROM_US, UNTIL_US = parse_time("2018-04-02"), parse_time("2018-04-09")
LEAKS = {"fare_amount", "tip_amount", "tolls_amount", "total_amount", "dropoff_at", "trip_seconds"}


@pytest.fixture(scope="module")
def trips() -> pl.DataFrame:
    return pl.read_parquet(FOLDER / "data" / "trips.parquet")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_project(FOLDER).models["trip_time"]


@pytest.fixture(scope="module")
def summary(model: Model, tmp_path_factory: pytest.TempPathFactory) -> ReplaySummary:
    """A week, with a model that learns from the quarter before it."""
    small = evolve(model, estimator=LightGBM(trees=30), split=Split(validation="7d", test="14d"))
    home_folder = tmp_path_factory.mktemp("taxi") / "home"
    project = evolve(load_project(FOLDER), models={model.name: small}, home=home_folder)
    clock, engine, tracker = SimulatedClock(FROM_US), LocalEngine(), NoTracker()
    with open_home(project.home) as home:
        operator = Operator(project, home, clock, lambda order: train(order, home, clock, engine, tracker), tracker)
        stage = Stage(project, home, small, clock, operator)
        counts = replay(stage, UNTIL_US, lambda *_: None)
        return summarise(stage, Span(from_us=FROM_US, until_us=UNTIL_US, seconds=0.0, counts=counts), engine)


def test_what_was_served_is_what_is_recomputed(summary: ReplaySummary) -> None:
    exact = [feature for feature in summary.skew if feature.exact]
    assert {feature.compared for feature in summary.skew} == {summary.predictions}
    assert {feature.max_difference for feature in exact} == {0.0}
    assert len(exact) >= 12
    assert summary.max_skew <= 1e-9


def test_every_trip_of_the_week_is_asked_for_and_told(summary: ReplaySummary, trips: pl.DataFrame) -> None:
    week = pl.lit(FROM_US), pl.lit(UNTIL_US)
    begun = trips.filter(pl.col("pickup_at").dt.epoch("us").is_between(*week, closed="left")).height
    over = trips.filter(pl.col("dropoff_at").dt.epoch("us").is_between(*week, closed="right")).height
    assert (summary.predictions, summary.events) == (begun, over)
    assert begun - 20 <= summary.labels <= begun


def test_the_model_is_much_better_than_the_mean(summary: ReplaySummary, trips: pl.DataFrame) -> None:
    seconds = trips["trip_seconds"].cast(pl.Float64)
    spread = float((seconds - seconds.mean()).abs().mean())  # type: ignore[arg-type]
    (tested,) = summary.versions
    assert tested.metric.value is not None
    assert tested.metric.value < spread / 2


def test_the_file_holds_what_its_readme_says(trips: pl.DataFrame, model: Model) -> None:
    assert set(trips.columns) == set(model.label.source.fields)
    assert trips["trip_seconds"].is_between(60, 7200).all()
    assert trips["trip_distance"].is_between(0, 100, closed="none").all()
    assert trips["trip_id"].to_list() == list(range(236_615))
    durations = (trips["dropoff_at"] - trips["pickup_at"]).dt.total_seconds()
    assert durations.equals(trips["trip_seconds"].cast(pl.Int64), check_names=False)
    wall = trips["pickup_at"].dt.convert_time_zone("America/New_York")
    assert wall.dt.hour().cast(pl.Int32).equals(trips["hour"], check_names=False)
    assert (wall.dt.weekday() > 5).equals(trips["weekend"], check_names=False)


def test_no_request_and_no_window_knows_the_duration_before_the_dropoff(model: Model) -> None:
    assert not LEAKS & set(model.request)
    assert {view.source.known for view in model.views} == {"dropoff_at"}


def test_most_entities_have_composite_keys(model: Model) -> None:
    keys: dict[str, tuple[str, ...]] = {}
    for view in model.views:
        entity: Entity = view.entity
        keys[view.name] = entity.keys
    assert sum(len(key) > 1 for key in keys.values()) == 4
