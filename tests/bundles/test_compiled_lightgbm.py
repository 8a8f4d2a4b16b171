"""LightGBM's models walked by our kernels, against `Booster.predict`: to the bit."""

from collections.abc import Callable

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.bundles.predictor import BadState, load_predictor
from charkha.bundles.trees.compiled import MANY_ROWS, CompiledForest
from charkha.bundles.trees.forest import NotThisForest
from charkha.bundles.trees.lightgbm_text import read_lightgbm
from charkha.bundles.trees.objects import build
from charkha.bundles.trees.on_numpy import NumpyForest
from charkha.spec.model import FloatArray

COLUMNS = 5
# Where LightGBM and a careless reader would part: its own idea of zero, thresholds' neighbours, codes that are none.
EDGES = [0.0, -0.0, 1e-35, -1e-35, 9e-36, 5e-324, 1.7e308, -1.7e308, np.inf, -np.inf, np.nan, 0.5, -0.5, -1.0]
CODES = [*range(-2, 45), 63.0, 64.0, 511.0, 2.0**31, 2.0**40, 1e300, np.inf, -np.inf, np.nan, 0.5, 3.999, -0.999]
PARAMETERS: dict[str, dict[str, object]] = {
    "few leaves": {"num_leaves": 7},
    "32 leaves": {"num_leaves": 32, "min_data_in_leaf": 1},
    "64 leaves": {"num_leaves": 64, "min_data_in_leaf": 1},
    "too many leaves for masks": {"num_leaves": 200, "min_data_in_leaf": 1},
    "zero is missing": {"zero_as_missing": True},
    "nothing is missing": {"use_missing": False},
    "slope": {"sigmoid": 2.5},
    "one leaf": {"min_data_in_leaf": 10_000},
}


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build()


