"""A linear model that goes on learning: exactly where it was, by new rows alone."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import SGDClassifier, SGDRegressor

from charkha.bundles.estimators import Linear, OnlineLinear
from charkha.bundles.estimators.online_linear import ROWS_AT_ONCE, OnlineLinearState
from charkha.bundles.fitting import CannotFit
from charkha.bundles.predictor import BadState, WrongShape, load_predictor
from charkha.spec.model import FloatArray, Lesson, Task

Rows = tuple[FloatArray, FloatArray]
CATEGORICAL = (0, 3)


def rows(task: Task, count: int, seed: int, slope: float = 1.0) -> Rows:
    """Two categories, one of them of many; a number with a long tail, and one that tells nothing; nulls in all."""
    rng = np.random.default_rng(seed)
    matrix = np.column_stack(
        [rng.integers(0, 3, count), rng.lognormal(3, 1, count), rng.normal(size=count), rng.integers(0, 40, count)]
    )
    signal = slope * (np.log(matrix[:, 1]) - 3 + matrix[:, 0] - 1)
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    if task == "binary":
        return matrix, (rng.random(count) < 1 / (1 + np.exp(-3 * signal))).astype(np.float64)
    return matrix, 500 + 60 * signal


def lesson(task: Task, learnt: Rows) -> Lesson:
    return Lesson(task, learnt, (learnt[0][:0], learnt[1][:0]), CATEGORICAL, 1)


def state_of(state: bytes) -> OnlineLinearState:
    return msgspec.json.decode(state, type=OnlineLinearState)


def error(task: Task, state: bytes, asked: Rows) -> float:
    return float(np.mean((load_predictor("online_linear", state).predict(asked[0]) - asked[1]) ** 2))


def never_saved(task: Task, estimator: OnlineLinear, begun: OnlineLinearState, *later: Rows) -> FloatArray:
    """What one learner of scikit-learn says that is kept in memory throughout: weights, intercept, and its clock."""
    learner = (SGDClassifier if task == "binary" else SGDRegressor)(
        loss="log_loss" if task == "binary" else "squared_error",
        alpha=begun.penalty, learning_rate="invscaling", eta0=begun.step_size, power_t=estimator.decay, shuffle=False,
    )  # fmt: skip
    *weights, intercept, learner.t_ = all_of(msgspec.json.encode(begun))
    learner.coef_ = np.array(weights if task == "regression" else [weights])
    learner.intercept_ = np.array([intercept])
    if task == "binary":
        learner.classes_ = np.array([0.0, 1.0])
    for matrix, labels in later:
        laid_out = by_hand(begun, matrix)
        wanted = labels if task == "binary" else (labels - begun.label_centre) / begun.label_scale
        for low in range(0, len(labels), ROWS_AT_ONCE):
            part = slice(low, low + ROWS_AT_ONCE)
            learner.partial_fit(laid_out[part], wanted[part])
    return np.array([*np.ravel(learner.coef_), *learner.intercept_, learner.t_])


def by_hand(state: OnlineLinearState, matrix: FloatArray) -> FloatArray:
    of, columns = state.linear, []
    for at, centre, scale in zip(of.numeric, of.centres, of.scales, strict=True):
        columns.append(np.nan_to_num(np.clip((matrix[:, at] - centre) / scale, -of.clip, of.clip), nan=0.0))
    columns += [np.isnan(matrix[:, at]).astype(float) for at in of.numeric]
    for at, table in zip(of.categorical, of.tables, strict=True):
        columns += [(matrix[:, at] == code).astype(float) for code in range(len(table))]
    return np.column_stack(columns)


def all_of(state: bytes) -> FloatArray:
    of = state_of(state)
    tables = [each for table in of.linear.tables for each in table]
    return np.array([*of.linear.weights, *of.linear.null_weights, *tables, of.linear.intercept, of.steps])


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("decay", [0.0, 0.25])
def test_it_goes_on_as_one_that_never_was_saved(task: Task, decay: float) -> None:
    estimator = OnlineLinear(decay=decay)
    first, second, third = rows(task, 900, 0), rows(task, ROWS_AT_ONCE + 300, 1), rows(task, 1, 2)
    begun = state = estimator.fit(lesson(task, first))
    for later in (second, third):
        state = estimator.update(bytes(state), lesson(task, later))
    assert all_of(state).tolist() == never_saved(task, estimator, state_of(begun), second, third).tolist()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["binary", "regression"]), st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(0, 9)
)
def test_many_updates_are_one(task: Task, sizes: list[int], seed: int) -> None:
    estimator = OnlineLinear()
    begun = estimator.fit(lesson(task, rows(task, 300, seed)))
    matrix, labels = rows(task, sum(sizes), seed + 100)
    at_once, state = estimator.update(begun, lesson(task, (matrix, labels))), begun
    for until, size in zip(np.cumsum(sizes), sizes, strict=True):
        part = slice(until - size, until)
        state = estimator.update(state, lesson(task, (matrix[part], labels[part])))
    assert state_of(state).steps == state_of(at_once).steps == 1 + sum(sizes)
    np.testing.assert_allclose(all_of(state), all_of(at_once), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_its_first_training_is_that_of_the_linear_model(task: Task) -> None:
    learnt, asked = rows(task, 900, 0), rows(task, 300, 1)[0]
    online, plain = (each(strength=3.0).fit(lesson(task, learnt)) for each in (OnlineLinear, Linear))
    scores = [
        load_predictor(kind, state).predict(asked) for kind, state in (("online_linear", online), ("linear", plain))
    ]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-6)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_it_follows_a_world_that_turned_round_and_leaves_its_own_state_as_it_was(task: Task) -> None:
    estimator = OnlineLinear(rate=0.1)
    before = estimator.fit(lesson(task, rows(task, 3000, 0)))
    kept = bytes(before)
    turned = rows(task, 2000, 7, slope=-1.0)
    after = estimator.update(before, lesson(task, rows(task, 4000, 1, slope=-1.0)))
    assert before == kept
    assert error(task, after, turned) < 0.5 * error(task, before, turned)


def test_what_the_first_training_saw_stays_the_measure() -> None:
    estimator = OnlineLinear()
    first, (matrix, labels) = rows("regression", 1000, 0), rows("regression", 400, 1)
    state = estimator.fit(lesson("regression", first))
    odd = matrix.copy()
    odd[:, 1] *= 1e9  # another unit by now
    odd[:, 3] = 99  # a category that came later
    odd[::7, 2] = np.inf
    after = state_of(estimator.update(state, lesson("regression", (odd, labels))))
    begun = state_of(state)
    assert (after.linear.centres, after.linear.scales) == (begun.linear.centres, begun.linear.scales)
    assert len(after.linear.tables[1]) == len(begun.linear.tables[1]) == 40
    assert after.linear.tables[1] == pytest.approx(begun.linear.tables[1], abs=1e-3)  # the penalty alone
    assert np.isfinite(all_of(msgspec.json.encode(after))).all()


def test_nulls_of_a_column_that_had_none_teach_what_a_null_means() -> None:
    full = np.random.default_rng(0).normal(size=(500, 1))
    first = Lesson("regression", (full, full[:, 0]), (full[:0], full[:0, 0]), (), 1)
    state = OnlineLinear(rate=0.1).fit(first)
    assert state_of(state).linear.null_weights == (0.0,)
    gone = np.full((300, 1), np.nan)
    after = OnlineLinear(rate=0.1).update(
        state, Lesson("regression", (gone, np.full(300, 2.0)), first.validation, (), 1)
    )
    assert load_predictor("online_linear", after).predict(gone[:1])[0] > 1.5


def test_rows_of_one_class_are_enough_to_go_on_and_not_to_begin() -> None:
    matrix, labels = rows("binary", 300, 0)
    state = OnlineLinear().fit(lesson("binary", (matrix, labels)))
    after = OnlineLinear().update(state, lesson("binary", (matrix, np.ones(300))))
    predict = [load_predictor("online_linear", each).predict(matrix).mean() for each in (state, after)]
    assert predict[1] > predict[0]
    with pytest.raises(CannotFit, match="expected both 0 and 1"):
        OnlineLinear().fit(lesson("binary", (matrix, np.ones(300))))
    with pytest.raises(CannotFit, match="expected 0 or 1 among"):
        OnlineLinear().update(state, lesson("binary", (matrix, np.full(300, 0.5))))
    with pytest.raises(CannotFit, match="expected training rows, got none"):
        OnlineLinear().update(state, lesson("binary", (matrix[:0], labels[:0])))


def test_what_is_no_such_state_or_other_columns_is_refused() -> None:
    matrix, labels = rows("binary", 300, 0)
    with pytest.raises(BadState, match="JSON of an online linear model"):
        OnlineLinear().update(b"{}", lesson("binary", (matrix, labels)))
    state = OnlineLinear().fit(lesson("binary", (matrix, labels)))
    with pytest.raises(WrongShape):
        OnlineLinear().update(state, lesson("binary", (matrix[:, :3], labels)))
