"""CatBoost's models walked by our kernels, against CatBoost's own predictions."""

from typing import Any

import catboost
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.bundles.estimators import CatBoost
from charkha.bundles.estimators.catboost import CatBoostState
from charkha.bundles.predictor import load_predictor
from charkha.bundles.runtime_choice import choose_runtime
from charkha.bundles.trees.forest import NotThisForest
from charkha.bundles.trees.objects import build
from charkha.bundles.trees.stored import restored
from charkha.spec.model import FloatArray, Lesson, Task

COLUMNS, CATEGORICAL, CODES = 5, (0, 3), 40
TASKS: list[Task] = ["binary", "regression"]
LARGEST = float(np.finfo(np.float32).max)
EDGES = [0.0, -0.0, 5e-324, 1e-45, 1 / 3, 0.1, 16777217.0, LARGEST, -LARGEST, np.nan, 0.5, -0.5]


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build()


def rows(seed: int, count: int, codes: int = CODES) -> FloatArray:
    """Codes in columns 0 and 3; nulls in all columns but 2."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(count, COLUMNS)) * 10.0 ** rng.integers(-2, 3, COLUMNS)
    matrix[:, 1] = np.round(matrix[:, 1])
    for at in CATEGORICAL:
        matrix[:, at] = rng.integers(0, codes, count)
    matrix[(rng.random(matrix.shape) < 0.15) & (np.arange(COLUMNS) != 2)] = np.nan
    return matrix


def state_of(task: Task, seed: int = 0, codes: int = CODES, **parameters: Any) -> bytes:
    matrix = rows(seed, 1500, codes)
    matrix[0, list(CATEGORICAL)] = codes - 1
    known = np.nan_to_num(matrix)
    signal = known[:, 1] + (known[:, 0] % 3) * 2 + known[:, 3] % 2 + np.random.default_rng(seed).normal(size=1500)
    labels = (signal > np.median(signal)).astype(np.float64) if task == "binary" else signal
    estimator = CatBoost(**{"trees": 20, "threads": 1, **parameters})
    return estimator.fit(Lesson(task, (matrix, labels), (matrix[:0], labels[:0]), CATEGORICAL, seed))


def peer(state: bytes, task: Task, matrix: FloatArray, codes: int = CODES) -> FloatArray:
    """Return CatBoost's own predictions, by another way into it than ours: a table of Python's objects."""
    model = catboost.CatBoost().load_model(blob=msgspec.msgpack.decode(state, type=CatBoostState).model)
    table = [
        [str(codes if np.isnan(x) else int(x)) if at in CATEGORICAL else x for at, x in enumerate(row)]
        for row in matrix
    ]
    # What is categorical comes last, as in the table that it was fitted on.
    order = [*(at for at in range(COLUMNS) if at not in CATEGORICAL), *CATEGORICAL]
    pool = catboost.Pool([[row[at] for at in order] for row in table], cat_features=[3, 4])
    kind = "Probability" if task == "binary" else "RawFormulaVal"
    scores = np.asarray(model.predict(pool, prediction_type=kind))
    return scores[:, 1] if task == "binary" else scores


def agree(state: bytes, task: Task, matrix: FloatArray) -> None:
    expected = peer(state, task, matrix)
    for name in ("native", "compiled"):
        scores = load_predictor("catboost", state, name).predict(matrix)
        np.testing.assert_allclose(scores, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("depth", [1, 5, 6, 8])
def test_scores_are_catboosts(task: Task, depth: int) -> None:
    state = state_of(task, depth=depth)
    stored = msgspec.msgpack.decode(state, type=CatBoostState).forest
    assert stored is not None
    assert any(tree.categories for tree in restored(stored).trees)
    thresholds = np.concatenate([tree.threshold for tree in restored(stored).trees])
    near = np.concatenate([thresholds, np.nextafter(np.float32(thresholds), np.float32(np.inf)), EDGES])
    rng = np.random.default_rng(2)
    matrix = rng.choice(near, (1000, COLUMNS))
    for at in CATEGORICAL:
        matrix[:, at] = rng.choice([*range(CODES), np.nan], 1000)
    agree(state, task, np.concatenate([rows(1, 1000), matrix]))


@st.composite
def awkward_rows(draw: st.DrawFn) -> FloatArray:
    numbers = st.one_of(st.floats(-LARGEST, LARGEST), st.sampled_from(EDGES))
    codes = st.sampled_from([*map(float, range(CODES)), np.nan])
    row = st.tuples(codes, numbers, numbers, codes, numbers)
    return np.array(draw(st.lists(row, min_size=1, max_size=20)), dtype=np.float64)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(TASKS), st.integers(0, 9), st.integers(1, 7), awkward_rows())
def test_any_model_and_any_rows(task: Task, seed: int, depth: int, matrix: FloatArray) -> None:
    agree(state_of(task, seed, depth=depth, trees=6), task, matrix)


def test_statistics_of_categories_are_left_to_catboost() -> None:
    state, matrix = state_of("binary", codes=300), rows(1, 500, 300)
    with pytest.raises(NotThisForest, match="more than 255 categories"):
        load_predictor("catboost", state, "compiled")
    choice = choose_runtime("catboost", state, matrix)
    assert choice.name == "native"
    assert "CatBoost itself has to serve" in choice.passed_over["compiled"]
    np.testing.assert_allclose(
        load_predictor("catboost", state).predict(matrix), peer(state, "binary", matrix, 300), rtol=1e-12
    )


def test_early_stopping_keeps_the_best_number_of_trees() -> None:
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=(600, 3)), rng.integers(0, 2, 600).astype(np.float64)
    halves = ((noise[:300], labels[:300]), (noise[300:], labels[300:]))
    stored = []
    for early_stopping in (5, None):
        estimator = CatBoost(trees=100, early_stopping=early_stopping, threads=1)
        kept = msgspec.msgpack.decode(
            estimator.fit(Lesson("binary", *halves, categorical=(), seed=1)), type=CatBoostState
        )
        stored.append(restored(kept.forest or b""))
    assert len(stored[0].trees) < 50
    assert len(stored[1].trees) == 100
