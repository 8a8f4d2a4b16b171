"""What every ensemble of trees is here: arrays of splits and leaves, and how a row is prepared for them."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from attrs import field, frozen

from charkha.spec.model import FloatArray

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]
Link = Literal["identity", "sigmoid"]
WORD = 32


class NotThisForest(ValueError):
    """An ensemble that flat arrays do not stand for; the message says what is in it."""


@frozen(eq=False, kw_only=True)
class Tree:
    """One tree: its splits, of which the first is the root, and its leaves; without a split, its one leaf.

    A row goes left where its value is at most `threshold`, or its code is in `categories`; where it has no value, left
    if `null_left`. Of a split on categories `null_left` is False: a code that is not in the set goes right as well.

    feature: int (splits,): the column. threshold: float64 (splits,).
    left, right: int (splits,): the split that follows, or the leaf, as -1 less its number.
    null_left: bool (splits,). value: float (leaves,): what the leaf adds; float32 sums in float32.
    categories: split → its codes as bits, uint32 (words,), the lowest code first.
    """

    feature: Array
    threshold: FloatArray
    left: Array
    right: Array
    null_left: Array
    value: Array
    categories: dict[int, Array] = field(factory=dict)


@frozen(eq=False, kw_only=True)
class Forest:
    """Trees whose values add up, in their order, from `start`; `link` makes the sum an answer.

    single: numbers are rounded to float32 first. Those beyond it, and infinite ones, are the largest there is.
    tiny: numbers as near to 0 as this, become `zero` of their column. null: what NaN becomes, by column: NaN or 0.
    codes: by column: values outside [0, codes) are NaN; infinite for numbers.
    """

    columns: int
    trees: Sequence[Tree]
    start: float = 0.0
    link: Link = "identity"
    slope: float = 1.0
    single: bool = False
    tiny: float = -1.0
    zero: FloatArray = field()
    null: FloatArray = field()
    codes: FloatArray = field()

    @zero.default
    def _zero_stays(self) -> FloatArray:
        return np.zeros(self.columns)

    @null.default
    def _null_stays(self) -> FloatArray:
        return np.full(self.columns, np.nan)

    @codes.default
    def _all_are_numbers(self) -> FloatArray:
        return np.full(self.columns, np.inf)


def bits(codes: Sequence[int] | Array) -> Array:
    """Return a set of codes as bits, uint32 (words,)."""
    words = np.zeros(int(max(codes, default=0)) // WORD + 1, dtype=np.uint32)
    for code in codes:
        words[int(code) // WORD] |= np.uint32(1 << int(code) % WORD)
    return words
