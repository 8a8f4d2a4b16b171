"""Nothing from the future: labels without meaning teach nothing, and a planted leak does not leak."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import polars as pl
from attrs import evolve
from claims import Measured
from workbench import FROM_US, Workbench

import charkha as ck
from charkha.features.reading import opened_readings
from charkha.spec.model import Model
from charkha.training.dataset import Dataset, build_dataset, sources_of
from charkha.training.fit import fit_model
from charkha.training.metrics import estimate
from charkha.training.pipeline import SEED

# Of a hundred honest runs one would miss it; the labels are always shuffled the same way.
CONFIDENCE = 0.99
KEY, OUTCOME = "flight_id", "arr_delay"


def honesty_figures(bench: Workbench) -> Iterator[tuple[str, Measured]]:
    """Yield what a model makes of shuffled labels, and what a feature shows that reads its own flight's delay."""
    yield "auc_on_shuffled_labels", _shuffled(bench)
    yield "planted_leak_null_share_by_known_time", _by_known_time(bench)
    yield "planted_leak_tells_the_label_by_event_time", _by_event_time(bench)


def _shuffled(bench: Workbench) -> Measured:
    """Fit as always, on labels that were dealt out anew over all rows, and test on rows not learnt from."""
    dataset, parts = bench.trained.dataset, bench.trained.parts
    labels = np.random.default_rng(SEED).permutation(dataset.labels)
    fitted = fit_model(bench.model, dataset.features, labels, parts, SEED)
    scores = fitted.score(dataset.features[parts.test])
    found = estimate("roc_auc", labels[parts.test], scores, confidence=CONFIDENCE)
    note = f"{found.low:.4f} to {found.high:.4f} ({CONFIDENCE:.0%}) on {found.n:,} test rows"
    return Measured(found.value, note, met=found.low <= 0.5 <= found.high)


def _by_known_time(bench: Workbench) -> Measured:
    """Ask what the feature knows as the example declares its source: a flight is known once it has landed."""
    dataset = _planted(bench, bench.model.label.source.known)
    shares = [column.null_count() / len(column) for column in dataset.features.get_columns()]
    return Measured(min(shares), f"{len(shares)} features of {dataset.features.height:,} rows")


def _by_event_time(bench: Workbench) -> Measured:
    """Ask what it would tell if a flight were known at its departure: the share of labels that it gives away."""
    dataset = _planted(bench, bench.model.label.source.time)
    told = dataset.features[f"own.{OUTCOME}"].to_frame(OUTCOME).select(bench.model.label.truth.cast(pl.Float64))
    same = int((told.to_series() == dataset.spine["_label"]).sum())
    return Measured(same / dataset.spine.height, f"of {dataset.spine.height:,} labels: the plant does leak")


def _planted(bench: Workbench, known: str | None) -> Dataset:
    model = _model_with_leak(bench.model, known)
    with opened_readings(sources_of(model, bench.project.root, None), model.views) as readings:
        return build_dataset(model, readings, FROM_US)


def _model_with_leak(model: Model, known: str | None) -> Model:
    """Return a model whose only features read the delay of the very flight that is asked about."""
    source = evolve(model.label.source, known=known)
    flight = ck.Entity("flight", KEY)
    own = ck.FeatureView("own", flight, source, windows=[ck.max(OUTCOME, over="1h")], latest=[OUTCOME])
    label = evolve(model.label, source=source, known=model.label.known)
    change = partial(evolve, model, label=label, request=(*model.request, KEY), features=(own,))
    return change(rules=(), gates=())
