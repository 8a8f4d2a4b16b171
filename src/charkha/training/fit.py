"""From features and labels to a fitted model: encode, learn, calibrate, choose the threshold. Pure, but for the CPU."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.calibration import Calibration
from charkha.bundles.encoding import FeatureSchema, encode, learn_schema
from charkha.bundles.predictor import Predictor, load_predictor
from charkha.spec.model import FloatArray, Lesson, Model
from charkha.training.calibrate import fit_calibration
from charkha.training.split import IndexArray, PartName, Parts
from charkha.training.threshold import cheapest_threshold


class OneClassOnly(ValueError):
    """A part of the split of a binary model has fewer than two rows of one class. `part` and `positives` say which."""

    def __init__(self, part: PartName, positives: int, rows: int) -> None:
        self.part, self.positives, self.rows = part, positives, rows
        super().__init__(
            f"the {part} part of the split: expected at least two rows of each class, got {positives} positive labels "
            f"in {rows} rows. Lengthen that part of the split, or check the label's truth"
        )


@frozen(eq=False)
class Fitted:
    """What was learnt. `state`: the estimator's own, no pickle; `threshold`: None for regression.

    validation_scores: of the validation rows, float64, calibrated; kept because scoring them again takes time.
    """

    schema: FeatureSchema
    state: bytes
    predictor: Predictor
    calibration: Calibration | None
    threshold: float | None
    validation_scores: FloatArray

    def score(self, features: pl.DataFrame) -> FloatArray:
        """Return the calibrated scores of features, float64 (n,)."""
        scores = self.predictor.predict(encode(self.schema, features))
        return scores if self.calibration is None else self.calibration.apply(scores)


def fit_model(
    model: Model,
    features: pl.DataFrame,
    labels: FloatArray,
    parts: Parts,
    seed: int,
    *,
    weights: FloatArray | None = None,
) -> Fitted:
    """Learn from the training rows; stop early, calibrate and choose the threshold on the validation rows.

    features: one row per label; labels: float64 (n,), 0 or 1 for a binary model. weights: of the training rows,
    float64 (train,); None: all the same. The test rows are not looked at.
    Raises OneClassOnly, and CannotFit for labels that no estimator takes.
    """
    if model.task == "binary":
        require_both_classes(labels, parts)
    train, validation = features[parts.train], features[parts.validation]
    schema = learn_schema(train, features.columns)
    held_out = encode(schema, validation)
    state = model.estimator.fit(
        Lesson(
            model.task,
            (encode(schema, train), labels[parts.train]),
            (held_out, labels[parts.validation]),
            schema.categorical,
            seed,
            weights,
        )
    )
    return fitted_of(model, schema, state, held_out, labels[parts.validation])


def fitted_of(model: Model, schema: FeatureSchema, state: bytes, held_out: FloatArray, labels: FloatArray) -> Fitted:
    """Return a fitted model, with the calibration and threshold of rows it has not learnt from.

    held_out: those rows, encoded, float64 (n, columns); labels: theirs, float64 (n,).
    """
    predictor = load_predictor(model.estimator.kind, state)
    scores = predictor.predict(held_out)
    calibration = _calibration(model, labels, scores)
    calibrated = scores if calibration is None else calibration.apply(scores)
    threshold = cheapest_threshold(labels, calibrated, model.costs) if model.task == "binary" else None
    return Fitted(schema, state, predictor, calibration, threshold, calibrated)


def _calibration(model: Model, labels: FloatArray, scores: FloatArray) -> Calibration | None:
    if model.task == "regression" or model.calibrate is None:
        return None
    return fit_calibration(model.calibrate, labels, scores)


def require_both_classes(labels: FloatArray, parts: Parts, names: Sequence[PartName] = get_args(PartName)) -> None:
    """Raise OneClassOnly unless every part of these names has at least two rows of each class."""
    for part in names:
        rows: IndexArray = getattr(parts, part)
        positives = int(np.count_nonzero(labels[rows] > 0.5))
        if not 2 <= positives <= len(rows) - 2:
            raise OneClassOnly(part, positives, len(rows))
