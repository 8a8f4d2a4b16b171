"""The compiled predictor of a forest."""

import ctypes
from typing import Any

import numpy as np

from charkha.bundles.predictor import check_columns
from charkha.bundles.trees.forest import Array, Forest
from charkha.bundles.trees.layout import TOGETHER, Masks, Walk, kernel_name, masks_of, walk_of
from charkha.bundles.trees.objects import kernels
from charkha.spec.model import FloatArray

# From so many rows it pays to ask all questions of a tree instead of walking through it.
MANY_ROWS = 8
# Up to so many the interpreter's lock is kept: taking it back costs up to 5 ms when another thread computes.
FEW_ROWS = 64


class CompiledForest:
    """A forest walked by machine code on one thread; never changes, so safe to use from several."""

    def __init__(self, forest: Forest) -> None:
        """Lay a forest out for the kernels. Raises RuntimeMissing where there are none."""
        self.columns = forest.columns
        found = kernels()
        walk = walk_of(forest)
        masks = masks_of(walk)
        columns = np.column_stack([forest.zero, forest.null, forest.codes])
        # Arrays are passed by address: they live as long as this does.
        self._arrays: tuple[Any, ...] = (walk, masks, columns)
        self._few = found[kernel_name("walk", walk.value.dtype.name)]
        self._many = found[kernel_name("ask", walk.value.dtype.name, masks.keep.dtype.name)] if masks else None
        nodes = (_at(walk.nodes), _at(walk.nodes), _at(walk.words), _at(columns))
        slope = forest.slope if forest.link == "sigmoid" else 0.0
        self._how = (self.columns, *nodes, int(forest.single), forest.tiny, forest.start, slope)
        self._walk = (_at(walk.value), _at(walk.roots), len(walk.roots))
        self._ask = _asked(walk, masks) if masks else ()

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return (rows,): probabilities or values. `matrix`: float64 (rows, columns). Raises WrongShape."""
        check_columns(matrix, self.columns)
        rows = len(matrix)
        if rows <= FEW_ROWS:
            return self._filled(np.array(matrix, dtype=np.float64, order="C"), holding=True) if rows else np.empty(0)
        return self._filled(np.require(matrix, np.float64, ("C", "W")), holding=False)

    def _filled(self, matrix: FloatArray, *, holding: bool) -> FloatArray:
        rows = len(matrix)
        answers = np.empty(rows)
        if rows < MANY_ROWS or self._many is None:
            kernel, work = self._few, np.empty(2 * self.columns)
            own: tuple[Any, ...] = self._walk
        else:
            kernel, work = self._many, np.empty((2 * self.columns + 2) * TOGETHER)
            leaves = _writable(work) + 8 * 2 * self.columns * TOGETHER
            own = (*self._ask, leaves, leaves + 8 * TOGETHER)
        call = kernel.holding if holding else kernel.releasing
        call(_NOWHERE, _NOWHERE, _writable(matrix), rows, *self._how, _writable(work), _writable(answers), *own)
        return answers


_NOTHING = (ctypes.c_int64 * 8)()
_NOWHERE = ctypes.addressof(_NOTHING)


def _at(array: Array) -> int:
    return int(array.ctypes.data)


def _writable(array: Any) -> int:
    """Return the address of an array that is in one piece, may be written and has elements: faster than `_at`."""
    return ctypes.addressof(ctypes.c_char.from_buffer(array))


def _asked(walk: Walk, masks: Masks) -> tuple[Any, ...]:
    return _at(masks.value), _at(masks.split), _at(masks.ends), len(masks.ends) - 1, _at(masks.keep)
