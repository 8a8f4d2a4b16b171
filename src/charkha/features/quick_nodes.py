"""The parts of expressions that NumPy evaluates to the same bits as Polars: arithmetic, comparisons, logic, choices.

Which of them an expression is made of, `quick_reading` reads.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
from attrs import frozen

Array = np.ndarray[Any, np.dtype[Any]]
Kind = Literal["float", "int", "bool", "text"]
KINDS: Mapping[pl.DataType, Kind] = {
    pl.Float64(): "float",
    pl.Int64(): "int",
    pl.Boolean(): "bool",
    pl.String(): "text",
}
DTYPES: Mapping[Kind, Any] = {"float": np.float64, "int": np.int64, "bool": np.bool_, "text": object}


@frozen(eq=False)
class Values:
    """A column. data: what stands at a null is anything. null: where nulls are; None where there are none."""

    data: Array
    null: Array | None = None


Inputs = Mapping[str, Values]
Evaluate = Callable[[Inputs], Values]


@frozen(eq=False)
class Node:
    """A part of an expression. constant: a literal's value. may_be_nan: whether arithmetic may have made a NaN."""

    kind: Kind
    evaluate: Evaluate
    constant: Any = None
    may_be_nan: bool = False


class NotQuick(Exception):
    """A part of an expression that is left to Polars; says which."""


def constant(kind: Kind, value: Any) -> Node:
    """Return a literal."""
    single = Values(np.array([value], dtype=DTYPES[kind]))
    return Node(kind, lambda columns: single, value)


def as_float(node: Node) -> Node:
    """Return a float, int or bool as a float."""
    if node.kind == "float":
        return node
    if node.constant is not None:
        return constant("float", float(node.constant))

    def evaluate(columns: Inputs) -> Values:
        found = node.evaluate(columns)
        return Values(found.data.astype(np.float64), found.null)

    return Node("float", evaluate)


def alike(left: Node, right: Node) -> tuple[Node, Node]:
    """Return two nodes of one kind, ints made floats beside floats. Raises NotQuick."""
    if left.kind == right.kind:
        return left, right
    if {left.kind, right.kind} == {"int", "float"}:
        return as_float(left), as_float(right)
    raise NotQuick(f"{left.kind} beside {right.kind}")


_ARITHMETIC: Mapping[str, Any] = {"Plus": np.add, "Minus": np.subtract, "Multiply": np.multiply}
_COMPARISONS: Mapping[str, Any] = {
    "Gt": np.greater,
    "GtEq": np.greater_equal,
    "Lt": np.less,
    "LtEq": np.less_equal,
    "Eq": np.equal,
    "NotEq": np.not_equal,
}


def binary(op: str, left: Node, right: Node) -> Node:
    """Return an operation, by the name that Polars has for it. Raises NotQuick."""
    if op in ("And", "Or", "LogicalAnd", "LogicalOr"):
        return logical(left, right, either=op.endswith("Or"))
    left, right = alike(left, right)
    if op in _COMPARISONS:
        return _compared(op, left, right)
    if left.kind not in ("float", "int"):
        raise NotQuick(f"{op} of {left.kind}")
    if op in _ARITHMETIC:
        return Node(left.kind, _both(_ARITHMETIC[op], left, right), may_be_nan=left.kind == "float")
    if op == "TrueDivide":
        return _divided(as_float(left), as_float(right))
    raise NotQuick(op)


def _divided(left: Node, right: Node) -> Node:
    """Return a quotient. Polars divides a column by a constant by multiplying with its reciprocal."""
    if right.constant is None:
        return Node("float", _both(np.divide, left, right), may_be_nan=True)
    if not right.constant:
        raise NotQuick("division by a constant 0")
    inverse = 1.0 / right.constant

    def evaluate(columns: Inputs) -> Values:
        found = left.evaluate(columns)
        return Values(found.data * inverse, found.null)

    return Node("float", evaluate, may_be_nan=True)


