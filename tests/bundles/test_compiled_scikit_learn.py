"""Trees that scikit-learn grew, walked by our kernels, against its own predictions on any rows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from charkha.bundles.estimators import HistGradientBoosting, RandomForest
from charkha.bundles.fitting import CannotFit
from charkha.bundles.predictor import BadState, load_predictor
from charkha.bundles.trees import scikit_learn
from charkha.bundles.trees.compiled import CompiledForest
from charkha.bundles.trees.forest import Forest
from charkha.bundles.trees.objects import build
from charkha.bundles.trees.on_numpy import NumpyForest
from charkha.bundles.trees.scikit_learn import codes_of, forest_of_averages, forest_of_boosting, hold_to
from charkha.bundles.trees.stored import restored, store
from charkha.spec.model import FloatArray, Lesson, Task

COLUMNS, CATEGORICAL = 5, (0, 3)
TASKS: list[Task] = ["binary", "regression"]
LARGEST = float(np.finfo(np.float32).max)
EDGES = [0.0, -0.0, 5e-324, 1e-45, 1 / 3, 0.1, 16777217.0, LARGEST, -LARGEST, np.nan, 0.5, -0.5]


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build()


def rows(seed: int, count: int) -> FloatArray:
    """Codes in columns 0 and 3, of which 7 never occurs; nulls in all columns but 2."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(count, COLUMNS)) * 10.0 ** rng.integers(-2, 3, COLUMNS)
    matrix[:, 1] = np.round(matrix[:, 1])
    for at in CATEGORICAL:
        matrix[:, at] = rng.choice([0, 1, 2, 3, 4, 5, 6, *range(8, 40)], count)
    nulls = rng.random(matrix.shape) < 0.15
    matrix[nulls & (np.arange(COLUMNS) != 2)] = np.nan
    return matrix


def labels_of(task: Task, matrix: FloatArray, seed: int) -> FloatArray:
    known = np.nan_to_num(matrix)
    signal = (
        known[:, 1] + (known[:, 0] % 3) * 2 + known[:, 3] % 2 + np.random.default_rng(seed).normal(size=len(matrix))
    )
    return (signal > np.median(signal)).astype(np.float64) if task == "binary" else signal


def awkward(count: int = 2000) -> FloatArray:
    rng = np.random.default_rng(9)
    matrix = rng.choice(EDGES, (count, COLUMNS))
    for at in CATEGORICAL:
        matrix[:, at] = rng.choice([*range(40), np.nan], count)
    return np.concatenate([rows(1, count), matrix])


def own(learner: Any, task: Task, matrix: FloatArray) -> FloatArray:
    # It adds all of a matrix up to see whether a number is not finite: the largest ones make that infinite.
    with np.errstate(over="ignore", invalid="ignore"):
        scores: FloatArray = learner.predict_proba(matrix)[:, 1] if task == "binary" else learner.predict(matrix)
    return scores


def boosting(task: Task, seed: int, **parameters: Any) -> tuple[Any, Forest]:
    matrix = rows(seed, 1500)
    kind = HistGradientBoostingClassifier if task == "binary" else HistGradientBoostingRegressor
    learner = kind(categorical_features=CATEGORICAL, early_stopping=False, random_state=seed, **parameters)
    learner.fit(matrix, labels_of(task, matrix, seed))
    return learner, forest_of_boosting(learner, task, codes_of(matrix, CATEGORICAL), parameters["max_iter"])


def forest(task: Task, seed: int, **parameters: Any) -> tuple[Any, Forest]:
    matrix = rows(seed, 800)
    kind = RandomForestClassifier if task == "binary" else RandomForestRegressor
    learner = kind(random_state=seed, n_jobs=1, **parameters).fit(matrix, labels_of(task, matrix, seed))
    return learner, forest_of_averages(learner, task, codes_of(matrix, CATEGORICAL))


