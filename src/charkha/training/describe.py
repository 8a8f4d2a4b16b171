"""The manifest of a new version: all that is known of it, gathered once, when it is made."""

import attrs
import numpy as np
from attrs import frozen

from charkha.bundles.manifest import (
    EstimatorSpec,
    Lineage,
    Manifest,
    PartSummary,
    RuleSpec,
    RuntimeChoice,
    format_with,
)
from charkha.bundles.profile import learn_shape, profile_of
from charkha.features.plan import plan_features
from charkha.spec.model import Model
from charkha.training.dataset import Dataset
from charkha.training.examine import Examined
from charkha.training.fit import Fitted
from charkha.training.lineage import declared_parameters, definition_digest, library_versions
from charkha.training.split import IndexArray, Parts


@frozen(kw_only=True)
class Birth:
    """Which version, made when by the clock (µs), from which seed."""

    version: str
    created_us: int
    seed: int


def describe(
    model: Model,
    birth: Birth,
    dataset: Dataset,
    parts: Parts,
    fitted: Fitted,
    *,
    examined: Examined,
    runtime: RuntimeChoice,
) -> Manifest:
    """Return the manifest of a version.

    Its reference profile is of the validation and test rows: the newest that it did not learn from. The scores of rows
    that it did learn from are too sure of themselves, and later ones would seem to have drifted.
    """
    unseen = np.concatenate([parts.validation, parts.test])
    features, scores = dataset.features[unseen], np.concatenate([fitted.validation_scores, examined.test_scores])
    shape = learn_shape(features, scores)
    return Manifest(
        model=model.name,
        version=birth.version,
        task=model.task,
        created_us=birth.created_us,
        as_of_us=dataset.as_of_us,
        estimator=EstimatorSpec(model.estimator.kind, declared_parameters(model.estimator)),
        runtime=runtime,
        plan_json=plan_features(model).to_json(),
        schema=fitted.schema,
        calibration=fitted.calibration,
        threshold=fitted.threshold,
        costs=attrs.asdict(model.costs) if model.task == "binary" else {},
        rules=tuple(RuleSpec.of(rule) for rule in model.rules),
        fallback=model.fallback,
        metrics=examined.metrics,
        slices=examined.slices,
        gates=examined.gates,
        parts={name: _summary(dataset, rows) for name, rows in attrs.asdict(parts).items()},
        reference=profile_of(shape, features, scores),
        shape=shape,
        lineage=_lineage(model, birth.seed, dataset),
        purpose=model.purpose,
        owner=model.owner,
        positive_share=float(dataset.labels[parts.train].mean()),
        format=format_with(model.rules),
    )


def _summary(dataset: Dataset, rows: IndexArray) -> PartSummary:
    at_us = dataset.at_us[rows]
    return PartSummary(len(rows), int(at_us[0]), int(at_us[-1]), float(dataset.labels[rows].mean()))


def _lineage(model: Model, seed: int, dataset: Dataset) -> Lineage:
    return Lineage(
        fingerprint=dataset.fingerprint,
        rows=dataset.spine.height,
        definition_digest=definition_digest(model),
        as_of_us=dataset.as_of_us,
        seed=seed,
        versions=library_versions(),
        source_rows=dict(dataset.source_rows),
        left_out=dataset.left_out,
        windows_left_out=dataset.windows,
    )
