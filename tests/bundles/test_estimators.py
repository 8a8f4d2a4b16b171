"""One contract for every estimator found in the package."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pkgutil import iter_modules

import numpy as np
import pytest

from charkha.bundles import estimators
from charkha.bundles.fitting import CannotFit
from charkha.bundles.predictor import BadState, Predictor, UnknownEstimator, WrongShape, load_predictor, runtimes_of
from charkha.bundles.runtime_choice import furthest
from charkha.bundles.trees.objects import build
from charkha.spec.faults import DefinitionError
from charkha.spec.model import Estimator, FloatArray, Lesson, Task

ESTIMATORS: dict[str, Estimator] = {
    "catboost": estimators.CatBoost(trees=40, threads=1),
    "hist_gradient_boosting": estimators.HistGradientBoosting(trees=40, min_rows_per_leaf=20),
    "lightgbm": estimators.LightGBM(trees=40, min_rows_per_leaf=20, threads=1),
    "linear": estimators.Linear(),
    "online_linear": estimators.OnlineLinear(),
    "random_forest": estimators.RandomForest(trees=30, threads=1),
    "xgboost": estimators.XGBoost(trees=40, threads=1),
}
CASES = [(kind, task) for kind, estimator in ESTIMATORS.items() for task in estimator.tasks]
RUNTIMES = [(kind, task, name) for kind, task in CASES for name in runtimes_of(kind)]
CATEGORICAL = (1,)


def rows(task: Task, count: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Features and labels that depend on a number with nulls, a category with nulls, and noise."""
    rng = np.random.default_rng(seed)
    matrix = np.column_stack([rng.normal(50, 20, count), rng.integers(0, 4, count), rng.normal(size=(count, 2))])
    signal = (matrix[:, 0] - 50) / 20 + np.array([0.0, 1.0, -1.0, 0.5])[matrix[:, 1].astype(int)]
    matrix[rng.random(count) < 0.1, 0] = np.nan
    matrix[rng.random(count) < 0.05, 1] = np.nan
    if task == "binary":
        return matrix, (rng.random(count) < 1 / (1 + np.exp(-2 * signal))).astype(np.float64)
    return matrix, signal + rng.normal(0, 0.1, count)


def fit(kind: str, task: Task) -> bytes:
    return ESTIMATORS[kind].fit(Lesson(task, rows(task, 2000), rows(task, 500, seed=1), CATEGORICAL, 7))


state_of = cache(fit)


def awkward(columns: int = 4) -> FloatArray:
    """Rows a server may see and training did not: nulls, unseen codes, infinities, the largest and smallest numbers."""
    extremes = [np.nan, np.inf, -np.inf, 1.7e308, -1.7e308, 5e-324, -0.0, 1e15]
    matrix = np.full((len(extremes) + 1, columns), np.nan)
    matrix[: len(extremes), :] = np.array(extremes)[:, None]
    matrix[:, 1] = [np.nan, 0, 1, 3, 4, 99, 0.0, 511, np.nan]
    return matrix


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def fitted(request: pytest.FixtureRequest) -> tuple[str, Task, bytes]:
    kind, task = request.param
    return kind, task, state_of(kind, task)


@pytest.fixture(params=RUNTIMES, ids="-".join)
def served(request: pytest.FixtureRequest) -> tuple[Task, Predictor]:
    """Each runtime of each estimator."""
    kind, task, runtime = request.param
    build()
    return task, load_predictor(kind, state_of(kind, task), runtime)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 17, 64, 65, 1000])
def test_a_score_is_the_same_to_the_bit_whatever_rows_are_scored_beside_it(
    served: tuple[Task, Predictor], size: int
) -> None:
    task, predictor = served
    matrix = np.vstack([rows(task, 3000, seed=6)[0], awkward()])
    parts = [predictor.predict(matrix[low : low + size].copy()) for low in range(0, len(matrix), size)]
    assert np.concatenate(parts).tobytes() == predictor.predict(matrix).tobytes()


def test_every_runtime_gives_the_scores_of_the_first(fitted: tuple[str, Task, bytes]) -> None:
    kind, task, state = fitted
    build()
    matrix = np.vstack([rows(task, 500, seed=6)[0], awkward()])
    first, *others = (load_predictor(kind, state, name).predict(matrix) for name in runtimes_of(kind))
    assert all(furthest(scores, first) <= 1e-6 for scores in others)


