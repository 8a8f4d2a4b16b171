"""The linear runtime on NumPy against scikit-learn's own pipeline."""

import msgspec
import numpy as np
import pytest

from charkha.bundles.estimators import Linear
from charkha.bundles.linear_runtime import LinearState
from charkha.bundles.predictor import load_predictor
from charkha.spec.model import FloatArray, Lesson, Task


def rows(task: Task, count: int, seed: int) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    matrix = np.column_stack(
        [rng.integers(0, 3, count), rng.lognormal(3, 2, count), rng.normal(size=count), rng.integers(0, 40, count)]
    )
    signal = np.log(matrix[:, 1]) - 3 + matrix[:, 0]
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    return matrix, (signal > 1).astype(np.float64) if task == "binary" else signal


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("categorical", [(0, 3), (), (0,), (0, 1, 2, 3)])
def test_it_answers_as_scikit_learn_does(task: Task, categorical: tuple[int, ...]) -> None:
    train, later = rows(task, 1500, 0), rows(task, 400, 1)[0]
    if 1 in categorical:
        train = (np.round(train[0].clip(0, 30)), train[1])
        later = np.round(later.clip(0, 60))
    pipeline = Linear(strength=2.0, clip=3.0).pipeline(task, train[0], categorical).fit(*train)
    state = Linear(strength=2.0, clip=3.0).fit(Lesson(task, train, train, categorical, 1))
    theirs = pipeline.predict_proba(later)[:, 1] if task == "binary" else pipeline.predict(later)
    np.testing.assert_allclose(load_predictor("linear", state).predict(later), theirs, rtol=1e-9, atol=1e-12)


def test_a_stronger_penalty_gives_smaller_weights() -> None:
    train = rows("binary", 500, 0)
    weights = [
        _state(Linear(strength=s).fit(Lesson("binary", train, train, (0,), 1))).weights for s in (0.01, 1.0, 100.0)
    ]
    sizes = [float(np.abs(w).sum()) for w in weights]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < 0.5 * sizes[0]


def test_beyond_the_clip_a_number_says_no_more() -> None:
    train = rows("regression", 500, 0)
    predictor = load_predictor("linear", Linear(clip=2.0).fit(Lesson("regression", train, train, (0,), 1)))
    far, further = np.array([[1.0, 1e9, 0.0, 3.0]]), np.array([[1.0, 1e300, 0.0, 3.0]])
    assert predictor.predict(far) == predictor.predict(further)


def test_certainty_never_overflows() -> None:
    state = LinearState(
        task="binary", columns=1, intercept=0.0, clip=10.0, numeric=(0,), centres=(0.0,), scales=(1.0,),
        weights=(200.0,), null_weights=(0.0,), categorical=(), tables=(),
    )  # fmt: skip
    answers = load_predictor("linear", msgspec.json.encode(state)).predict(np.array([[-10.0], [0.0], [10.0]]))
    assert answers.tolist() == [0.0, 0.5, 1.0]


def _state(state: bytes) -> LinearState:
    return msgspec.json.decode(state, type=LinearState)
