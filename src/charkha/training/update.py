"""A version that goes on from another one: it learns what has matured since, in the order of time, and that alone."""

import math

from attrs import evolve

from charkha.bundles.bundle import Bundle
from charkha.bundles.encoding import encode
from charkha.bundles.manifest import Manifest
from charkha.clock import to_iso
from charkha.features.plan import plan_features
from charkha.spec.durations import HOUR_US, MICROS, format_duration, parse_duration
from charkha.spec.model import ContinualEstimator, Lesson, Model, Split
from charkha.training.dataset import Dataset
from charkha.training.fit import Fitted, fitted_of, require_both_classes
from charkha.training.lineage import declared_parameters
from charkha.training.split import SMALLEST, Parts, split_spans


class CannotUpdate(ValueError):
    """A version that cannot go on: what is declared by now is something else, or cannot go on learning."""

    def __init__(self, model: str, version: str, problem: str) -> None:
        self.model, self.version = model, version
        super().__init__(f"model {model!r}: {version} cannot be updated: {problem}. Train instead")


class TooFewNew(ValueError):
    """Too few rows have matured since a version's newest row. `rows` and `needed` say how many there are."""

    def __init__(self, model: str, version: str, rows: int, since_us: int) -> None:
        self.model, self.version, self.rows, self.needed = model, version, rows, SMALLEST["train"]
        super().__init__(
            f"model {model!r}: {version} is not updated: expected at least {self.needed} new rows with a label known "
            f"in time, asked for after {to_iso(since_us)} and before those that it is tested on, got {rows}. Wait for "
            "more, lengthen Retrain(update=…), or shorten Retrain(update_held_out=…)"
        )


def learnt_until_us(manifest: Manifest) -> int:
    """Return when the newest row was asked for that a version has learnt from, or the one that it was made of (µs)."""
    told = manifest.lineage.learnt_until_us
    return manifest.parts["train"].until_us if told is None else told


def why_not(model: Model, manifest: Manifest) -> str | None:
    """Return why a version cannot go on under a definition; None where it can."""
    known, estimator = manifest.estimator, model.estimator
    if not isinstance(estimator, ContinualEstimator):
        return f"{estimator.kind} cannot go on learning"
    if (known.kind, known.parameters) != (estimator.kind, declared_parameters(estimator)):
        return f"it was learnt by {known.kind}, and the definition has another estimator or other parameters by now"
    if manifest.plan_json != plan_features(model).to_json():
        return "the definition has other features by now"
    return None


def updating(model: Model, learnt_us: int, as_of_us: int) -> Model:
    """Return the definition that an update is made by: it learns from what came after `learnt_us`, to the hour.

    Half of what is held out is to calibrate on, the newer half to test on; as declared in the split without
    `update_held_out`. All new rows count the same.
    """
    held_out, split = model.retrain.update_held_out, model.split
    if held_out is not None:
        half = format_duration(max(parse_duration(held_out) // 2 // MICROS["s"], 1) * MICROS["s"])
        split = Split(validation=half, test=half, gap=split.gap)
    hours = max(math.ceil(new_us(evolve(model, split=split), learnt_us, as_of_us) / HOUR_US), 1)
    return evolve(model, split=split, retrain=evolve(model.retrain, window=f"{hours}h", half_life=None))


def new_us(model: Model, learnt_us: int, as_of_us: int) -> int:
    """Return how long the time is in which the new rows lie (µs); 0 or less where there can be none."""
    return split_spans(model.split, model.label.delay_us, as_of_us).train.until_us - (learnt_us + 1)


def window_of_new(model: Model, version: str, learnt_us: int, as_of_us: int) -> int:
    """Return how long before the rows that are held out the new ones begin (µs). Raises TooFewNew where none can be."""
    window_us = new_us(model, learnt_us, as_of_us)
    if window_us <= 0:
        raise TooFewNew(model.name, version, 0, learnt_us)
    return window_us


def updated(model: Model, bundle: Bundle, dataset: Dataset, parts: Parts, seed: int) -> Fitted:
    """Return a version gone on with the training rows; calibration and threshold are learnt on the validation rows.

    Encoded as by its first training: a category that came later is none. Raises CannotUpdate, OneClassOnly, CannotFit.
    """
    estimator, version, schema = model.estimator, bundle.manifest.version, bundle.manifest.schema
    problem = why_not(model, bundle.manifest)
    if problem is not None or not isinstance(estimator, ContinualEstimator):
        raise CannotUpdate(model.name, version, problem or "")
    labels = dataset.labels
    if model.task == "binary":
        require_both_classes(labels, parts, ("validation", "test"))
    train, held_out = (encode(schema, dataset.features[rows]) for rows in (parts.train, parts.validation))
    known = (train, labels[parts.train]), (held_out, labels[parts.validation])
    state = estimator.update(bundle.state, Lesson(model.task, *known, schema.categorical, seed))
    return fitted_of(model, schema, state, held_out, labels[parts.validation])
