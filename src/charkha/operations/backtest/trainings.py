"""The trainings of a backtest: what was known at a time, through the same split, fit, test and gates as production."""

import time

from attrs import define, field, frozen

from charkha.bundles.bundle import Bundle, load_bundle
from charkha.bundles.fitting import CannotFit
from charkha.bundles.manifest import Estimate, Manifest, RuntimeChoice
from charkha.bundles.predictor import runtimes_of
from charkha.operations.backtest.history import History
from charkha.spec.durations import parse_duration
from charkha.spec.model import Model
from charkha.training.champion import Champion
from charkha.training.dataset import Dataset
from charkha.training.describe import Birth, describe
from charkha.training.examine import examine
from charkha.training.fit import Fitted, OneClassOnly, fit_model
from charkha.training.metrics import MetricUndefined
from charkha.training.origin import with_origin
from charkha.training.pipeline import SEED, Order
from charkha.training.recalibrate import CannotRecalibrate, recalibrated, since_then
from charkha.training.split import Parts, SplitTooSmall, split_by_time
from charkha.training.update import CannotUpdate, TooFewNew, learnt_until_us, updated, updating, window_of_new
from charkha.training.weights import row_weights

# What makes a training fail, in production as here.
REFUSALS = (SplitTooSmall, TooFewNew, OneClassOnly, CannotFit, CannotRecalibrate, CannotUpdate, MetricUndefined)


@frozen(eq=False)
class Version:
    """A version that was trained. reference: its primary metric on the test rows. rows: it learnt from.

    cpu_seconds: of fitting and testing it, also where another policy had it fitted before.
    """

    bundle: Bundle
    rows: int
    cpu_seconds: float
    passed: bool
    verdict: str

    @property
    def name(self) -> str:
        """Such as "v3"."""
        return self.bundle.manifest.version

    def reference(self, metric: str) -> Estimate | None:
        """Return a metric on its test rows."""
        return self.bundle.manifest.metrics.get("test", {}).get(metric)


@define(eq=False)
class Trainings:
    """Trains at any time of a history. The same rows are fitted once, whichever policies ask for them."""

    history: History
    _fitted: dict[tuple[object, ...], tuple[Fitted, float]] = field(factory=dict, init=False)

    def train(self, order: Order, name: str, champion: Bundle | None) -> Version:
        """Return the version of an order, tested beside the champion of then. Raises REFUSALS.

        order: its model has the window and the weights that are trained by.
        """
        began, model, as_of_us = time.process_time(), order.model, order.as_of_us
        if order.recalibrates_since_us is not None:
            model = since_then(model, order.recalibrates_since_us, as_of_us)
        goes_on = champion.manifest if champion is not None and order.updates is not None else None
        if goes_on is not None:
            model = updating(model, learnt_until_us(goes_on), as_of_us)
        dataset = self.history.dataset(as_of_us, order.left_out)
        parts = _parts(model, dataset, goes_on)
        spent = time.process_time() - began
        if goes_on is not None and champion is not None:
            fitted, fit_seconds = updated(model, champion, dataset, parts, SEED), 0.0
        elif order.recalibrates_since_us is None or champion is None:
            fitted, fit_seconds = self._fit(model, dataset, parts)
        else:
            fitted, fit_seconds = recalibrated(model, champion, dataset, parts), 0.0
        began = time.process_time()
        rival = None if champion is None else _rival(champion, dataset, parts)
        examined = examine(model, dataset, parts, fitted, rival)
        manifest = describe(
            model,
            Birth(version=name, created_us=as_of_us, seed=SEED),
            dataset,
            parts,
            fitted,
            examined=examined,
            runtime=RuntimeChoice(name=next(iter(runtimes_of(model.estimator.kind))), rows=0),
        )
        made_of = champion.manifest if champion and fitted.schema is champion.manifest.schema else None
        manifest = with_origin(manifest, made_of, updates=goes_on is not None)
        failed = [gate.reason for gate in examined.gates if not gate.passed]
        return Version(
            bundle=load_bundle(manifest, fitted.state),
            rows=len(parts.train),
            cpu_seconds=spent + fit_seconds + time.process_time() - began,
            passed=not failed,
            verdict="; ".join(failed) if failed else f"passed its {len(examined.gates)} gates",
        )

    def _fit(self, model: Model, dataset: Dataset, parts: Parts) -> tuple[Fitted, float]:
        retrain = model.retrain
        key = (dataset.as_of_us, retrain.window, retrain.half_life, dataset.windows)
        if key not in self._fitted:
            began = time.process_time()
            weights = row_weights(retrain.half_life, dataset.at_us[parts.train])
            fitted = fit_model(model, dataset.features, dataset.labels, parts, SEED, weights=weights)
            self._fitted[key] = fitted, time.process_time() - began
        return self._fitted[key]


def _rival(champion: Bundle, dataset: Dataset, parts: Parts) -> Champion:
    return Champion(champion.manifest.version, champion.score(dataset.features[parts.test]))


def _parts(model: Model, dataset: Dataset, goes_on: Manifest | None) -> Parts:
    """Return the parts of a training, or of the update of a version. Raises SplitTooSmall and TooFewNew."""
    known_us = dataset.spine["_label_known_us"].to_numpy()
    delay_us, window = model.label.delay_us, model.retrain.window
    window_us = parse_duration(window) if window else None
    if goes_on is None:
        return split_by_time(dataset.at_us, known_us, model.split, delay_us, dataset.as_of_us, window_us=window_us)
    learnt_us = learnt_until_us(goes_on)
    window_us = window_of_new(model, goes_on.version, learnt_us, dataset.as_of_us)
    try:
        return split_by_time(dataset.at_us, known_us, model.split, delay_us, dataset.as_of_us, window_us=window_us)
    except SplitTooSmall as small:
        raise TooFewNew(model.name, goes_on.version, small.rows, learnt_us) from None
