"""Predictions by LightGBM's own shared library, called with ctypes.

`import lightgbm` brings scikit-learn and pandas along where they are installed: a second of start-up and 100 MB that
a server has no use for. The library in the same wheel needs neither.
"""

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import numpy as np

from charkha.bundles.predictor import BadState, WrongShape
from charkha.spec.model import FloatArray

FLOAT64, NORMAL, ROW_MAJOR, ALL_TREES = 1, 0, 1, -1
ONE_THREAD = b"num_threads=1"


class NativeBooster:
    """A LightGBM model in the library's memory, freed with this object; safe to use from several threads."""

    def __init__(self, text: bytes) -> None:
        self._calls = library()
        self._booster = ctypes.c_void_p()
        self._fast = ctypes.c_void_p()
        self._lock = Lock()
        iterations, columns = ctypes.c_int(), ctypes.c_int()
        self._checked(
            self._calls.LGBM_BoosterLoadModelFromString(text, ctypes.byref(iterations), ctypes.byref(self._booster))
        )
        self._checked(self._calls.LGBM_BoosterGetNumFeature(self._booster, ctypes.byref(columns)))
        self.columns = columns.value
        self._checked(
            self._calls.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._booster, NORMAL, 0, ALL_TREES, FLOAT64, columns, ONE_THREAD, ctypes.byref(self._fast)
            )
        )

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return (rows,): probabilities or values. `matrix`: float64 (rows, columns). Raises WrongShape."""
        if matrix.ndim != 2 or matrix.shape[1] != self.columns:
            raise WrongShape(self.columns, matrix.shape)
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        result = np.empty(len(matrix), dtype=np.float64)
        length = ctypes.c_int64()
        source, target = matrix.ctypes.data, result.ctypes.data
        with self._lock:
            for row in range(len(matrix)):
                self._checked(
                    self._calls.LGBM_BoosterPredictForMatSingleRowFast(
                        self._fast, source + row * self.columns * 8, ctypes.byref(length), target + row * 8
                    )
                )
        return result

    def __del__(self) -> None:
        if self._fast:
            self._calls.LGBM_FastConfigFree(self._fast)
        if self._booster:
            self._calls.LGBM_BoosterFree(self._booster)

    def _checked(self, status: int) -> None:
        if status != 0:
            raise BadState(f"LightGBM: {self._calls.LGBM_GetLastError().decode(errors='replace')}")


@cache
def library() -> ctypes.CDLL:
    """Return LightGBM's shared library. Raises ImportError when it is not installed or cannot be loaded."""
    spec = find_spec("lightgbm")
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    paths = [path for folder in folders for path in sorted((folder / "lib").glob("lib_lightgbm.*"))]
    if not paths:
        raise ImportError("expected the package lightgbm with its shared library, found none. pip install lightgbm")
    calls = ctypes.PyDLL(str(paths[0]))
    calls.LGBM_GetLastError.restype = ctypes.c_char_p
    calls.LGBM_BoosterPredictForMatSingleRowFast.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    return calls