def agree(learner: Any, made: Forest, task: Task, matrix: FloatArray) -> None:
    expected = own(learner, task, matrix)
    kept = restored(store(made))
    for runtime in (CompiledForest(kept), NumpyForest(kept)):
        np.testing.assert_allclose(runtime.predict(matrix), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("leaves", [2, 31, 64, 200])
def test_boosting_scores_are_its_own(task: Task, leaves: int) -> None:
    learner, made = boosting(task, 0, max_iter=30, max_leaf_nodes=leaves, min_samples_leaf=2)
    assert leaves == 2 or any(tree.categories for tree in made.trees)
    agree(learner, made, task, awkward())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("leaves", [2, 32, None])
def test_forest_scores_are_its_own(task: Task, leaves: int | None) -> None:
    learner, made = forest(task, 0, n_estimators=20, max_leaf_nodes=leaves)
    agree(learner, made, task, awkward())


@st.composite
def awkward_rows(draw: st.DrawFn) -> FloatArray:
    numbers = st.one_of(st.floats(-LARGEST, LARGEST), st.sampled_from(EDGES))
    codes = st.sampled_from([*map(float, range(40)), np.nan])
    row = st.tuples(codes, numbers, numbers, codes, numbers)
    return np.array(draw(st.lists(row, min_size=1, max_size=20)), dtype=np.float64)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(TASKS), st.integers(0, 9), st.integers(2, 80), awkward_rows())
def test_any_model_and_any_rows(task: Task, seed: int, leaves: int, matrix: FloatArray) -> None:
    agree(*boosting(task, seed, max_iter=6, max_leaf_nodes=leaves, min_samples_leaf=3), task, matrix)
    agree(*forest(task, seed, n_estimators=9, max_leaf_nodes=leaves), task, matrix)


@pytest.mark.parametrize("estimator", [HistGradientBoosting(trees=20), RandomForest(trees=20, threads=1)])
@pytest.mark.parametrize("task", TASKS)
def test_what_scikit_learn_refuses_has_an_answer(estimator: HistGradientBoosting | RandomForest, task: Task) -> None:
    matrix = rows(0, 1500)
    matrix[:5, 1] = [np.inf, -np.inf, 1.7e308, -1.7e308, 1e300]
    labels = labels_of(task, rows(0, 1500), 0)
    state = estimator.fit(Lesson(task, (matrix, labels), (matrix[:300], labels[:300]), CATEGORICAL, 1))
    asked = np.random.default_rng(1).choice([np.inf, -np.inf, 1.7e308, -1.7e308, 600.0, -1.0, np.nan], (300, COLUMNS))
    scores = [load_predictor(estimator.kind, state, name).predict(asked) for name in ("numpy", "compiled")]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-12)
    assert np.isfinite(scores).all()


def test_early_stopping_keeps_the_best_number_of_trees() -> None:
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=(600, 3)), rng.integers(0, 2, 600).astype(np.float64)
    halves = ((noise[:300], labels[:300]), (noise[300:], labels[300:]))
    stopped = HistGradientBoosting(trees=100, early_stopping=5).fit(Lesson("binary", *halves, categorical=(), seed=1))
    full = HistGradientBoosting(trees=100, early_stopping=None).fit(Lesson("binary", *halves, categorical=(), seed=1))
    assert len(restored(stopped).trees) < 30
    assert len(restored(full).trees) == 100


def test_trees_that_predict_otherwise_are_not_kept() -> None:
    learner, made = forest("regression", 0, n_estimators=3)
    with pytest.raises(CannotFit, match="expected flat trees that predict as scikit-learn does"):
        hold_to(lambda asked: own(learner, "regression", asked) + 1e-5 * 40, made, rows(1, 50))
    assert scikit_learn.TOLERANCE == 1e-6


def test_a_stored_forest_of_other_sizes_is_refused() -> None:
    _, made = forest("regression", 0, n_estimators=3)
    state = store(made)
    leaves = len(made.trees[0].value)
    assert leaves > 128
    with pytest.raises(BadState, match="expected a stored forest"):
        restored(state.replace(leaves.to_bytes(2, "big"), (leaves + 1).to_bytes(2, "big"), 1))
