"""Replaying: what of history is asked for."""

from pathlib import Path

import polars as pl
import pytest
from operator_world import (
    FIRST_DAY,
    ROWS_PER_DAY,
    VISITS,
    history,
    make_model,
    make_operator,
    make_project,
    midnight,
    trainer,
)

import charkha as ck
from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock
from charkha.monitoring.logged import logged_predictions
from charkha.operations.operator import Operator
from charkha.operations.replay import BundleNotLoaded, Stage, replay
from charkha.storage.home import open_home
from charkha.storage.ledger import Assignment, Decision, Draft
from charkha.training.tracking import NoTracker

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


class Breaking(Operator):
    """An operator that deploys, on one of its days, a version that is not there."""

    def break_from(self, day: int, role: str) -> "Breaking":
        self.day, self.role, self.ticks = day, role, 0
        return self

    def tick(self, model: str) -> list[Decision]:
        decided, ledger = super().tick(model), self._home.ledger
        self.ticks += 1
        if self.ticks != self.day:
            return decided
        deployment = ledger.deployment(model)
        others = [each for each in deployment.assignments if each.role != self.role]
        broken = Assignment("v9", self.role, 1.0)  # type: ignore[arg-type]
        draft = Draft("break", self._clock.now(), model, "test", "deploy", "for a test", {})
        return [*decided, ledger.decide(draft, deploy=[*others, broken], expect_generation=deployment.generation)]


@pytest.mark.parametrize("fallback", [None, ck.Fallback(decision=False, previous=True)])
@pytest.mark.parametrize(("day", "role"), [(1, "champion"), (3, "champion"), (3, "shadow")])
def test_a_bundle_that_cannot_be_loaded_stops_a_replay(
    tmp_path: Path, day: int, role: str, fallback: ck.Fallback | None
) -> None:
    project = make_project(tmp_path, fallback=fallback)
    with open_home(project.home) as home:
        clock = SimulatedClock(midnight(FIRST_DAY))
        operator = Breaking(project, home, clock, trainer(home, clock, NoTracker()), NoTracker()).break_from(day, role)
        stage = Stage(project, home, project.models["visit"], clock, operator)
        with pytest.raises(BundleNotLoaded, match=f"{role} v9.*expected version 'v9'.*charkha replay visit --fresh"):
            replay(stage, midnight(FIRST_DAY + 4), lambda *_: None)
    assert clock.now() < midnight(FIRST_DAY + 3)
