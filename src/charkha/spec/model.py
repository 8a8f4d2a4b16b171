"""The definition of a model: everything a team decides about it, in one frozen object."""

from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import polars as pl
from attrs import Factory, evolve, field, frozen

from charkha.spec.autonomy import Autonomy
from charkha.spec.business import Better
from charkha.spec.durations import parse_duration
from charkha.spec.fields import FieldType, one_or_many
from charkha.spec.gates import Gate
from charkha.spec.policies import Budget, Fallback, LogPolicy, Monitors, Retrain
from charkha.spec.prices import Prices
from charkha.spec.rollout import Compare, Rollout, Shadow
from charkha.spec.rules import Rule
from charkha.spec.sources import Entity, Source
from charkha.spec.views import FeatureView, RequestFeatures

Task = Literal["binary", "regression"]
FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

# Metric name → does a higher value mean a better model? The first of a task is its primary unless the model says.
METRICS: Mapping[Task, Mapping[str, bool]] = {
    "binary": {"roc_auc": True, "average_precision": True, "log_loss": False, "brier": False},
    "regression": {"mae": False, "rmse": False, "r2": True},
}
# Losses of one row's score, which may decide a rollout.
ROW_LOSSES: Mapping[Task, tuple[str, ...]] = {
    "binary": ("log_loss", "brier"),
    "regression": ("absolute_error", "squared_error"),
}
# May decide one too, of binary models: what one row's decision cost as it was served, by `Costs`.
COST = "cost"


@frozen(eq=False)
class Lesson:
    """What an estimator learns from: features float64 (n, f) and labels float64 (n,), to train and to validate by.

    Null is NaN; the columns `categorical` hold codes from 0. Without validation rows nothing is stopped early.
    weights: how much each training row counts, float64 (n,), above 0; None: all the same.
    """

    task: Task
    train: tuple[FloatArray, FloatArray]
    validation: tuple[FloatArray, FloatArray]
    categorical: tuple[int, ...]
    seed: int
    weights: FloatArray | None = None

    @property
    def validates(self) -> bool:
        """Whether there are validation rows."""
        return len(self.validation[1]) > 0

    @property
    def examples(self) -> FloatArray:
        """Rows to try a model on: those to validate by, or else those it learns from."""
        return self.validation[0] if self.validates else self.train[0]


