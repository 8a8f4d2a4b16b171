"""The cost of making a version: dataset, fit, gates, bundle, tracker."""

from collections.abc import Iterator
from functools import partial

from measuring import Cost, Work, again, cost
from workbench import Workbench

from charkha.bundles.store import BundleStore
from charkha.governance.card import model_card
from charkha.training.champion import Champion
from charkha.training.examine import examine
from charkha.training.fit import fit_model
from charkha.training.pipeline import SEED
from charkha.training.tracking import MlflowTracker

REPEATS = 3


def training_costs(bench: Workbench) -> Iterator[Cost]:
    """Yield the cost of each joint from the rows of the sources to a bundle that the tracker knows."""
    yield _dataset(bench)
    yield _fit(bench)
    yield _evaluate(bench)
    yield from _bundle(bench)
    yield _track(bench)


def _dataset(bench: Workbench) -> Cost:
    rows = bench.trained.dataset.spine.height
    return cost("dataset: read, join, split", "labelled row", rows, again(bench.dataset, REPEATS))


def _fit(bench: Workbench) -> Cost:
    dataset, parts = bench.trained.dataset, bench.trained.parts
    work = partial(fit_model, bench.model, dataset.features, dataset.labels, parts, SEED)
    return cost("fit: LightGBM, calibration, threshold", "training row", len(parts.train), again(work, REPEATS))


def _evaluate(bench: Workbench) -> Cost:
    """Measure with a champion to beat: the version itself."""
    dataset, parts, fitted = bench.trained.dataset, bench.trained.parts, bench.trained.fitted
    champion = Champion("v0", fitted.score(dataset.features[parts.test]))
    work = partial(examine, bench.model, dataset, parts, fitted, champion)
    return cost("evaluate: metrics, slices, gates", "test row", len(parts.test), again(work, REPEATS))


def _bundle(bench: Workbench) -> Iterator[Cost]:
    folder = bench.folder / "bundles"
    manifests = [bench.manifest(f"v{number}") for number in range(REPEATS)]
    state = bench.trained.fitted.state
    writes = (partial(BundleStore(folder).write, each, state, model_card(each)) for each in manifests)
    yield cost("bundle: write", "bundle", 1, writes)
    reads = (partial(BundleStore(folder).read, each.model, each.version) for each in manifests)
    yield cost("bundle: read", "bundle", 1, reads)


def _track(bench: Workbench) -> Cost:
    """Measure what MLflow takes once it is there: its first use, which makes its database, is left out."""
    tracker = MlflowTracker(bench.folder / "tracking")
    (bench.folder / "tracking").mkdir()

    def work(number: int) -> Work:
        manifest = bench.manifest(f"v{number}")
        folder = bench.folder / "bundles" / manifest.model / "v0"
        return partial(tracker.log_candidate, manifest, folder, f"benchmark/{number}")

    work(0)()
    return cost("track: record and register in MLflow", "version", 1, map(work, range(1, REPEATS + 1)))
