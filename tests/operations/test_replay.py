"""Replaying: what of history is asked for."""

from pathlib import Path

import polars as pl
import pytest
from operator_world import FIRST_DAY, ROWS_PER_DAY, VISITS, history, make_model, make_operator, make_project, midnight

import charkha as ck
from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock
from charkha.monitoring.logged import logged_predictions
from charkha.operations.replay import Stage, replay
from charkha.storage.home import open_home

ASKED = make_model().features
SEEN = ck.FeatureView("seen", ck.Entity("kind"), VISITS, latest=["y"])


@pytest.mark.parametrize(("features", "asked"), [(ASKED, ROWS_PER_DAY), ((*ASKED, SEEN), ROWS_PER_DAY // 2)])
def test_what_is_known_already_is_not_asked_for_where_features_see_it(
    tmp_path: Path, features: tuple[object, ...], asked: int
) -> None:
    """On the day that is replayed, every other visit is known an hour before it is asked for."""
    project = make_project(tmp_path, features=features)
    ahead = (pl.col("at").dt.epoch("us") >= midnight(FIRST_DAY)) & (pl.int_range(pl.len()) % 2 == 0)
    known = pl.when(ahead).then(pl.col("at").dt.offset_by("-1h")).otherwise("known_at")
    history().with_columns(known_at=known).write_parquet(tmp_path / "visits.parquet")
    with open_home(project.home) as home:
        clock = SimulatedClock(midnight(FIRST_DAY))
        stage = Stage(project, home, project.models["visit"], clock, make_operator(project, home, clock))
        counts = replay(stage, midnight(FIRST_DAY + 1), lambda *_: None)
    assert counts.predictions == asked


def test_a_replay_logs_all_features_for_its_report_reads_them(tmp_path: Path) -> None:
    project = make_project(tmp_path, log=ck.LogPolicy(features_share=0.01))
    with open_home(project.home) as home:
        clock = SimulatedClock(midnight(FIRST_DAY))
        stage = Stage(project, home, project.models["visit"], clock, make_operator(project, home, clock))
        counts = replay(stage, midnight(FIRST_DAY + 1), lambda *_: None)
        logged = logged_predictions(home, "visit", BundleStore(home.bundles))
    assert (logged.height, logged["features_logged"].sum()) == (counts.predictions, counts.predictions)
