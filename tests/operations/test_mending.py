"""Remedies and trainings through the real operator: what is left out, who stands in, and how it ends, over weeks."""

from pathlib import Path

import polars as pl
import pytest
from attrs import evolve
from msgspec import structs
from operator_world import FIELDS, NAME, make_operator, make_project, midnight
from situations import incident

import charkha as ck
from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock
from charkha.monitoring.diagnosis.incident import Culprit, DiagnosedCause, Diagnosis, Remedy
from charkha.monitoring.diagnosis.incidents import close, find, observe
from charkha.monitoring.performance import Span
from charkha.operations.answering import approve
from charkha.operations.operator import Operator
from charkha.operations.remedies.at_fault import diagnosis_of
from charkha.operations.remedies.carry_out import serving_after
from charkha.operations.retraining.exclusions import from_evidence
from charkha.operations.steps import Mend
from charkha.spec.durations import DAY_US
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Assignment, Decision, Deployment

VISITS = ck.Source("visits", FIELDS, ck.parquet("visits.parquet"), time="at", known="known_at", key=("id",))
LATELY = ck.FeatureView("lately", ck.Entity("kind"), VISITS, windows=[ck.mean("z", over="2d")])
FEATURES = (LATELY, ck.RequestFeatures("asked", x=pl.col("x"), z=pl.col("z"), kind=pl.col("kind")))


def diagnosis(cause: DiagnosedCause, now_us: int, began_us: int, **culprit: str) -> Diagnosis:
    shown = diagnosis_of(incident(cause))
    return evolve(
        shown,
        model=NAME,
        watched=Span(now_us - 7 * DAY_US, now_us),
        culprit=Culprit(**culprit),
        began_us=began_us,
        earliest_us=began_us,
        latest_us=began_us,
        remedy=Remedy(action=shown.remedy.action, words="Mend it."),
    )


