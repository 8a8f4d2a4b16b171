"""Linear models that go on learning: stochastic gradient descent, one step for each row, in the order of time."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np
from attrs import evolve, frozen

from charkha.bundles.estimators.linear import Linear
from charkha.bundles.fitting import check_rows
from charkha.bundles.linear_runtime import (
    LinearPredictor,
    LinearState,
    codes_or_last,
    standardised,
)
from charkha.bundles.parameters import amount, check_parameters, share
from charkha.bundles.predictor import BadState, Load, check_columns
from charkha.spec.model import FloatArray, Lesson, Task

# So many rows are laid out as numbers at a time: of 2,000 columns 64 MB.
ROWS_AT_ONCE = 4096


@frozen(kw_only=True)
class OnlineLinear:
    """A linear model that goes on learning: an update takes one step for each new row, and forgets nothing else.

    Its first training is that of `ck.Linear`, to the same weights. Means, standard deviations, categories and the size
    of a step stay those of then: a category that came later has no weight, and a number whose scale has drifted counts
    as at the clip, until all is trained anew.

        ck.OnlineLinear()
        ck.OnlineLinear(rate=0.1)       # follow what is new sooner, at the price of noise

    strength: of the penalty on large weights, as of `ck.Linear`; a row of an update brings its share of it.
    rate: of a step, as a share of the one that would put a row of usual size right at once (normalised least mean
        squares; Haykin, "Adaptive Filter Theory", chapter 6). Of d weights that a row moves, the last d / rate rows
        count for a number, and some four times as many for a probability.
    decay: the t-th step is smaller by t to this power. Above 0 it comes to rest, and follows the world no more.
    clip: as of `ck.Linear`; rate × clip² at 2 or more may not come to rest on rows of outliers.

    Raises DefinitionError with every parameter that is out of bounds.
    """

    kind: ClassVar[str] = "online_linear"
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "regression")

    strength: float = amount(1.0, above=True)
    rate: float = share(0.01)
    decay: float = amount(0.0)
    clip: float = amount(10.0, above=True)

    def __attrs_post_init__(self) -> None:
        check_parameters(self)

    def fit(self, lesson: Lesson) -> bytes:
        """Learn from the training rows alone, and return the state as JSON. Raises CannotFit."""
        check_rows(lesson)
        matrix, labels = lesson.train
        centre, scale = _measure_of(lesson.task, labels)
        begun = evolve(lesson, train=(matrix, (labels - centre) / scale))
        linear = Linear(strength=self.strength, clip=self.clip).weights_of(begun)
        squares = sum(float(np.square(rows).sum()) for rows in _laid_out(linear, matrix))
        state = OnlineLinearState(
            linear=linear,
            steps=1.0,
            step_size=self.rate / (1 + squares / len(labels)),
            decay=self.decay,
            penalty=self.strength / len(labels),
            label_centre=centre,
            label_scale=scale,
        )
        return msgspec.json.encode(state)

    def update(self, state: bytes, lesson: Lesson) -> bytes:
        """Go on learning from new rows, in their order, from where a state is; exactly as if it had never been saved.

        lesson: encoded as that of the first training. Rows of one class are enough. Raises CannotFit, BadState and
        WrongShape.
        """
        check_rows(lesson, both_classes=False)
        known = _decoded(state)
        check_columns(lesson.train[0], known.linear.columns)
        return msgspec.json.encode(_after(known, lesson))


class OnlineLinearState(msgspec.Struct, frozen=True, kw_only=True):
    """What was learnt, and all that it takes to go on.

    linear: the weights, of labels less `label_centre`, over `label_scale`. steps: the number of the next one, from 1.
    step_size: of the first; decay: as declared. penalty: on large weights, for each row.
    """

    linear: LinearState
    steps: float
    step_size: float
    decay: float
    penalty: float
    label_centre: float
    label_scale: float

    def as_served(self) -> LinearState:
        """Return the weights in the labels' own unit."""
        of, scale = self.linear, self.label_scale
        return msgspec.structs.replace(
            of,
            intercept=of.intercept * scale + self.label_centre,
            weights=tuple(each * scale for each in of.weights),
            null_weights=tuple(each * scale for each in of.null_weights),
            tables=tuple(tuple(each * scale for each in table) for table in of.tables),
        )