def rows(seed: int, count: int) -> FloatArray:
    """Rows with all that is awkward: nulls, zeros, ties, extreme numbers, codes in column 0."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(count, COLUMNS)) * 10.0 ** rng.integers(-2, 3, COLUMNS)
    matrix[:, 1] = np.round(matrix[:, 1])
    matrix[:, 2] *= 10.0 ** rng.integers(-300, 300, count)
    matrix[rng.random(matrix.shape) < 0.15] = np.nan
    matrix[rng.random(matrix.shape) < 0.1] = 0.0
    matrix[:, 0] = rng.integers(0, 40, count)
    matrix[rng.random(count) < 0.1, 0] = np.nan
    return matrix


def booster(objective: str, parameters: dict[str, object], seed: int = 0, trees: int = 21) -> lightgbm.Booster:
    matrix = rows(seed, 1500)
    rng = np.random.default_rng(seed)
    signal = np.nan_to_num(matrix[:, 1]) + (np.nan_to_num(matrix[:, 0]) % 3) * 2 + rng.normal(size=1500)
    labels = (signal > np.median(signal)).astype(float) if objective == "binary" else signal * 1e3
    settings = {"objective": objective, "verbosity": -1, "num_threads": 1, "seed": seed, "min_data_per_group": 5}
    data = lightgbm.Dataset(matrix, labels, categorical_feature=[0], params={**settings, **parameters})
    return lightgbm.train({**settings, **parameters}, data, trees)


def both(model: lightgbm.Booster) -> list[Callable[[FloatArray], FloatArray]]:
    forest = read_lightgbm(model.model_to_string().encode())
    return [CompiledForest(forest).predict, NumpyForest(forest).predict]


@pytest.fixture(scope="module", params=[(o, p) for o in ("binary", "regression") for p in PARAMETERS], ids="-".join)
def model(request: pytest.FixtureRequest) -> lightgbm.Booster:
    objective, name = request.param
    return booster(objective, PARAMETERS[name])


def awkward(count: int = 3000) -> FloatArray:
    rng = np.random.default_rng(9)
    matrix = rng.choice(EDGES, (count, COLUMNS))
    matrix[:, 0] = rng.choice(CODES, count)
    return np.concatenate([rows(1, count), matrix])


def at_thresholds(model: lightgbm.Booster) -> FloatArray:
    """Rows of which each value is a threshold of the model, or next to one."""
    forest = read_lightgbm(model.model_to_string().encode())
    found = np.concatenate([tree.threshold for tree in forest.trees] or [np.zeros(1)])
    found = np.concatenate([found, np.nextafter(found, np.inf), np.nextafter(found, -np.inf), [0.0]])
    matrix = np.random.default_rng(3).choice(found, (2000, COLUMNS))
    matrix[:, 0] = np.random.default_rng(3).integers(0, 40, 2000)
    return matrix


def test_scores_are_lightgbms_to_the_bit(model: lightgbm.Booster) -> None:
    matrix = np.concatenate([awkward(), at_thresholds(model)])
    expected = np.asarray(model.predict(matrix))
    for predict in both(model):
        np.testing.assert_allclose(predict(matrix), expected, rtol=4e-16, atol=0)


@pytest.mark.parametrize("count", [0, 1, 2, MANY_ROWS - 1, MANY_ROWS, 15, 16, 17, 63, 64, 65, 129])
def test_any_number_of_rows_is_answered_alike(model: lightgbm.Booster, count: int) -> None:
    matrix = awkward()[-count:] if count else awkward()[:0]
    expected = np.asarray(model.predict(matrix)) if count else np.empty(0)
    for predict in both(model):
        np.testing.assert_allclose(predict(matrix), expected, rtol=4e-16, atol=0)


def test_sums_of_a_regression_are_equal() -> None:
    model = booster("regression", {"num_leaves": 31}, trees=120)
    matrix = awkward()
    for predict in both(model):
        assert np.array_equal(predict(matrix), np.asarray(model.predict(matrix)))


@st.composite
def trained(draw: st.DrawFn) -> tuple[lightgbm.Booster, FloatArray]:
    parameters: dict[str, object] = {
        "num_leaves": draw(st.integers(2, 80)),
        "min_data_in_leaf": draw(st.integers(1, 50)),
        "zero_as_missing": draw(st.booleans()),
        "use_missing": draw(st.booleans()),
        "max_cat_to_onehot": draw(st.integers(1, 50)),
        "learning_rate": draw(st.sampled_from([0.01, 0.3, 5.0])),
    }
    model = booster(draw(st.sampled_from(["binary", "regression"])), parameters, draw(st.integers(0, 50)), trees=9)
    numbers = st.one_of(st.floats(), st.sampled_from(EDGES))
    codes = st.one_of(st.floats(), st.sampled_from(CODES))
    row = st.tuples(codes, *[numbers] * (COLUMNS - 1))
    return model, np.array(draw(st.lists(row, min_size=1, max_size=20)))


@settings(max_examples=40, deadline=None)
@given(trained())
def test_any_model_and_any_rows(case: tuple[lightgbm.Booster, FloatArray]) -> None:
    model, matrix = case
    for predict in both(model):
        np.testing.assert_allclose(predict(matrix), np.asarray(model.predict(matrix)), rtol=4e-16, atol=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("objective=binary sigmoid:1", "objective=cross_entropy"), "the objective binary or regression"),
        (("objective=binary sigmoid:1", "objective=binary sigmoid:1\naverage_output"), "several outputs or an average"),
        (("is_linear=0", "is_linear=1"), "linear models in leaves"),
    ],
)
def test_what_flat_arrays_do_not_stand_for_is_refused(change: tuple[str, str], words: str) -> None:
    text = booster("binary", {}).model_to_string()
    assert change[0] in text
    with pytest.raises(NotThisForest, match=words):
        read_lightgbm(text.replace(*change).encode())


@pytest.mark.parametrize("damage", [b"", b"tree\n", b"\x80\x04]"])
def test_what_is_no_model_is_refused(damage: bytes) -> None:
    with pytest.raises(BadState, match="expected"):
        load_predictor("lightgbm", damage, "compiled")
