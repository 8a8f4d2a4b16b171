"""Predictions by LightGBM's own shared library, called with ctypes.

`import lightgbm` brings scikit-learn and pandas along where they are installed: a second of start-up and 100 MB that
a server has no use for. The library in the same wheel needs neither.
"""

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from charkha.bundles.openmp import wait_asleep
from charkha.bundles.predictor import BadState, check_columns
from charkha.spec.model import FloatArray

# Up to this many rows, one by one: no set-up per call, and the interpreter's lock is kept (taking it back costs up to
# 5 ms when another thread computes). Above, all at once and without the lock: other threads go on.
FEW_ROWS = 64
FLOAT64, PROBABILITY_OR_VALUE, CONTRIBUTIONS, ROW_MAJOR, FIRST_TREE, ALL_TREES = 1, 0, 3, 1, 0, -1
# LightGBM keeps the number of threads in one variable for the whole process: loading a model while another thread of
# the same process trains one would slow that training down, or worse. Training has a process of its own for this too.
ONE_THREAD = b"num_threads=1"


class PredictionFailed(RuntimeError):
    """LightGBM could not answer; the message is its own."""


class Library(NamedTuple):
    """LightGBM's functions, twice: called with the interpreter's lock held, and without it."""

    holding: ctypes.PyDLL
    releasing: ctypes.CDLL

    def error(self) -> str:
        """Return what this thread's last failed call had to say."""
        message: bytes = self.holding.LGBM_GetLastError()
        return message.decode(errors="replace")


class NativeBooster:
    """A LightGBM model in the library's memory, freed with this object; safe to use from several threads."""

    def __init__(self, text: bytes) -> None:
        """Load a model of LightGBM's text format. Raises BadState.

        Some damage LightGBM answers by ending the process: load nothing that a digest does not vouch for.
        """
        self._booster, self._fast = ctypes.c_void_p(), ctypes.c_void_p()
        if not (text.startswith(b"tree\n") and b"\nend of trees\n" in text):
            raise BadState(f"expected a whole model in LightGBM's text format, got {len(text)} bytes {text[:20]!r}…")
        self._library = library()
        calls = self._library.holding
        trees, columns = ctypes.c_int(), ctypes.c_int()
        self._loaded(calls.LGBM_BoosterLoadModelFromString(text, ctypes.byref(trees), ctypes.byref(self._booster)))
        self._loaded(calls.LGBM_BoosterGetNumFeature(self._booster, ctypes.byref(columns)))
        self.columns = columns.value
        what = (PROBABILITY_OR_VALUE, FIRST_TREE, ALL_TREES, FLOAT64, self.columns, ONE_THREAD)
        self._loaded(calls.LGBM_BoosterPredictForMatSingleRowFastInit(self._booster, *what, ctypes.byref(self._fast)))

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return (rows,): probabilities or values. `matrix`: float64 (rows, columns). Raises WrongShape."""
        check_columns(matrix, self.columns)
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        answers = np.empty(len(matrix), dtype=np.float64)
        if len(matrix) <= FEW_ROWS:
            self._one_by_one(matrix, answers)
        else:
            self._all_at_once(matrix, answers, PROBABILITY_OR_VALUE)
        return answers

    def contributions(self, matrix: FloatArray) -> FloatArray:
        """Return (rows, columns + 1), as `Explainer` says. Raises WrongShape."""
        check_columns(matrix, self.columns)
        parts = np.empty((len(matrix), self.columns + 1))
        self._all_at_once(np.ascontiguousarray(matrix, dtype=np.float64), parts, CONTRIBUTIONS)
        return parts

    def _one_by_one(self, matrix: FloatArray, answers: FloatArray) -> None:
        predict, fast = self._library.holding.LGBM_BoosterPredictForMatSingleRowFast, self._fast
        count = ctypes.byref(ctypes.c_int64())
        row, answer, row_bytes = matrix.ctypes.data, answers.ctypes.data, 8 * self.columns
        for _ in range(len(matrix)):
            if predict(fast, row, count, answer) != 0:
                raise PredictionFailed(self._library.error())
            row += row_bytes
            answer += 8

    def _all_at_once(self, matrix: FloatArray, answers: FloatArray, kind: int) -> None:
        how = (*matrix.shape, ROW_MAJOR, kind, FIRST_TREE, ALL_TREES, ONE_THREAD)
        predict, count = self._library.releasing.LGBM_BoosterPredictForMat, ctypes.byref(ctypes.c_int64())
        if predict(self._booster, matrix.ctypes.data, FLOAT64, *how, count, answers.ctypes.data) != 0:
            raise PredictionFailed(self._library.error())

    def _loaded(self, status: int) -> None:
        if status != 0:
            raise BadState(f"LightGBM cannot load the model: {self._library.error()}")

    def __del__(self) -> None:
        if self._fast:
            self._library.holding.LGBM_FastConfigFree(self._fast)
        if self._booster:
            self._library.holding.LGBM_BoosterFree(self._booster)


@cache
def library() -> Library:
    """Return LightGBM's shared library. Raises ImportError when it is not installed or cannot be loaded."""
    path = _library_path()
    wait_asleep()
    try:
        library = Library(ctypes.PyDLL(str(path)), ctypes.CDLL(str(path)))
    except OSError as error:
        raise ImportError(f"{error}. On a bare Linux, LightGBM wants OpenMP: apt-get install libgomp1") from error
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    one, many = library.holding.LGBM_BoosterPredictForMatSingleRowFast, library.releasing.LGBM_BoosterPredictForMat
    one.argtypes = [pointer] * 4
    many.argtypes = [pointer, pointer, *[number] * 7, text, pointer, pointer]
    library.holding.LGBM_GetLastError.restype = text
    return library


def _library_path() -> Path:
    spec = find_spec("lightgbm")
    folders = [Path(folder) / "lib" for folder in spec.submodule_search_locations or []] if spec else []
    found = [path for folder in folders for path in sorted(folder.glob("lib_lightgbm.*"))]
    if not found:
        raise ImportError(f"expected LightGBM's shared library in {folders or 'a package lightgbm'}, found none")
    return found[0]
