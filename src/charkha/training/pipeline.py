"""Training: from a definition and a moment to a gated, recorded model version.

    dataset → split → fit → examine → runtime → manifest → drills → bundle → tracker → ledger

The same `run_key` gives the same version however often its training is begun anew: what is on disk already is not made
again, and the ledger's row, which comes last, says that all of it is there.
"""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from attrs import evolve, frozen

from charkha.bundles.bundle import Bundle, load_bundle
from charkha.bundles.encoding import encode
from charkha.bundles.manifest import Estimate, GateResult, Manifest, RuntimeChoice, WindowLeftOut
from charkha.bundles.runtime_choice import choose_runtime
from charkha.bundles.store import BundleStore
from charkha.clock import Clock
from charkha.engines.engine import Engine
from charkha.features.plan import plan_features
from charkha.features.reading import Readings, opened_readings
from charkha.governance.card import model_card
from charkha.spec.durations import parse_duration
from charkha.spec.gates import SurvivesDrill
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.ledger import VersionRow
from charkha.storage.metering import Stage, unmetered
from charkha.training.champion import Champion, score_champion
from charkha.training.costs import costs_gates
from charkha.training.dataset import Dataset, build_dataset, sources_of
from charkha.training.describe import Birth, describe
from charkha.training.examine import examine
from charkha.training.fit import Fitted, fit_model
from charkha.training.leaving_out import rows_left_out, set_aside
from charkha.training.lineage import definition_digest
from charkha.training.origin import with_origin
from charkha.training.recalibrate import recalibrated, since_then
from charkha.training.reduced import without_views
from charkha.training.split import Parts, SplitTooSmall, split_by_time, split_spans
from charkha.training.tracking import Tracker, TrackingFailed
from charkha.training.update import TooFewNew, learnt_until_us, updated, updating, window_of_new
from charkha.training.weights import row_weights

OnStep = Callable[[str], None]
# Judges a gate that asks for drills, which are made above this room: of a version that is not written yet.
Drill = Callable[[SurvivesDrill, Bundle, OnStep], GateResult]
SEED = 7
# The environment variable that names the runtime of what is trained, in place of a measurement.
RUNTIME_VARIABLE = "CHARKHA_RUNTIME"

logger = logging.getLogger(__name__)


@frozen(eq=False)
class Order:
    """One training to be carried out.

    root: the project's folder, against which the paths of data are read. as_of_us: what was known then is learnt from.
    run_key: identifies the training for ever. champion: the version to be compared with, if there is one.
    left_out: times of incidents, of which nothing is learnt. without: views that it is made without.
    recalibrates_since_us: the champion is calibrated anew on what has come since then, and nothing else is learnt.
    updates: the version that goes on learning, from what has matured since its newest row.
    """

    model: Model
    root: Path
    as_of_us: int
    run_key: str
    champion: str | None = None
    seed: int = SEED
    left_out: tuple[WindowLeftOut, ...] = ()
    without: tuple[str, ...] = ()
    recalibrates_since_us: int | None = None
    updates: str | None = None


@frozen(eq=False)
class Candidate:
    """A version that was trained. `metrics`: part → metric → estimate."""

    version: str
    passed: bool
    gates: tuple[GateResult, ...]
    metrics: Mapping[str, Mapping[str, Estimate]]
    manifest: Manifest

    @classmethod
    def of(cls, manifest: Manifest) -> "Candidate":
        """Return the candidate that a manifest describes."""
        return cls(manifest.version, manifest.passed, manifest.gates, manifest.metrics, manifest)


def ignore(step: str) -> None:
    """Tell nobody about a step."""


def undrilled(gate: SurvivesDrill, bundle: Bundle, on_step: OnStep) -> GateResult:
    """Let nobody through a gate of drills where there is nothing that could make them."""
    reason = "nothing was drilled: train with charkha train, replay or operate"
    return GateResult(gate.name, passed=False, value=None, target=gate.share, reason=reason)


def train(
    order: Order,
    home: Home,
    clock: Clock,
    engine: Engine,
    tracker: Tracker,
    *,
    on_step: OnStep = ignore,
    drill: Drill = undrilled,
    stage: Stage = unmetered,
) -> Candidate:
    """Carry out a training, or find that it was: returns its version, accepted or rejected by its gates.

    on_step: told what is being done, in words. drill: judges gates that ask for drills. stage: meters what each stage
    uses. Raises NoLabels, TruthKnownAhead, SplitTooSmall, OneClassOnly, CannotFit, MetricUndefined and DataError for
    data that cannot be trained on, NothingLeft, CannotRecalibrate, CannotUpdate and TooFewNew for orders that cannot
    be, UnknownBundle and BundleCorrupt for a champion that is gone or damaged. A tracker that fails does not fail the
    training: the operator tells it later.
    """
    name, bundles = order.model.name, BundleStore(home.bundles)
    version = home.ledger.next_version(name, order.run_key)
    if any(row.version == version for row in home.ledger.versions(name)):
        return Candidate.of(bundles.manifest(name, version))
    if version not in bundles.versions(name):
        birth = Birth(version=version, created_us=clock.now(), seed=order.seed)
        _make_bundle(order, home, engine, bundles, birth, on_step=on_step, drill=drill, stage=stage)
    manifest = bundles.manifest(name, version)
    on_step(f"recording {version}")
    try:
        with stage("record"):
            tracked = tracker.log_candidate(manifest, bundles.path(name, version), order.run_key)
    except TrackingFailed as error:
        logger.warning("%s %s is recorded without its run; the operator makes up for it: %s", name, version, error)
        tracked = {}
    home.ledger.record_version(_row(manifest, bundles.verify(name, version), order.run_key, tracked))
    return Candidate.of(manifest)