def _decoded(state: bytes) -> OnlineLinearState:
    try:
        return msgspec.json.decode(state, type=OnlineLinearState)
    except msgspec.DecodeError as error:
        raise BadState(f"expected the JSON of an online linear model: {error}") from None


def _on_numpy(state: bytes) -> LinearPredictor:
    return LinearPredictor(_decoded(state).as_served())


RUNTIMES: Mapping[str, Load] = {"numpy": _on_numpy}


def _measure_of(task: Task, labels: FloatArray) -> tuple[float, float]:
    """Return the mean and standard deviation of numbers that are learnt; 0 and 1 where it is a class."""
    return (float(labels.mean()), float(labels.std()) or 1.0) if task == "regression" else (0.0, 1.0)


def _laid_out(state: LinearState, matrix: FloatArray) -> Iterator[FloatArray]:
    """Yield rows as the numbers that weights belong to, float64 (n, weights): numbers, nulls, and each code."""
    numeric, centres, scales = np.array(state.numeric, dtype=np.intp), np.array(state.centres), np.array(state.scales)
    for low in range(0, len(matrix), ROWS_AT_ONCE):
        rows = matrix[low : low + ROWS_AT_ONCE]
        numbers, null = standardised(rows[:, numeric], centres, scales, state.clip)
        codes = [
            np.eye(len(table) + 1)[codes_or_last(rows[:, at], len(table))][:, :-1]
            for at, table in zip(state.categorical, state.tables, strict=True)
        ]
        yield np.ascontiguousarray(np.hstack([numbers, null.astype(np.float64), *codes]))


def _after(state: OnlineLinearState, lesson: Lesson) -> OnlineLinearState:
    """Return a state after rows were learnt from, in their order."""
    matrix, labels = lesson.train
    wanted = (labels - state.label_centre) / state.label_scale if lesson.task == "regression" else labels
    learner = _learner(state)
    weights = np.ones(len(labels)) if lesson.weights is None else lesson.weights
    for number, rows in enumerate(_laid_out(state.linear, matrix)):
        part = slice(number * ROWS_AT_ONCE, number * ROWS_AT_ONCE + len(rows))
        learner.partial_fit(rows, wanted[part], sample_weight=weights[part])
    return _stored(state, learner)


def _learner(state: OnlineLinearState) -> Any:
    """Return scikit-learn's learner where a state is: an SGDClassifier, or an SGDRegressor."""
    from sklearn.linear_model import SGDClassifier, SGDRegressor

    linear, binary = state.linear, state.linear.task == "binary"
    learner = (SGDClassifier if binary else SGDRegressor)(
        loss="log_loss" if binary else "squared_error",
        alpha=state.penalty,
        learning_rate="invscaling",
        eta0=state.step_size,
        power_t=state.decay,
        shuffle=False,
        random_state=0,
    )
    weights = np.concatenate([linear.weights, linear.null_weights, *linear.tables]).astype(np.float64)
    learner.coef_ = weights[None, :] if binary else weights
    learner.intercept_, learner.t_, learner.n_features_in_ = np.array([linear.intercept]), state.steps, len(weights)
    if binary:
        learner.classes_ = np.array([0.0, 1.0])
    return learner


def _stored(state: OnlineLinearState, learner: Any) -> OnlineLinearState:
    of = state.linear
    sizes = [len(of.numeric), len(of.numeric), *map(len, of.tables)]
    weights, null_weights, *tables = (
        tuple(part.tolist()) for part in np.split(np.ravel(learner.coef_), np.cumsum(sizes)[:-1])
    )
    linear = msgspec.structs.replace(
        of, intercept=float(learner.intercept_[0]), weights=weights, null_weights=null_weights, tables=tuple(tables)
    )
    return msgspec.structs.replace(state, linear=linear, steps=float(learner.t_))
