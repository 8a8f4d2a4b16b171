"""The walk over a forest's arrays, in the part of Python that Numba compiles; only `objects.build` imports this module.

Arrays are bare pointers, so that the machine code needs nothing of Numba's where it runs. Both functions use one
thread, allocate nothing, and add up the leaves in the order of the trees, in the precision of `start`.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,no-any-return,untyped-decorator"

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from charkha.bundles.trees.layout import TOGETHER, kernel_name

F = TypeVar("F", bound=Callable[..., Any])
LARGEST, LARGEST_SINGLE = float(np.finfo(np.float64).max), float(np.finfo(np.float32).max)
WORD, SHIFT = 32, 5


def _inner(function: F) -> F:
    """Compile a function into those that call it."""
    return numba.njit(inline="always", error_model="numpy")(function)


@intrinsic
def _first_bit(_context: Any, word: Any) -> Any:
    """Return the number of the lowest bit that is set; one is."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return word(word), generate


@_inner
def _prepared(x, j, single, tiny, columns):
    """Return a value as the forest's trainer sees it. `columns`: of each column zero, null and codes."""
    if not math.isnan(x):
        largest = LARGEST_SINGLE if single else LARGEST
        x = min(max(x, -largest), largest)
        x = float(np.float32(x)) if single else x
    if abs(x) <= tiny:
        x = columns[3 * j]
    if columns[3 * j + 2] < np.inf and not -1 < x < columns[3 * j + 2]:
        x = np.nan
    return columns[3 * j + 1] if math.isnan(x) else x


@_inner
def _among(x, begin, words):
    """Say whether a code is in the set that begins there: 1 or 0. Not a number, or no code at all, is not."""
    if not -1 < x < WORD * words[begin]:
        return np.int64(0)
    code = np.int64(x)
    return np.int64((words[begin + 1 + (code >> SHIFT)] >> (code & (WORD - 1))) & 1)


@_inner
def _next(at, thresholds, links, words, row):
    """Return the node after one; of a leaf itself."""
    feature, no = np.int64(links[4 * at + 2]), np.int64(links[4 * at + 3])
    if feature >= 0:
        return no + (row[feature] > thresholds[2 * at])
    return no + _among(row[-1 - feature], np.int64(thresholds[2 * at]), words)


@_inner
def _answer(total, slope):
    """Return the logistic function of a sum, or with a slope of 0 the sum."""
    return 1 / (1 + math.exp(-slope * total)) if slope else total


def walk(
    matrix,
    rows,
    width,
    thresholds,
    links,
    words,
    columns,
    single,
    tiny,
    start,
    slope,
    row,
    answers,
    value,
    roots,
    trees,
):
    """Fill `answers`, walking each row through eight trees at a time: while one waits for memory, the others go on.

    thresholds, links: the nodes, twice. row: float64 (2 * width,) to work in.
    """
    for number in range(rows):
        for j in range(width):
            row[j] = _prepared(matrix[number * width + j], j, single, tiny, columns)
            row[width + j] = -row[j]
        total, tree = start, 0
        while tree + 8 <= trees:
            a, b, c, d = roots[tree], roots[tree + 1], roots[tree + 2], roots[tree + 3]
            e, f, g, h = roots[tree + 4], roots[tree + 5], roots[tree + 6], roots[tree + 7]
            moved = True
            while moved:
                a_, b_ = _next(a, thresholds, links, words, row), _next(b, thresholds, links, words, row)
                c_, d_ = _next(c, thresholds, links, words, row), _next(d, thresholds, links, words, row)
                e_, f_ = _next(e, thresholds, links, words, row), _next(f, thresholds, links, words, row)
                g_, h_ = _next(g, thresholds, links, words, row), _next(h, thresholds, links, words, row)
                moved = (a ^ a_ | b ^ b_ | c ^ c_ | d ^ d_ | e ^ e_ | f ^ f_ | g ^ g_ | h ^ h_) != 0
                a, b, c, d, e, f, g, h = a_, b_, c_, d_, e_, f_, g_, h_
            total = total + value[a] + value[b] + value[c] + value[d] + value[e] + value[f] + value[g] + value[h]
            tree += 8
        while tree < trees:
            at = roots[tree]
            after = _next(at, thresholds, links, words, row)
            while after != at:
                at, after = after, _next(after, thresholds, links, words, row)
            total = total + value[at]
            tree += 1
        answers[number] = _answer(float(total), slope)


def ask(
    matrix, rows, width, thresholds, links, words, columns, single, tiny, start, slope, block, answers,
    value, splits, ends, trees, keep, leaves, totals,
):  # fmt: skip
    """Fill `answers`, putting each question of a tree to many rows at once, which takes no branches.

    block: float64 (2 * width, TOGETHER) to work in; leaves, totals: (TOGETHER,) to work in.
    """
    for begin in range(0, rows, TOGETHER):
        count = min(TOGETHER, rows - begin)
        padded = (count + 15) & ~15  # whole vectors
        for k in range(padded):
            for j in range(width):
                x = _prepared(matrix[(begin + min(k, count - 1)) * width + j], j, single, tiny, columns)
                block[j * TOGETHER + k], block[(width + j) * TOGETHER + k] = x, -x
            totals[k] = start
        for tree in range(trees):
            for k in range(padded):
                leaves[k] = ~(leaves[k] ^ leaves[k])
            for i in range(ends[tree], ends[tree + 1]):
                feature, threshold, kept = np.int64(links[4 * splits[i] + 2]), thresholds[2 * splits[i]], keep[i]
                if feature >= 0:
                    for k in range(padded):
                        all_of_them = leaves[k]
                        leaves[k] = all_of_them & kept if block[feature * TOGETHER + k] > threshold else all_of_them
                else:
                    for k in range(count):
                        if _among(block[(-1 - feature) * TOGETHER + k], np.int64(threshold), words):
                            leaves[k] = leaves[k] & kept
            for k in range(count):
                totals[k] = totals[k] + value[64 * tree + np.int64(_first_bit(leaves[k]))]
        for k in range(count):
            answers[begin + k] = _answer(float(totals[k]), slope)


def compiled() -> Iterator[tuple[str, str, bytes]]:
    """Yield of each kernel its name, the name of its symbol, and its machine code for this processor."""
    pointer, whole, real = types.CPointer, types.int64, types.float64
    rows = (pointer(real), whole, whole)
    nodes = (pointer(real), pointer(types.int32), pointer(types.uint32), pointer(real), whole, real)
    for value in (types.float64, types.float32):
        common = (*rows, *nodes, value, real, pointer(real), pointer(real), pointer(value))
        yield kernel_name("walk", value.name), *_machine_code(walk, (*common, pointer(whole), whole))
        for bits in (types.uint32, types.uint64):
            asked = (*common, pointer(whole), pointer(whole), whole, pointer(bits), pointer(bits), pointer(value))
            yield kernel_name("ask", value.name, bits.name), *_machine_code(ask, asked)


def _machine_code(function: Callable[..., None], arguments: tuple[Any, ...]) -> tuple[str, bytes]:
    compile_it = numba.njit(
        types.void(*arguments), error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, boundscheck=False
    )
    (overload,) = compile_it(function).overloads.values()
    return overload.fndesc.llvm_func_name, overload.library._get_compiled_object()
