import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import msgspec
import pytest
from small_world import AS_OF, LATE, write_trips

from charkha.bundles.manifest import Manifest
from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock
from charkha.engines.local import LocalEngine
from charkha.storage.home import open_home
from charkha.training.pipeline import Order, train
from charkha.training.tracking import MlflowTracker, NoTracker, Tracker, TrackingFailed, flat_metrics


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one version."""
    root = write_trips(tmp_path_factory.mktemp("project"))
    with open_home(root / ".charkha") as home:
        train(Order(LATE, root, AS_OF, "first"), home, SimulatedClock(AS_OF), LocalEngine(), NoTracker())
    return root


@pytest.fixture(scope="module")
def first_use(project: Path) -> subprocess.CompletedProcess[str]:
    """A process of its own makes MLflow's database, which takes seconds; all tests here then use it."""
    script = f"""
import os, sys
from pathlib import Path
from charkha.training.tracking import MlflowTracker
tracker = MlflowTracker(Path({str(project / ".charkha")!r}))
assert "mlflow" not in sys.modules
assert tracker.aliases("late") == {{}}
assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
"""
    return subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def manifest(project: Path) -> Manifest:
    return BundleStore(project / ".charkha/bundles").manifest("late", "v1")


@pytest.fixture(scope="module")
def tracker(project: Path, first_use: subprocess.CompletedProcess[str]) -> MlflowTracker:
    return MlflowTracker(project / ".charkha")


def bundle(project: Path) -> Path:
    return project / ".charkha/bundles/late/v1"


def test_it_is_quiet_and_imported_only_when_used(first_use: subprocess.CompletedProcess[str]) -> None:
    assert (first_use.returncode, first_use.stdout, first_use.stderr) == (0, "", "")


def test_a_candidate_is_a_run_and_a_registered_version(
    project: Path, manifest: Manifest, tracker: MlflowTracker
) -> None:
    place = tracker.log_candidate(manifest, bundle(project), "first")
    assert place["registered_version"] == "1"
    with tracker._client() as client:
        run = client.get_run(place["run_id"])
        registered = client.get_model_version("late", "1")
    assert (run.info.status, run.info.run_name, run.info.start_time) == ("FINISHED", "v1", AS_OF // 1000)
    assert run.data.metrics == pytest.approx(flat_metrics(manifest))
    assert run.data.metrics["test/roc_auc/low"] < run.data.metrics["test/roc_auc"]
    assert run.data.params["estimator"] == "linear"
    assert run.data.tags["charkha.fingerprint"] == manifest.lineage.fingerprint
    assert registered.run_id == place["run_id"]
    copied = Path(str(registered.source).removeprefix("file://"))
    assert copied.is_relative_to(project / ".charkha/mlartifacts")
    assert (copied / "manifest.json").read_bytes() == (bundle(project) / "manifest.json").read_bytes()


def test_recording_again_records_once(project: Path, manifest: Manifest, tracker: MlflowTracker) -> None:
    first = tracker.log_candidate(manifest, bundle(project), "first")
    assert tracker.log_candidate(manifest, bundle(project), "first") == first
    other = MlflowTracker(project / ".charkha").log_candidate(manifest, bundle(project), "first")
    assert other == first


def test_what_was_recorded_in_part_is_completed(
    project: Path, manifest: Manifest, tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    second = msgspec.structs.replace(manifest, version="v2")
    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_artifacts", Mock(side_effect=MlflowException("the disk is full")))
        with pytest.raises(TrackingFailed, match="the disk is full"):
            tracker.log_candidate(second, bundle(project), "second")
    place = tracker.log_candidate(second, bundle(project), "second")
    with tracker._client() as client:
        runs = client.search_runs([tracker._experiment(client, "late")], "tags.`charkha.version` = 'v2'")
    assert [(run.info.run_id, run.info.status) for run in runs] == [(place["run_id"], "FINISHED")]
    assert runs[0].data.metrics == pytest.approx(flat_metrics(second))


def test_aliases_move(project: Path, manifest: Manifest, tracker: MlflowTracker) -> None:
    place = tracker.log_candidate(manifest, bundle(project), "first")
    tracker.set_alias("late", "champion", place["registered_version"])
    assert tracker.aliases("late") == {"champion": place["registered_version"]}
    tracker.set_alias("late", "champion", place["registered_version"])
    tracker.delete_alias("late", "champion")
    tracker.delete_alias("late", "champion")
    assert tracker.aliases("late") == tracker.aliases("unheard_of") == {}


def test_a_version_that_is_not_there(tracker: MlflowTracker) -> None:
    with pytest.raises(TrackingFailed, match=r"MLflow at sqlite:///.*mlflow\.db: .*The bundle is safe on disk"):
        tracker.set_alias("late", "champion", "99")


def test_no_tracker_is_a_tracker(manifest: Manifest) -> None:
    tracker: Tracker = NoTracker()
    assert tracker.log_candidate(manifest, Path(), "first") == tracker.aliases("late") == {}
    tracker.set_alias("late", "champion", "1")
    tracker.delete_alias("late", "champion")


@pytest.mark.parametrize("damage", ["mlflow.db", "mlartifacts"])
def test_a_damaged_tracker_fails_as_a_tracker(project: Path, manifest: Manifest, tmp_path: Path, damage: str) -> None:
    (tmp_path / damage).write_text("this is neither a database nor a folder")
    with pytest.raises(TrackingFailed, match=r"MLflow at sqlite:///"):
        MlflowTracker(tmp_path).log_candidate(manifest, bundle(project), "first")
