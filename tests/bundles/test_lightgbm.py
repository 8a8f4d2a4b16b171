"""LightGBM's library called by us against LightGBM called by itself."""

import os
import subprocess
import sys
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.bundles import lightgbm_runtime
from charkha.bundles.estimators import LightGBM
from charkha.bundles.fitting import CannotFit
from charkha.bundles.lightgbm_runtime import FEW_ROWS, NativeBooster, PredictionFailed
from charkha.bundles.predictor import BadState
from charkha.spec.model import FloatArray, Lesson, Task

COLUMNS = 6


@pytest.fixture(scope="module", params=["binary", "regression"])
def state(request: pytest.FixtureRequest) -> bytes:
    task: Task = request.param
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(3000, COLUMNS))
    matrix[:, 0] = rng.integers(0, 30, 3000)
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    signal = np.nan_to_num(matrix[:, 1] * matrix[:, 2]) + (np.nan_to_num(matrix[:, 0]) % 3)
    labels = (signal > 1).astype(np.float64) if task == "binary" else signal
    split = ((matrix[:2500], labels[:2500]), (matrix[2500:], labels[2500:]))
    return LightGBM(trees=60, threads=1).fit(Lesson(task, *split, categorical=(0,), seed=1))


def peer(state: bytes, matrix: FloatArray) -> FloatArray:
    answers: FloatArray = np.asarray(lightgbm.Booster(model_str=state.decode()).predict(matrix))
    return answers


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=64)
CODES = st.integers(-3, 600).map(float) | st.just(float("nan"))


@settings(max_examples=60, deadline=None)
@given(data=st.lists(st.tuples(CODES, *[NUMBERS] * (COLUMNS - 1)), min_size=1, max_size=4))
def test_any_row_is_answered_as_by_lightgbm_itself(state: bytes, data: list[tuple[float, ...]]) -> None:
    matrix = np.array(data)
    ours = NativeBooster(state).predict(matrix)
    np.testing.assert_allclose(ours, peer(state, matrix), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1, 500])
def test_few_and_many_rows_are_answered_as_by_lightgbm_itself(state: bytes, rows: int) -> None:
    rng = np.random.default_rng(rows)
    matrix = rng.normal(size=(rows, COLUMNS)) * 10.0 ** rng.integers(-300, 300, (rows, COLUMNS))
    matrix[:, 0] = rng.integers(-1, 60, rows)
    matrix[rng.random(matrix.shape) < 0.2] = np.nan
    np.testing.assert_allclose(NativeBooster(state).predict(matrix), peer(state, matrix), rtol=1e-12, atol=1e-12)


def test_categories_were_learnt_as_categories(state: bytes) -> None:
    model = lightgbm.Booster(model_str=state.decode()).dump_model()
    kinds = {_decision(tree["tree_structure"]) for tree in model["tree_info"]}
    assert "==" in set().union(*kinds)


def _decision(node: dict[str, object]) -> frozenset[str]:
    if "decision_type" not in node:
        return frozenset()
    below = [node["left_child"], node["right_child"]]
    return frozenset({str(node["decision_type"])}).union(*(_decision(child) for child in below))  # type: ignore[arg-type]


def test_early_stopping_keeps_the_best_number_of_trees() -> None:
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=(600, 3)), rng.integers(0, 2, 600).astype(np.float64)
    halves = ((noise[:300], labels[:300]), (noise[300:], labels[300:]))
    stopped = LightGBM(trees=100, early_stopping=5, threads=1).fit(Lesson("binary", *halves, categorical=(), seed=1))
    full = LightGBM(trees=100, early_stopping=None, threads=1).fit(Lesson("binary", *halves, categorical=(), seed=1))
    assert lightgbm.Booster(model_str=stopped.decode()).num_trees() < 30
    assert lightgbm.Booster(model_str=full.decode()).num_trees() == 100


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_does_not_change_the_model(threads: int) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(2000, 5))
    rows = (matrix, (matrix[:, 0] > 0).astype(np.float64))
    state = LightGBM(trees=10, threads=threads).fit(Lesson("binary", rows, rows, (), 1))
    again = LightGBM(trees=10, threads=3).fit(Lesson("binary", rows, rows, (), 1))
    assert _trees(state) == _trees(again)


def _trees(state: bytes) -> bytes:
    return state.split(b"end of trees")[0]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts memory as Linux does")
def test_models_leave_the_memory_when_they_are_let_go(state: bytes, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(state)
    code = f"""
import pathlib, numpy as np
from charkha.bundles.fitting import CannotFit
from charkha.bundles.lightgbm_runtime import NativeBooster
state = pathlib.Path({str(tmp_path / "state")!r}).read_bytes()
def serve(times):
    for _ in range(times):
        booster = NativeBooster(state)
        booster.predict(np.zeros((100, {COLUMNS})))
        booster.predict(np.zeros((1, {COLUMNS})))
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4
before = serve(20)
print(serve(300) - before, len(state) // 1024)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown_kib, state_kib = map(int, ran.stdout.split())
    assert grown_kib < 300 * state_kib / 10, (grown_kib, state_kib)


def test_what_lightgbm_cannot_load_is_said_in_its_words(state: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        BadState, match="LightGBM cannot load the model: Model file doesn't specify the number of classes"
    ):
        NativeBooster(state.replace(b"num_class=1\n", b""))
    assert "Fatal" in capfd.readouterr().err


def test_what_lightgbm_cannot_answer_is_said_in_its_words(state: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    booster = NativeBooster(state)
    booster.columns += 1
    with pytest.raises(PredictionFailed, match="The number of features in data"):
        booster.predict(np.zeros((FEW_ROWS + 1, COLUMNS + 1)))
    assert "Fatal" in capfd.readouterr().err


def test_without_the_library_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightgbm_runtime, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="expected LightGBM's shared library in a package lightgbm, found none"):
        lightgbm_runtime.library.__wrapped__()


def test_a_library_that_cannot_be_loaded_names_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "lib_lightgbm.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(lightgbm_runtime, "_library_path", lambda: broken)
    with pytest.raises(ImportError, match="apt-get install libgomp1"):
        lightgbm_runtime.library.__wrapped__()


def test_it_says_nothing_on_the_console_and_imports_no_lightgbm(state: bytes, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(state)
    code = (
        "import sys, pathlib, numpy as np\n"
        "from charkha.bundles.predictor import load_predictor\n"
        f"p = load_predictor('lightgbm', pathlib.Path({str(tmp_path / 'state')!r}).read_bytes())\n"
        f"p.predict(np.zeros((100, {COLUMNS})))\n"
        "assert not {'lightgbm', 'sklearn', 'pandas', 'scipy'} & sys.modules.keys(), sorted(sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_asleep_unless_told_otherwise(
    given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = (np.empty((0, 1)), np.empty(0))

    def fit() -> None:
        with pytest.raises(CannotFit):
            LightGBM().fit(Lesson("binary", nothing, nothing, (), 1))

    for load in (lightgbm_runtime.library.__wrapped__, fit):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        load()
        assert os.environ["OMP_WAIT_POLICY"] == expected
