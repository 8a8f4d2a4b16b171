"""The arrays of this package: float64 over (blocks, checks), and over (blocks, checks, alternatives) for evidence."""

import numpy as np

from charkha.spec.model import FloatArray

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

__all__ = ["BoolArray", "FloatArray", "IntArray"]
