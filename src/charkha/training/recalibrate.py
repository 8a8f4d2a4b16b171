"""A version that is another one in all but its calibration and threshold, learnt anew on what has come since."""

from attrs import evolve

from charkha.bundles.bundle import Bundle
from charkha.bundles.encoding import encode
from charkha.features.plan import plan_features
from charkha.spec.durations import HOUR_US, MICROS
from charkha.spec.model import Model, Split
from charkha.training.calibrate import fit_calibration
from charkha.training.dataset import Dataset
from charkha.training.fit import Fitted, require_both_classes
from charkha.training.split import Parts
from charkha.training.threshold import cheapest_threshold


class CannotRecalibrate(ValueError):
    """A version that cannot be calibrated anew: the definition has moved on from it, or has no calibration."""

    def __init__(self, model: str, version: str, problem: str) -> None:
        self.model, self.version = model, version
        super().__init__(f"model {model!r}: {version} cannot be calibrated anew: {problem}. Train instead")


def since_then(model: Model, began_us: int, as_of_us: int) -> Model:
    """Return a definition whose validation and test parts share what has matured since a time.

    Two thirds are learnt from and the newest third is tested on, and neither is shorter than an hour; both are at most
    as long as declared.
    """
    delay_us = model.label.delay_us
    there_us = as_of_us - began_us - 2 * delay_us
    test_us, validation_us = max(there_us // 3, HOUR_US), max(there_us - there_us // 3, HOUR_US)
    return evolve(model, split=Split(validation=_seconds(validation_us), test=_seconds(test_us)))


def recalibrated(model: Model, bundle: Bundle, dataset: Dataset, parts: Parts) -> Fitted:
    """Return a version as it is, with its calibration and threshold learnt anew on the validation rows.

    Raises CannotRecalibrate, and OneClassOnly.
    """
    version, kind = bundle.manifest.version, model.calibrate
    if model.task != "binary" or kind is None:
        raise CannotRecalibrate(model.name, version, "the definition has no calibrate=")
    if bundle.manifest.plan_json != plan_features(model).to_json():
        raise CannotRecalibrate(model.name, version, "the definition has other features by now")
    labels = dataset.labels
    require_both_classes(labels, parts)
    held_out = encode(bundle.manifest.schema, dataset.features[parts.validation])
    scores = bundle.predictor.predict(held_out)
    calibration = fit_calibration(kind, labels[parts.validation], scores)
    calibrated = calibration.apply(scores)
    threshold = cheapest_threshold(labels[parts.validation], calibrated, model.costs)
    return Fitted(bundle.manifest.schema, bundle.state, bundle.predictor, calibration, threshold, calibrated)


def _seconds(duration_us: int) -> str:
    return f"{min(duration_us // MICROS['s'], 9_999_999)}s"
