"""XGBoost's models walked by our kernels, against XGBoost's own predictions: sums to the bit."""

import json

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.bundles.estimators import XGBoost
from charkha.bundles.predictor import BadState, load_predictor
from charkha.bundles.trees.compiled import CompiledForest
from charkha.bundles.trees.forest import NotThisForest
from charkha.bundles.trees.objects import build
from charkha.bundles.trees.on_numpy import NumpyForest
from charkha.bundles.trees.xgboost_json import read_xgboost
from charkha.spec.model import FloatArray, Lesson, Task

COLUMNS = 5
SINGLE = float(np.finfo(np.float32).max)
EDGES = [0.0, -0.0, 1e-45, 1e-300, 5e-324, 1 / 3, 0.1, 16777217.0, SINGLE, -SINGLE, np.nan, 0.5, -0.5, -1.0]
BEYOND = [1.7e308, -1.7e308, np.inf, -np.inf, 1e39]
CODES = [*range(40), np.nan]


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build()


def rows(seed: int, count: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(count, COLUMNS)) * 10.0 ** rng.integers(-2, 3, COLUMNS)
    matrix[:, 1] = np.round(matrix[:, 1])
    matrix[rng.random(matrix.shape) < 0.15] = np.nan
    matrix[rng.random(matrix.shape) < 0.1] = 0.0
    matrix[:, 0] = rng.integers(0, 40, count)
    matrix[rng.random(count) < 0.1, 0] = np.nan
    return matrix


def state_of(task: Task, seed: int = 0, **parameters: float) -> bytes:
    matrix = rows(seed, 1500)
    matrix[0, 0] = 39.0
    rng = np.random.default_rng(seed)
    signal = np.nan_to_num(matrix[:, 1]) + (np.nan_to_num(matrix[:, 0]) % 3) * 2 + rng.normal(size=1500)
    labels = (signal > np.median(signal)).astype(float) if task == "binary" else signal * 1e3
    estimator = XGBoost(**{"trees": 21, "threads": 1, "early_stopping": None, **parameters})  # type: ignore[arg-type]
    return estimator.fit(Lesson(task, (matrix, labels), (matrix[:0], labels[:0]), (0,), seed))


def peer(state: bytes, matrix: FloatArray, margin: bool = False) -> FloatArray:
    booster = xgboost.Booster(model_file=bytearray(state))
    types = ["c", *["q"] * (COLUMNS - 1)]
    table = xgboost.DMatrix(matrix, feature_types=types, enable_categorical=True)
    return np.asarray(booster.predict(table, output_margin=margin), dtype=np.float64)


def awkward(count: int = 2000) -> FloatArray:
    rng = np.random.default_rng(9)
    matrix = rng.choice(EDGES, (count, COLUMNS))
    matrix[:, 0] = rng.choice(CODES, count)
    return np.concatenate([rows(1, count), matrix])


def at_thresholds(state: bytes) -> FloatArray:
    found = np.concatenate([tree.threshold for tree in read_xgboost(state).trees])
    around = np.concatenate([found, np.nextafter(found, np.inf), np.nextafter(np.float32(found), np.float32(-np.inf))])
    matrix = np.random.default_rng(3).choice(around, (2000, COLUMNS))
    matrix[:, 0] = np.random.default_rng(3).integers(0, 40, 2000)
    return matrix


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("depth", [1, 3, 5, 6, 9])
def test_scores_are_xgboosts(task: Task, depth: int) -> None:
    state = state_of(task, depth=depth, min_weight_per_leaf=0.0, trees=40)
    matrix = np.concatenate([awkward(), at_thresholds(state)])
    expected = peer(state, matrix)
    for runtime in (CompiledForest(read_xgboost(state)), NumpyForest(read_xgboost(state))):
        scores = runtime.predict(matrix)
        if task == "regression":
            assert np.array_equal(scores, expected)
        else:
            np.testing.assert_allclose(scores, expected, rtol=0, atol=2e-7)
    np.testing.assert_array_equal(load_predictor("xgboost", state).predict(matrix), expected)


@st.composite
def fitted(draw: st.DrawFn) -> tuple[Task, bytes, FloatArray]:
    task: Task = draw(st.sampled_from(["binary", "regression"]))
    parameters = {
        "depth": draw(st.integers(1, 8)),
        "min_weight_per_leaf": draw(st.sampled_from([0.0, 1.0, 20.0])),
        "learning_rate": draw(st.sampled_from([0.01, 0.3, 2.0])),
        "trees": draw(st.integers(1, 12)),
    }
    numbers = st.one_of(st.floats(-SINGLE, SINGLE), st.sampled_from(EDGES))
    row = st.tuples(st.sampled_from(CODES), *[numbers] * (COLUMNS - 1))
    rows_ = np.array(draw(st.lists(row, min_size=1, max_size=20)), dtype=np.float64)
    return task, state_of(task, draw(st.integers(0, 50)), **parameters), rows_


@settings(max_examples=30, deadline=None)
@given(fitted())
def test_any_model_and_any_rows(case: tuple[Task, bytes, FloatArray]) -> None:
    task, state, matrix = case
    expected = peer(state, matrix)
    for runtime in (CompiledForest(read_xgboost(state)), NumpyForest(read_xgboost(state))):
        np.testing.assert_allclose(runtime.predict(matrix), expected, rtol=0, atol=2e-7 if task == "binary" else 0)


def test_what_xgboost_refuses_counts_as_the_largest_or_as_null() -> None:
    state = state_of("regression")
    matrix, clipped = (np.random.default_rng(1).choice(BEYOND, (500, COLUMNS)) for _ in range(2))
    matrix[:, 0] = np.random.default_rng(2).choice([40.0, 99.0, -1.0, 1e300, np.inf], 500)
    clipped[:] = np.clip(matrix, -SINGLE, SINGLE)
    clipped[:, 0] = np.nan
    for name in ("native", "compiled"):
        assert np.array_equal(load_predictor("xgboost", state, name).predict(matrix), peer(state, clipped))


def test_early_stopping_keeps_the_best_number_of_trees() -> None:
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=(600, 3)), rng.integers(0, 2, 600).astype(np.float64)
    halves = ((noise[:300], labels[:300]), (noise[300:], labels[300:]))
    state = XGBoost(trees=100, early_stopping=5, threads=1).fit(Lesson("binary", *halves, categorical=(), seed=1))
    assert len(read_xgboost(state).trees) < 30


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("objective", "name"), "count:poisson", "expected gbtree with one of binary:logistic"),
        (("gradient_booster", "name"), "dart", "got dart with binary:logistic"),
    ],
)
def test_what_flat_arrays_do_not_stand_for_is_refused(path: tuple[str, str], value: str, words: str) -> None:
    model = json.loads(state_of("binary"))
    model["learner"][path[0]][path[1]] = value
    with pytest.raises(NotThisForest, match=words):
        read_xgboost(json.dumps(model).encode())


def test_a_model_of_someone_else_is_refused() -> None:
    model = json.loads(state_of("binary"))
    del model["learner"]["attributes"]["charkha.codes"]
    with pytest.raises(BadState, match="a model that Charkha fitted"):
        read_xgboost(json.dumps(model).encode())