class World:
    """A project, its home and its operator, at a day of its history."""

    def __init__(self, project: Project, home: Home) -> None:
        self.home, self.ledger = home, home.ledger
        self.clock = SimulatedClock(midnight(30))
        self.operator: Operator = make_operator(project, home, self.clock)

    def on(self, day: int, *found: Diagnosis) -> list[str]:
        """Look at a day, with what is found then, and return what was decided."""
        self.clock.advance_to(midnight(day))
        for each in found:
            observe(self.ledger, each)
        return [each.action for each in self.operator.tick(NAME)]

    def champion(self) -> str:
        assigned = self.ledger.deployment(NAME).champion
        assert assigned is not None
        return assigned.version

    def last(self, action: str) -> Decision:
        return [each for each in self.ledger.decisions(NAME) if each.action == action][-1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "project"


def test_a_training_leaves_out_what_was_broken_and_its_lineage_says_so(folder: Path) -> None:
    project = make_project(folder, retrain=ck.Retrain(on_fall=False, every="10d", cooldown="1d", window="21d"))
    with open_home(project.home) as home:
        world = World(project, home)
        assert world.on(30) == ["train", "promote"]
        broken = diagnosis("label", midnight(33), midnight(31), sources="visits")
        assert world.on(33, broken) == ["page"]
        assert world.on(41) == ["train_waits"]
        close(home.ledger, find(home.ledger, "visit-1"), "asha", "the labels are mended", midnight(42))
        # The time of the incident is not the whole of any part by then.
        assert world.on(50)[0] == "train"
        (told,) = from_evidence(world.last("train").evidence)
        manifest = BundleStore(home.bundles).manifest(NAME, home.ledger.versions(NAME)[-1].version)
        (window,) = manifest.lineage.windows_left_out
        assert (window.incident, window.cause, window.by_label) == ("visit-1", "label", True)
        assert (window.since_us, window.until_us) == (told.since_us, told.until_us)
        assert window.rows == 3 * 120  # of two days, and of the day before, whose labels became known in the first
        assert world.last("train").reason.endswith("2013-02-03 00:00 UTC")


def test_a_view_at_fault_is_taken_out_and_put_back(folder: Path) -> None:
    settings = {"features": FEATURES, "fallback": ck.Fallback(decision=False), "autonomy": ck.Autonomy("act")}
    project = make_project(folder, retrain=ck.Retrain(on_fall=False), **settings)
    with open_home(project.home) as home:
        world = World(project, home)
        assert world.on(30) == ["train", "promote"]
        frozen = diagnosis("source", midnight(36), midnight(35), sources="visits", features="lately.mean_z_2d")
        assert world.on(36, frozen) == ["kill", "train", "substitute", "revive", "page"]
        assert (world.champion(), home.ledger.killed()) == ("v2", {})
        manifest = BundleStore(home.bundles).manifest(NAME, "v2")
        assert manifest.lineage.without == ("lately",)
        assert "lately.mean_z_2d" not in manifest.schema.names
        assert [window.incident for window in manifest.lineage.windows_left_out] == ["visit-1"]
        assert world.on(37, evolve(frozen, watched=Span(midnight(30), midnight(37)))) == []
        close(home.ledger, find(home.ledger, "visit-1"), "asha", "the feed is back", midnight(38))
        assert world.on(38) == ["restore"]
        assert world.champion() == "v1"
        assert world.on(39) == []
        assert home.ledger.verify()


def test_a_remedy_that_is_proposed_waits_for_a_person(folder: Path) -> None:
    project = make_project(folder, features=FEATURES, retrain=ck.Retrain(on_fall=False))
    with open_home(project.home) as home:
        world = World(project, home)
        world.on(30)
        frozen = diagnosis("source", midnight(36), midnight(35), sources="visits", features="lately.mean_z_2d")
        assert world.on(36, frozen) == ["propose", "page"]
        assert world.on(36) == []
        approve(home, world.clock, NAME, actor="asha", reason="its feed is frozen")
        assert world.on(36) == ["train", "propose"]  # that it stands in is a step of its own
        assert world.last("train").evidence["approval"]["by"] == "asha"  # type: ignore[index]
        assert home.ledger.deployment(NAME).assignments == (Assignment("v1", "champion"),)
        approve(home, world.clock, NAME, actor="asha", reason="it passed")
        assert world.on(36) == ["substitute"]
        assert world.champion() == "v2"


def test_in_observe_nothing_serves_and_nothing_is_trained(folder: Path) -> None:
    project = make_project(folder, autonomy=ck.Autonomy("observe"))
    with open_home(project.home) as home:
        world = World(project, home)
        assert world.on(30) == ["would_train"]
        assert world.on(31) == []
        assert world.on(36) == ["would_train"]  # after a cooldown of six days
        assert (home.ledger.versions(NAME), home.ledger.runs(NAME)) == ([], [])
        assert home.ledger.deployment(NAME).generation == 0


def test_whoever_reads_a_view_at_fault_is_taken_out_with_the_champion_and_tried_again(folder: Path) -> None:
    settings = {"features": FEATURES, "autonomy": ck.Autonomy("act")}
    policy = ck.Retrain(on_fall=False, every="6d", cooldown="6d", window="21d")
    project = make_project(folder, retrain=policy, gates=(), **settings)
    with open_home(project.home) as home:
        world = World(project, home)
        assert world.on(30) == ["train", "promote"]
        assert world.on(36) == ["train", "shadow"]
        frozen = diagnosis("source", midnight(37), midnight(36), sources="visits", features="lately.mean_z_2d")
        assert world.on(37, frozen) == ["train", "substitute", "page"]
        serving = home.ledger.deployment(NAME)
        assert serving.assignments == (Assignment("v3", "champion"),)
        assert world.last("substitute").evidence["taken_out"] == ["v2"]
        assert world.last("substitute").generation == serving.generation
        assert world.on(38) == []  # it is neither begun anew meanwhile, nor overtaken by who stands in
        close(home.ledger, find(home.ledger, "visit-1"), "asha", "the feed is back", midnight(39))
        assert world.on(39)[:2] == ["restore", "shadow"]
        assert [each.version for each in home.ledger.deployment(NAME).assignments] == ["v1", "v2"]


def test_a_challenger_leaves_its_share_to_who_stands_in() -> None:
    current = Deployment(NAME, 3, BESIDE, 0)
    stand_in = Mend(kind="substitute", key="k", subject="v9", reason="", evidence={})
    assert serving_after(stand_in, current) == (
        Assignment("v9", "champion", 0.5),
        Assignment("v2", "challenger", 0.3),
        Assignment("v3", "challenger", 0.2),
        Assignment("v4", "shadow", 0.0),
    )
    without = serving_after(evolve(stand_in, takes_out=("v2", "v4")), current)
    assert without == (Assignment("v9", "champion", 0.8), Assignment("v3", "challenger", 0.2))


BESIDE = (
    Assignment("v1", "champion", 0.5),
    Assignment("v2", "challenger", 0.3),
    Assignment("v3", "challenger", 0.2),
    Assignment("v4", "shadow", 0.0),
)


def test_a_bundle_that_is_lost_keeps_nothing_else_from_being_done(folder: Path) -> None:
    settings = {"fallback": ck.Fallback(decision=False), "autonomy": ck.Autonomy("act"), "features": FEATURES}
    project = make_project(folder, retrain=ck.Retrain(on_fall=False), **settings)
    with open_home(project.home) as home:
        world = World(project, home)
        assert world.on(30) == ["train", "promote"]
        first = home.ledger.versions(NAME)[0]
        home.ledger.record_version(evolve(first, version="v9", run_key="visit/train/by-hand/9"))
        assert world.on(31) == ["unreadable"]
        assert world.last("unreadable").key == "visit/unreadable/v9"
        assert "expected version 'v9' of model 'visit'" in world.last("unreadable").reason
        frozen = diagnosis("source", midnight(36), midnight(35), sources="visits", features="lately.mean_z_2d")
        assert world.on(36, frozen) == ["kill", "train", "substitute", "revive", "page"]
        # Once it is there again its turn comes as any other's.
        bundles = BundleStore(home.bundles)
        bundles.write(structs.replace(bundles.manifest(NAME, "v1"), version="v9"), b"", "")
        close(home.ledger, find(home.ledger, "visit-1"), "asha", "the feed is back", midnight(37))
        assert world.on(37)[:2] == ["restore", "shadow"]