class Estimator(Protocol):
    """What can learn: a frozen declaration of parameters that knows how to fit (see `charkha.bundles.estimators`)."""

    @property
    def kind(self) -> str:
        """The name under which its runtime is found, such as "lightgbm"."""
        ...

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks it can learn."""
        ...

    def fit(self, lesson: Lesson) -> bytes:
        """Learn, and return the state, which is no pickle."""
        ...


@runtime_checkable
class ContinualEstimator(Estimator, Protocol):
    """What can go on learning from new rows alone, without those that it has learnt from (continual learning)."""

    def update(self, state: bytes, lesson: Lesson) -> bytes:
        """Go on from a state, and return the one after. lesson: the new rows, encoded as the first ones were."""
        ...


@frozen(eq=False)
class Label:
    """The truth of a prediction, and how late it arrives.

    source: whose rows are the occasions to predict: one row each.
    truth: an expression over the source's fields, boolean for `binary`, a number for `regression`; null is no label.
    at: the column with the time at which the prediction is asked for.
    known: the column with the time at which the truth was known; the source's own unless given.
    delay: how late nearly all labels have arrived: the gap between the splits, and when labels have matured.
    """

    source: Source
    truth: pl.Expr
    at: str = field(kw_only=True)
    delay: str = field(kw_only=True)
    known: str | None = field(kw_only=True)

    @known.default
    def _when_the_source_knew(self) -> str | None:
        return self.source.known

    @property
    def delay_us(self) -> int:
        """`delay` in µs."""
        return parse_duration(self.delay)


@frozen(kw_only=True)
class Costs:
    """What each kind of decision costs, in any one unit; the decision threshold is the cheapest on validation rows."""

    false_positive: float = 1.0
    false_negative: float = 1.0
    true_positive: float = 0.0
    true_negative: float = 0.0


@frozen(kw_only=True)
class Split:
    """How the known rows are cut by time: train, gap, validation, gap, test; each gap as long as the label's delay.

    validation: the length on which early stopping, calibration and the threshold are learnt.
    test: the newest length, for metrics and gates only.
    gap: shorter than the label's delay, where labels take years and such gaps would leave nothing to learn from. Then
        a part learns from labels that were not known yet when the next one was asked: the test is kinder than life.
    """

    validation: str = "14d"
    test: str = "14d"
    gap: str | None = None


@frozen(eq=False)
class Model:
    """A model and its whole life.

    name: letters, digits and `_`; part of its route.
    label: the truth, and the rows on which it is asked for.
    request: the label source's fields that a request carries: known at the time of prediction.
    features: feature views and request features; their order is that of the matrix.
    estimator: `ck.LightGBM()`, `ck.Linear()`, …
    metrics: what is reported; the first is the primary.
    slices: request fields by whose values metrics are also reported.
    business: figures that a label call may carry beside the truth, and which way each is better: one may decide a
        rollout, such as {"margin": "higher"}.
    fallback: what answers where the model cannot; without one, such a call fails.
    reasons: full name of a feature, or name of a view → what is said of it where it moved a score.
    log: how long predictions are kept, and what is answered while there is no room for them.
    autonomy: what the operator does by itself, and what it proposes or only observes.
    prices: what the machine costs; of what has none, the cost is unknown.
    stick_to: the entity that always meets the same version while challengers answer a share, by its name or itself; the
        entity of the first view unless given. Something else than a view describes may be it, if its keys are fields of
        the request.
    """

    name: str
    label: Label = field(kw_only=True)
    request: tuple[str, ...] = field(converter=one_or_many, kw_only=True)
    features: tuple[FeatureView | RequestFeatures, ...] = field(
        converter=tuple[FeatureView | RequestFeatures, ...], kw_only=True
    )
    estimator: Estimator = field(kw_only=True)
    task: Task = field(default="binary", kw_only=True)
    split: Split = field(default=Split(), kw_only=True)
    calibrate: Literal["isotonic", "sigmoid"] | None = field(default=None, kw_only=True)
    costs: Costs = field(default=Costs(), kw_only=True)
    metrics: tuple[str, ...] = field(converter=one_or_many, kw_only=True)
    slices: tuple[str, ...] = field(default=(), converter=one_or_many, kw_only=True)
    business: Mapping[str, Better] = field(factory=dict, kw_only=True)
    gates: tuple[Gate, ...] = field(default=(), converter=tuple[Gate, ...], kw_only=True)
    rules: tuple[Rule, ...] = field(default=(), converter=tuple[Rule, ...], kw_only=True)
    rollout: Rollout = field(kw_only=True)
    retrain: Retrain = field(default=Retrain(), kw_only=True)
    monitors: Monitors = field(default=Factory(Monitors), kw_only=True)
    fallback: Fallback | None = field(default=None, kw_only=True)
    reasons: Mapping[str, str] = field(factory=dict, kw_only=True)
    log: LogPolicy = field(default=LogPolicy(), kw_only=True)
    stick_to: str | Entity | None = field(default=None, kw_only=True)
    budget: Budget = field(default=Budget(), kw_only=True)
    autonomy: Autonomy = field(default=Autonomy(), kw_only=True)
    prices: Prices | None = field(default=None, kw_only=True)
    purpose: str = field(kw_only=True)
    owner: str = field(kw_only=True)

    @metrics.default
    def _all_of_the_task(self) -> tuple[str, ...]:
        return tuple(METRICS.get(self.task, ()))

    @rollout.default
    def _shadow_a_week(self) -> Rollout:
        return Rollout(Shadow("7d"), Compare(ROW_LOSSES.get(self.task, ("",))[0]))

    @property
    def views(self) -> tuple[FeatureView, ...]:
        """The feature views among the features."""
        return tuple(part for part in self.features if isinstance(part, FeatureView))

    @property
    def request_features(self) -> tuple[RequestFeatures, ...]:
        """The request features among the features."""
        return tuple(part for part in self.features if isinstance(part, RequestFeatures))

    @property
    def request_fields(self) -> dict[str, FieldType]:
        """The request's fields and their types, without the time of prediction (the clock gives that)."""
        return {name: self.label.source.fields[name] for name in self.request}

    @property
    def sticky_fields(self) -> tuple[str, ...]:
        """The request fields by which versions are assigned: the keys of `stick_to`; all fields without an entity."""
        entities = [view.entity for view in self.views]
        if isinstance(self.stick_to, Entity):
            return self.stick_to.keys
        named = [each for each in entities if self.stick_to in (None, each.name) and set(each.keys) <= {*self.request}]
        return named[0].keys if named else self.request

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every source the model reads, each once: those of its views, then its label's."""
        return tuple({source.name: source for source in (*(v.source for v in self.views), self.label.source)}.values())

    @property
    def priced_retrain(self) -> Retrain:
        """The policy of trainings, its processor hour at the model's price where it declares none of its own."""
        declared = self.prices is not None and self.prices.currency == "INR"
        if self.retrain.inr_per_cpu_hour is not None or self.prices is None or not declared:
            return self.retrain
        return evolve(self.retrain, inr_per_cpu_hour=self.prices.cpu_hour)

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value of the primary metric is better."""
        return METRICS[self.task][self.metrics[0]]

    @property
    def business_metric(self) -> str | None:
        """The business metric that decides a rollout; None where a loss does."""
        metric = self.rollout.compare.metric
        return metric if metric in self.business else None

    @property
    def compared_higher(self) -> bool:
        """Whether a higher value of what decides a rollout is better: losses and costs are better low."""
        return self.business.get(self.rollout.compare.metric) == "higher"

    @property
    def row_loss(self) -> str:
        """The loss that compares versions on the same rows; the task's first where a business metric decides."""
        return ROW_LOSSES[self.task][0] if self.business_metric else self.rollout.compare.metric
