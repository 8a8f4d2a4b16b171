from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import numpy as np
import polars as pl
import pytest
from small_world import AS_OF, FIRST_US, LATE, MINUTES, TRIPS, order_dataset, trips, write_trips

import charkha as ck
from charkha.bundles.bundle import Bundle
from charkha.bundles.manifest import RULES_FORMAT, GateResult, Manifest
from charkha.bundles.store import BundleStore, UnknownBundle
from charkha.clock import SimulatedClock
from charkha.engines.local import LocalEngine
from charkha.operations.aliases import record_untracked
from charkha.spec.durations import DAY_US
from charkha.spec.gates import SurvivesDrill
from charkha.spec.model import Model
from charkha.storage.home import Home, open_home
from charkha.training.compare import paired_difference
from charkha.training.evaluate import time_clusters
from charkha.training.metrics import estimate
from charkha.training.pipeline import Candidate, OnStep, Order, train
from charkha.training.split import SplitTooSmall
from charkha.training.tracking import NoTracker, TrackingFailed

NOW_US = AS_OF + 5


class Notebook(NoTracker):
    """A tracker that remembers what it was given, or fails when told to."""

    def __init__(self) -> None:
        self.candidates: list[tuple[str, str]] = []
        self.broken = False

    def log_candidate(self, manifest: Manifest, folder: Path, run_key: str) -> Mapping[str, str]:
        if self.broken:
            raise ConnectionError("no tracker")
        assert (folder / "manifest.json").is_file()
        self.candidates.append((manifest.version, run_key))
        return {"run_id": "r1", "registered_version": "1"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    write_trips(tmp_path)
    with open_home(tmp_path / ".charkha") as home:
        yield home


def ordered(home: Home, model: Model = LATE, key: str = "first", as_of_us: int = AS_OF, champion: str = "") -> Order:
    return Order(model, home.folder.parent, as_of_us, key, champion or None)


def trained(home: Home, order: Order, tracker: NoTracker | None = None) -> Candidate:
    return train(order, home, SimulatedClock(NOW_US), LocalEngine(), tracker or NoTracker())


def test_a_candidate_is_a_bundle_and_a_row_of_the_ledger(home: Home) -> None:
    steps: list[str] = []
    tracker = Notebook()
    candidate = train(ordered(home), home, SimulatedClock(NOW_US), LocalEngine(), tracker, on_step=steps.append)
    assert (candidate.version, candidate.passed) == ("v1", True)
    names = [gate.name for gate in candidate.gates]
    assert names == ["beats_trivial log_loss", "beats_champion log_loss", "at_least roc_auc"]
    row = home.ledger.version("late", "v1")
    store = BundleStore(home.bundles)
    assert (row.status, row.run_key, row.created_us) == ("accepted", "first", NOW_US)
    assert row.digest == store.verify("late", "v1")
    assert row.fingerprint == candidate.manifest.lineage.fingerprint
    assert row.tracking == {"run_id": "r1", "registered_version": "1"}
    assert steps[0] == "building the dataset"
    assert steps[-1] == "recording v1"
    assert store.card("late", "v1").startswith("#")


class Away(NoTracker):
    """A tracker that cannot be reached."""

    def log_candidate(self, manifest: Manifest, folder: Path, run_key: str) -> Mapping[str, str]:
        raise TrackingFailed("http://mlflow:5000", "connection refused")


def test_a_tracker_that_is_away_fails_no_training(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    candidate = trained(home, ordered(home), Away())
    row = home.ledger.version("late", candidate.version)
    assert (row.status, row.tracking) == ("accepted", {})
    assert "connection refused" in caplog.text
    notebook, bundles = Notebook(), BundleStore(home.bundles)
    assert record_untracked(home.ledger, bundles, notebook, "late") == 1
    assert notebook.candidates == [("v1", "first")]
    assert home.ledger.version("late", "v1").tracking == {"run_id": "r1", "registered_version": "1"}
    assert record_untracked(home.ledger, bundles, notebook, "late") == 0


def test_what_was_left_out_is_in_the_manifest_and_on_the_card(home: Home) -> None:
    early = pl.int_range(pl.len()) % 3 == 0
    write_trips(home.folder.parent, trips().with_columns(done_at=pl.when(early).then("asked_at").otherwise("done_at")))
    candidate = trained(home, ordered(home))
    lineage = candidate.manifest.lineage
    assert (lineage.rows, lineage.left_out) == (1999, 1000)
    assert "1,000 more were left out: their truth was known before" in BundleStore(home.bundles).card("late", "v1")


def test_the_manifest_says_what_was_done(home: Home) -> None:
    manifest = trained(home, ordered(home)).manifest
    assert (manifest.as_of_us, manifest.task, manifest.purpose) == (AS_OF, "binary", "operations")
    assert list(manifest.metrics["test"]) == [*LATE.metrics, "calibration_error"]
    assert set(manifest.slices["city"]) == {"Pune", "Surat", "Agra"}
    assert list(manifest.slices["city"]["Pune"]) == list(LATE.metrics)
    assert manifest.parts["train"].until_us < manifest.parts["validation"].from_us < manifest.parts["test"].from_us
    assert manifest.reference.rows == manifest.parts["validation"].rows + manifest.parts["test"].rows
    assert manifest.costs["false_negative"] == 3
    assert manifest.lineage.source_rows == {"trips": 2999}  # the last one had not arrived yet
    assert manifest.lineage.rows == 2999
    assert [(rule.name, rule.shadow) for rule in manifest.rules] == [("far", False), ("sure", True)]
    assert manifest.format == RULES_FORMAT
    assert manifest.positive_share == pytest.approx(manifest.parts["train"].mean_label)


def test_what_is_measured_is_what_the_bundle_will_answer(home: Home) -> None:
    """The manifest's figures, computed again from the bundle as serving reads it."""
    order = ordered(home)
    manifest = trained(home, order).manifest
    bundle = BundleStore(home.bundles).read("late", "v1")
    dataset, parts = order_dataset(order, home)
    labels, scores = dataset.labels[parts.test], bundle.score(dataset.features[parts.test])
    clusters = time_clusters(dataset.at_us[parts.test])
    assert estimate("roc_auc", labels, scores, clusters) == manifest.metrics["test"]["roc_auc"]
    city = (dataset.spine[parts.test]["city"] == "Agra").to_numpy()
    assert estimate("brier", labels[city], scores[city], clusters[city]) == manifest.slices["city"]["Agra"]["brier"]


def test_training_twice_is_training_once(home: Home) -> None:
    tracker = Notebook()
    first, second = trained(home, ordered(home), tracker), trained(home, ordered(home), tracker)
    assert (first.version, second.version) == ("v1", "v1")
    assert tracker.candidates == [("v1", "first")]
    assert len(home.ledger.versions("late")) == 1
    assert trained(home, ordered(home, key="second"), tracker).version == "v2"


def test_the_same_order_makes_the_same_model(home: Home) -> None:
    for key in ("first", "second"):
        trained(home, ordered(home, key=key))
    states = [(home.bundles / "late" / version / "estimator.bin").read_bytes() for version in ("v1", "v2")]
    assert states[0] == states[1]
    lineages = [BundleStore(home.bundles).manifest("late", version).lineage for version in ("v1", "v2")]
    assert lineages[0] == lineages[1]


def test_a_broken_tracker_costs_no_second_training(home: Home) -> None:
    tracker = Notebook()
    tracker.broken = True
    with pytest.raises(ConnectionError):
        trained(home, ordered(home), tracker)
    assert home.ledger.versions("late") == []
    write_trips(home.folder.parent, trips(seed=9))  # were it trained anew, it would become another model
    before = BundleStore(home.bundles).verify("late", "v1")
    tracker.broken = False
    assert trained(home, ordered(home), tracker).version == "v1"
    assert home.ledger.version("late", "v1").digest == before


def test_a_status_that_operations_gave_is_not_undone(home: Home) -> None:
    trained(home, ordered(home))
    home.ledger.record_version(attrs.evolve(home.ledger.version("late", "v1"), status="rejected"))
    trained(home, ordered(home))
    assert home.ledger.version("late", "v1").status == "rejected"


def test_a_gate_of_drills_is_judged_of_the_version_before_it_is_written(home: Home) -> None:
    asked: list[tuple[str, list[str]]] = []

    def drill(gate: SurvivesDrill, bundle: Bundle, on_step: OnStep) -> GateResult:
        asked.append((bundle.manifest.version, BundleStore(home.bundles).versions("late")))
        assert len(bundle.score(pl.DataFrame({name: [None] for name in bundle.plan.names}))) == 1
        return GateResult(gate.name, passed=False, value=None, target=gate.share, reason="it was missed")

    gated = attrs.evolve(LATE, gates=[*LATE.gates, ck.survives_drill("latency")])
    order = ordered(home, gated)
    candidate = train(order, home, SimulatedClock(NOW_US), LocalEngine(), NoTracker(), drill=drill)
    assert asked == [("v1", [])]
    assert not candidate.passed
    assert (candidate.gates[-1].name, candidate.gates[-1].reason) == ("survives_drill latency", "it was missed")
    assert BundleStore(home.bundles).manifest("late", "v1").gates == candidate.gates


def test_a_gate_of_drills_lets_nobody_through_where_none_are_made(home: Home) -> None:
    candidate = trained(home, ordered(home, attrs.evolve(LATE, gates=[ck.survives_drill("latency")])))
    assert not candidate.passed
    assert candidate.gates[0].reason.startswith("nothing was drilled: train with charkha train")


def test_a_model_that_fails_its_gates_is_kept_as_rejected(home: Home) -> None:
    candidate = trained(home, ordered(home, attrs.evolve(LATE, gates=[ck.at_least("roc_auc", 0.999)])))
    assert not candidate.passed
    assert home.ledger.version("late", "v1").status == "rejected"


def champion_gate(candidate: Candidate) -> tuple[bool, str]:
    gate = next(gate for gate in candidate.gates if gate.name.startswith("beats_champion"))
    return gate.passed, gate.reason


def scored(home: Home, version: str, order: Order) -> tuple[Bundle, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    bundle = BundleStore(home.bundles).read("late", version)
    dataset, parts = order_dataset(order, home)
    return bundle, bundle.score(dataset.features[parts.test])


def test_the_challenger_meets_the_champion_on_the_same_rows(home: Home) -> None:
    trained(home, ordered(home, as_of_us=FIRST_US + 45 * DAY_US))
    order = ordered(home, key="second", champion="v1")
    challenger = trained(home, order)
    gate = next(gate for gate in challenger.gates if gate.name == "beats_champion log_loss")
    dataset, parts = order_dataset(order, home)
    a, b = (scored(home, version, order)[1] for version in ("v2", "v1"))
    clusters = time_clusters(dataset.at_us[parts.test])
    assert gate.value is not None
    assert gate.value.value == pytest.approx(
        -paired_difference("log_loss", dataset.labels[parts.test], a, b, clusters).value
    )


def test_a_champion_with_other_features_is_scored_with_its_own(home: Home) -> None:
    trained(home, ordered(home))
    blind = attrs.evolve(LATE, features=[ck.RequestFeatures("trip", city=pl.col("city"))])
    passed, reason = champion_gate(trained(home, ordered(home, blind, key="blind", champion="v1")))
    assert not passed
    assert "significantly worse than the champion v1" in reason


def test_a_champion_that_needs_what_is_gone_cannot_be_met(home: Home) -> None:
    trained(home, ordered(home))
    narrow = attrs.evolve(
        LATE,
        request=["city"],
        features=[ck.RequestFeatures("trip", city=pl.col("city"))],
        rules=[],
        label=attrs.evolve(LATE.label, source=attrs.evolve(TRIPS, fields=dict(TRIPS.fields))),
    )
    passed, reason = champion_gate(trained(home, ordered(home, narrow, key="narrow", champion="v1")))
    assert not passed
    assert (
        "the champion v1 needs the request field 'driver', the request field 'km', gone from the definition" in reason
    )


def test_a_champion_that_is_lost_is_an_error(home: Home) -> None:
    with pytest.raises(UnknownBundle, match="v9"):
        trained(home, ordered(home, champion="v9"))


def test_regression(home: Home) -> None:
    candidate = trained(home, ordered(home, MINUTES))
    assert candidate.passed
    assert list(candidate.metrics["test"]) == ["mae", "rmse", "r2"]
    assert (candidate.manifest.threshold, candidate.manifest.costs) == (None, {})


def test_too_few_rows_say_what_to_do(home: Home) -> None:
    with pytest.raises(SplitTooSmall, match=r"the train part of the split has \d+ rows .* Train as of a later time"):
        trained(home, ordered(home, as_of_us=FIRST_US + 27 * DAY_US))


def test_a_window_forgets_the_distant_past(home: Home) -> None:
    recent = attrs.evolve(LATE, retrain=ck.Retrain(window="10d"))
    manifest = trained(home, ordered(home, recent)).manifest
    part = manifest.parts["train"]
    assert part.until_us - part.from_us < 10 * DAY_US
    assert manifest.parts["validation"].rows > 400