def test_every_module_is_tested_and_called_as_its_kind() -> None:
    found = {module.name for module in iter_modules(estimators.__path__)}
    assert found == ESTIMATORS.keys()
    assert all(estimator.kind == name for name, estimator in ESTIMATORS.items())
    assert all(runtimes_of(name) for name in found)


def test_it_learns(fitted: tuple[str, Task, bytes]) -> None:
    kind, task, state = fitted
    matrix, labels = rows(task, 1000, seed=2)
    error = np.mean((load_predictor(kind, state).predict(matrix) - labels) ** 2)
    assert error < 0.75 * np.var(labels)


def test_the_same_rows_and_seed_give_the_same_state(fitted: tuple[str, Task, bytes]) -> None:
    kind, task, state = fitted
    assert fit(kind, task) == state


def test_one_row_is_answered_as_among_many(served: tuple[Task, Predictor]) -> None:
    task, predictor = served
    matrix = np.vstack([rows(task, 150, seed=3)[0], awkward()])
    alone = np.concatenate([predictor.predict(matrix[i : i + 1]) for i in range(len(matrix))])
    np.testing.assert_allclose(predictor.predict(matrix), alone, rtol=1e-12)


def test_awkward_rows_are_answered(served: tuple[Task, Predictor]) -> None:
    task, predictor = served
    answers = predictor.predict(awkward())
    assert np.isfinite(answers).all()
    assert task == "regression" or ((answers >= 0) & (answers <= 1)).all()


def test_an_unseen_category_counts_as_null(served: tuple[Task, Predictor]) -> None:
    _, predictor = served
    unseen, null = np.array([[50.0, 400.0, 0.0, 0.0]]), np.array([[50.0, np.nan, 0.0, 0.0]])
    assert predictor.predict(unseen) == predictor.predict(null)


def test_no_rows_no_answers(served: tuple[Task, Predictor]) -> None:
    _, predictor = served
    assert predictor.predict(np.empty((0, 4))).shape == (0,)


def test_rows_in_any_memory_order_are_read_right(served: tuple[Task, Predictor]) -> None:
    task, predictor = served
    matrix = rows(task, 100, seed=4)[0]
    expected = predictor.predict(matrix)
    np.testing.assert_allclose(predictor.predict(np.asfortranarray(matrix)), expected, rtol=1e-12)
    np.testing.assert_allclose(predictor.predict(matrix[::-1])[::-1], expected, rtol=1e-12)


def test_threads_do_not_disturb_each_other(served: tuple[Task, Predictor]) -> None:
    task, predictor = served
    matrix = rows(task, 300, seed=5)[0]
    expected = predictor.predict(matrix)

    def ask(offset: int) -> bool:
        spans = [(i, i + size) for size in (1, 7, 100) for i in range(offset, 150, size)]
        return all(np.allclose(predictor.predict(matrix[a:b]), expected[a:b], rtol=1e-12) for a, b in spans)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


@pytest.mark.parametrize("shape", [(3, 5), (3, 3), (4,), (1, 4, 1)])
def test_another_shape_is_refused(served: tuple[Task, Predictor], shape: tuple[int, ...]) -> None:
    _, predictor = served
    with pytest.raises(WrongShape, match="expected a matrix of 4 columns"):
        predictor.predict(np.zeros(shape))


@pytest.mark.parametrize("damage", [b"", b"\x80\x04]", b"{}", b"tree\n"])
def test_a_state_of_something_else_is_refused(fitted: tuple[str, Task, bytes], damage: bytes) -> None:
    with pytest.raises(BadState, match="expected"):
        load_predictor(fitted[0], damage)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.97])
def test_a_truncated_state_is_refused(fitted: tuple[str, Task, bytes], share: float) -> None:
    kind, _, state = fitted
    # Behind its trees, LightGBM's text only has remarks: 0.97 of a small model may be all of it.
    cut = state[: int(state.index(b"end of trees") * share) if b"end of trees" in state else int(len(state) * share)]
    with pytest.raises(BadState, match="expected"):
        load_predictor(kind, cut)