def _make_bundle(
    order: Order,
    home: Home,
    engine: Engine,
    bundles: BundleStore,
    birth: Birth,
    *,
    on_step: OnStep,
    drill: Drill,
    stage: Stage,
) -> None:
    declared, origin = order.model, _origin(order, bundles)
    order = evolve(order, model=_model_of(order, origin))
    model = order.model
    on_step("building the dataset")
    with opened_readings(sources_of(model, order.root, home.log), model.views, engine) as readings:
        with stage("features"):
            dataset, parts = dataset_and_parts(order, readings, learnt_until_us(origin.manifest) if origin else None)
        with stage("fit"):
            if origin is not None and order.updates is not None:
                on_step(f"updating {order.updates} with {len(parts.train):,} rows")
                fitted = updated(model, origin, dataset, parts, birth.seed)
            elif origin is None:
                on_step(f"fitting {model.estimator.kind} on {len(parts.train):,} rows")
                weights = row_weights(model.retrain.half_life, dataset.at_us[parts.train])
                fitted = fit_model(model, dataset.features, dataset.labels, parts, birth.seed, weights=weights)
            else:
                on_step(f"calibrating {origin.manifest.version} on {len(parts.validation):,} rows")
                fitted = recalibrated(model, origin, dataset, parts)
        on_step(f"testing on {len(parts.test):,} rows")
        with stage("evaluate"):
            examined = examine(model, dataset, parts, fitted, _champion(order, bundles, dataset, parts))
            on_step("choosing the runtime")
            runtime = runtime_of(model, dataset, parts, fitted)
    manifest = describe(model, birth, dataset, parts, fitted, examined=examined, runtime=runtime)
    manifest = with_origin(manifest, origin.manifest if origin else None, updates=order.updates is not None)
    lineage = msgspec.structs.replace(
        manifest.lineage,
        definition_digest=definition_digest(declared),
        set_aside=set_aside(home, model.sources),
        without=order.without,
    )
    manifest = msgspec.structs.replace(manifest, lineage=lineage)
    costed = costs_gates(model, home, order.champion, runtime, birth.created_us)
    manifest = msgspec.structs.replace(manifest, gates=(*manifest.gates, *costed))
    drilled = [gate for gate in model.gates if isinstance(gate, SurvivesDrill)]
    if drilled:
        bundle = load_bundle(manifest, fitted.state)
        with stage("drills"):
            results = [drill(gate, bundle, on_step) for gate in drilled]
        manifest = msgspec.structs.replace(manifest, gates=(*manifest.gates, *results))
    bundles.write(manifest, fitted.state, model_card(manifest))


def _model_of(order: Order, origin: Bundle | None) -> Model:
    """Return the definition that an order is carried out by."""
    model = without_views(order.model, order.without)
    if order.updates is not None and origin is not None:
        return updating(model, learnt_until_us(origin.manifest), order.as_of_us)
    began_us = order.recalibrates_since_us
    return model if began_us is None else since_then(model, began_us, order.as_of_us)


def _origin(order: Order, bundles: BundleStore) -> Bundle | None:
    """Return the version that is calibrated anew or goes on; None where one is trained."""
    if order.updates is not None:
        return bundles.read(order.model.name, order.updates)
    if order.recalibrates_since_us is None or order.champion is None:
        return None
    return bundles.read(order.model.name, order.champion)


def dataset_and_parts(order: Order, readings: Readings, learnt_us: int | None = None) -> tuple[Dataset, Parts]:
    """Return the dataset of an order and the rows of its training, validation and test parts.

    learnt_us: when the newest row was asked for that a version has learnt from which is to be updated.
    """
    model, delay_us = order.model, order.model.label.delay_us
    window_us = parse_duration(model.retrain.window) if model.retrain.window else None
    if order.updates is not None and learnt_us is not None:
        window_us = window_of_new(model, order.updates, learnt_us, order.as_of_us)
    since_us = split_spans(model.split, delay_us, order.as_of_us, window_us).train.since_us
    dataset = build_dataset(model, readings, order.as_of_us, since_us=since_us, without=order.left_out)
    known_us = dataset.spine["_label_known_us"].to_numpy()
    try:
        parts = split_by_time(dataset.at_us, known_us, model.split, delay_us, order.as_of_us, window_us=window_us)
    except SplitTooSmall as small:
        if order.updates is not None and learnt_us is not None and small.part == "train":
            raise TooFewNew(model.name, order.updates, small.rows, learnt_us) from None
        raise SplitTooSmall(small.part, small.rows, small.span, rows_left_out(dataset.windows)) from None
    return dataset, parts


def runtime_of(model: Model, dataset: Dataset, parts: Parts, fitted: Fitted) -> RuntimeChoice:
    """Return the runtime for a fitted model: the fastest on its validation rows, or the one that is named outside."""
    held_out = encode(fitted.schema, dataset.features[parts.validation])
    return choose_runtime(model.estimator.kind, fitted.state, held_out, os.environ.get(RUNTIME_VARIABLE))


def _champion(order: Order, bundles: BundleStore, dataset: Dataset, parts: Parts) -> Champion | None:
    if order.champion is None:
        return None
    bundle = bundles.read(order.model.name, order.champion)
    return score_champion(bundle, plan_features(order.model).to_json(), dataset, parts.test)


def _row(manifest: Manifest, digest: str, run_key: str, tracking: Mapping[str, str]) -> VersionRow:
    return VersionRow(
        model=manifest.model,
        version=manifest.version,
        created_us=manifest.created_us,
        digest=digest,
        fingerprint=manifest.lineage.fingerprint,
        run_key=run_key,
        tracking=tracking,
        status="accepted" if manifest.passed else "rejected",
    )