def _compared(op: str, left: Node, right: Node) -> Node:
    """Return a comparison. A NaN that arithmetic made equals itself, and is more than any number."""
    if left.kind == "text" and op not in ("Eq", "NotEq"):
        raise NotQuick("order of text")
    compare = _COMPARISONS[op]
    if not (left.may_be_nan or right.may_be_nan):
        return Node("bool", _both(compare, left, right))

    def total(a: Array, b: Array) -> Array:
        nan_a, nan_b = np.isnan(a), np.isnan(b)
        either = nan_a | nan_b
        found: Array = np.where(either, compare(nan_a.astype(np.int8), nan_b.astype(np.int8)), compare(a, b))
        return found

    return Node("bool", _both(total, left, right))


def _both(combine: Callable[[Array, Array], Array], left: Node, right: Node) -> Evaluate:
    """Return what combines two columns; null where either is."""

    def evaluate(columns: Inputs) -> Values:
        a, b = left.evaluate(columns), right.evaluate(columns)
        null = a.null if b.null is None else b.null if a.null is None else a.null | b.null
        return Values(combine(a.data, b.data), null)

    return evaluate


def logical(left: Node, right: Node, *, either: bool) -> Node:
    """Return `and` or `or` with a third value: one side may decide though the other is null."""
    if left.kind != "bool" or right.kind != "bool":
        raise NotQuick("logic of numbers")

    def evaluate(columns: Inputs) -> Values:
        a, b = left.evaluate(columns), right.evaluate(columns)
        if a.null is None and b.null is None:
            return Values(a.data | b.data if either else a.data & b.data)
        known_a = a.data == either if a.null is None else (a.data == either) & ~a.null
        known_b = b.data == either if b.null is None else (b.data == either) & ~b.null
        decided = known_a | known_b
        unknown = b.null if a.null is None else a.null if b.null is None else a.null | b.null
        # Undecided and known is the other value; undecided and unknown is null, whatever stands there.
        return Values(decided if either else ~decided, None if unknown is None else unknown & ~decided)

    return Node("bool", evaluate)


def chosen(predicate: Node, truthy: Node, falsy: Node) -> Node:
    """Return `when`, `then`, `otherwise`; a predicate that is null holds not. Raises NotQuick."""
    if predicate.kind != "bool":
        raise NotQuick("a choice by what is not true or false")
    then, otherwise = alike(truthy, falsy)

    def evaluate(columns: Inputs) -> Values:
        asked, a, b = predicate.evaluate(columns), then.evaluate(columns), otherwise.evaluate(columns)
        holds = asked.data if asked.null is None else asked.data & ~asked.null
        null = None
        if a.null is not None or b.null is not None:
            null = np.where(holds, False if a.null is None else a.null, False if b.null is None else b.null)
        return Values(np.where(holds, a.data, b.data), null)

    return Node(then.kind, evaluate, may_be_nan=then.may_be_nan or otherwise.may_be_nan)


def mapped(function: Callable[[Array], Array], node: Node) -> Node:
    """Return a function of each value; null where that is."""

    def evaluate(columns: Inputs) -> Values:
        found = node.evaluate(columns)
        return Values(function(found.data), found.null)

    return Node(node.kind, evaluate, may_be_nan=node.may_be_nan)


def filled(node: Node, instead: Node) -> Node:
    """Return a node with another of its kind where it is null."""

    def evaluate(columns: Inputs) -> Values:
        found = node.evaluate(columns)
        if found.null is None:
            return found
        other = instead.evaluate(columns)
        null = None if other.null is None else found.null & other.null
        return Values(np.where(found.null, other.data, found.data), null)

    return Node(node.kind, evaluate, may_be_nan=node.may_be_nan or instead.may_be_nan)


def null_of(node: Node, *, wanted: bool) -> Node:
    """Return whether each value is null; not wanted, whether it is none."""

    def evaluate(columns: Inputs) -> Values:
        found = node.evaluate(columns)
        if found.null is None:
            return Values(np.full(len(found.data), not wanted))
        return Values(found.null if wanted else ~found.null)

    return Node("bool", evaluate)