@pytest.mark.parametrize(("kind", "task"), CASES)
def test_rows_that_teach_nothing_are_refused(kind: str, task: Task) -> None:
    matrix, labels = rows(task, 100)
    none = (matrix[:0], labels[:0])
    for bad in (none, (matrix, labels[:50]), (matrix, np.where(labels == labels[0], np.nan, labels))):
        with pytest.raises(CannotFit, match="expected"):
            ESTIMATORS[kind].fit(Lesson(task, bad, none, CATEGORICAL, 1))


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize(
    "labels", [np.zeros(100), np.ones(100), np.tile([0.0, 2.0], 50), np.tile([0.0, 1.0, 0.5, 1], 25)]
)
def test_binary_labels_must_be_both_0_and_1(kind: str, labels: FloatArray) -> None:
    matrix, _ = rows("binary", 100)
    with pytest.raises(CannotFit, match="expected both 0 and 1 among the labels of the training rows, got"):
        ESTIMATORS[kind].fit(Lesson("binary", (matrix, labels), (matrix[:0], labels[:0]), CATEGORICAL, 1))


@pytest.mark.parametrize(("kind", "task"), CASES)
def test_columns_without_any_value_do_no_harm(kind: str, task: Task) -> None:
    matrix, labels = rows(task, 1000)
    matrix[:, [1, 2]] = np.nan
    state = ESTIMATORS[kind].fit(Lesson(task, (matrix, labels), (matrix[:0], labels[:0]), CATEGORICAL, 1))
    predictor = load_predictor(kind, state)
    later = matrix.copy()
    later[:, [1, 2]] = 3.0
    np.testing.assert_allclose(predictor.predict(later), predictor.predict(matrix), rtol=1e-12)


@pytest.mark.parametrize(("kind", "task"), CASES)
@pytest.mark.parametrize("categorical", [(), (0, 1)])
def test_all_numbers_or_all_categories(kind: str, task: Task, categorical: tuple[int, ...]) -> None:
    matrix, labels = rows(task, 1000)
    matrix = np.column_stack([np.round(matrix[:, 0].clip(0, 99) / 10), matrix[:, 1]])
    state = ESTIMATORS[kind].fit(Lesson(task, (matrix, labels), (matrix[:0], labels[:0]), categorical, 1))
    answers = load_predictor(kind, state).predict(matrix)
    assert np.mean((answers - labels) ** 2) < 0.9 * np.var(labels)


def test_an_unknown_kind_names_the_way_out() -> None:
    for kind in ("prophet", "../linear", "linear.load", "os", ""):
        with pytest.raises(UnknownEstimator, match="Upgrade Charkha"):
            load_predictor(kind, b"")


def test_every_wrong_parameter_is_named_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        estimators.LightGBM(trees=0, learning_rate=-1.0, row_share=1.5, leaves=2.5)  # type: ignore[arg-type]
    assert [fault.where for fault in caught.value.faults] == [
        "LightGBM(trees=…)",
        "LightGBM(leaves=…)",
        "LightGBM(learning_rate=…)",
        "LightGBM(row_share=…)",
    ]
    assert str(caught.value.faults[0]) == (
        "LightGBM(trees=…): expected a whole number from 1, got 0. Leave it out for the default, 400."
    )


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), float("inf"), "1", True, None])
def test_a_linear_strength_is_a_number_above_zero(bad: object) -> None:
    with pytest.raises(DefinitionError, match="expected a number above 0, got"):
        estimators.Linear(strength=bad)  # type: ignore[arg-type]
    assert estimators.LightGBM(early_stopping=None).early_stopping is None


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_rows_that_weigh_next_to_nothing_are_hardly_learnt_from(kind: str, task: Task) -> None:
    matrix, labels = rows(task, 3000)
    turned = 1 - labels if task == "binary" else -labels
    both = np.vstack([matrix, matrix]), np.concatenate([labels, turned])
    weights = np.concatenate([np.full(3000, 1e-6), np.full(3000, 2.0)])
    state = ESTIMATORS[kind].fit(Lesson(task, both, (matrix[:0], labels[:0]), CATEGORICAL, 7, weights))
    scores = load_predictor(kind, state).predict(matrix)
    assert np.corrcoef(scores, turned)[0, 1] > 0.5


# A forest draws its rows by their weights, and so draws others.
@pytest.mark.parametrize("kind", [kind for kind in ESTIMATORS if kind != "random_forest"])
def test_equal_weights_are_none_at_all(kind: str) -> None:
    learnt = rows("regression", 2000)
    lesson = Lesson("regression", learnt, rows("regression", 500, seed=1), CATEGORICAL, 7, np.ones(2000))
    scores = load_predictor(kind, ESTIMATORS[kind].fit(lesson)).predict(learnt[0])
    assert scores == pytest.approx(load_predictor(kind, state_of(kind, "regression")).predict(learnt[0]), abs=1e-6)
