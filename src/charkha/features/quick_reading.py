"""Expressions as Polars writes them down, read as nodes that NumPy evaluates. Others are left to Polars."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from charkha.features.quick_nodes import (
    KINDS,
    Kind,
    Node,
    NotQuick,
    alike,
    as_float,
    binary,
    chosen,
    constant,
    filled,
    logical,
    mapped,
    null_of,
)

Types = Mapping[str, pl.DataType]
_LITERALS: Mapping[str, Kind] = {
    "Int": "int",
    "Int32": "int",
    "Float": "float",
    "Float64": "float",
    "Boolean": "bool",
    "String": "text",
}


def node_of(plain: Any, inputs: Types) -> Node:
    """Return the node of an expression, as Polars writes it down. inputs: types of the columns. Raises NotQuick."""
    if not isinstance(plain, dict) or len(plain) != 1:
        raise NotQuick(str(plain))
    ((name, content),) = plain.items()
    if name not in _READERS:
        raise NotQuick(name)
    return _READERS[name](content, inputs)


def _column(name: str, inputs: Types) -> Node:
    kind = KINDS.get(inputs[name]) if name in inputs else None
    if kind is None:
        raise NotQuick(f"column {name!r}")
    return Node(kind, lambda columns: columns[name])


def _literal(content: Any, inputs: Types) -> Node:
    for form in ("Dyn", "Scalar"):
        if isinstance(content, dict) and isinstance(content.get(form), dict):
            ((name, value),) = content[form].items()
            if name in _LITERALS:
                return constant(_LITERALS[name], value)
    raise NotQuick(f"literal {content}")


def _cast(content: Any, inputs: Types) -> Node:
    node, to = node_of(content["expr"], inputs), content["dtype"]
    if to == {"Literal": "Float64"} and node.kind in ("float", "int", "bool"):
        return as_float(node)
    if to == {"Literal": "Boolean"} and node.kind == "bool":
        return node
    raise NotQuick(f"cast to {to}")


def _operation(content: Any, inputs: Types) -> Node:
    return binary(content["op"], node_of(content["left"], inputs), node_of(content["right"], inputs))


def _choice(content: Any, inputs: Types) -> Node:
    predicate, truthy, falsy = (node_of(content[part], inputs) for part in ("predicate", "truthy", "falsy"))
    return chosen(predicate, truthy, falsy)


def _function(content: Any, inputs: Types) -> Node:
    name, nodes = content["function"], [node_of(each, inputs) for each in content["input"]]
    kind = nodes[0].kind if nodes else None
    found: Node | None = None
    if name == "FillNull":
        found = filled(*alike(*nodes))
    elif name in ("Abs", "Negate") and kind in ("float", "int"):
        found = mapped(np.abs if name == "Abs" else np.negative, nodes[0])
    elif name == {"Boolean": "Not"} and kind == "bool":
        found = mapped(np.logical_not, nodes[0])
    elif name in ({"Boolean": "IsNull"}, {"Boolean": "IsNotNull"}):
        found = null_of(nodes[0], wanted=name == {"Boolean": "IsNull"})
    elif name == {"Boolean": {"IsBetween": {"closed": "Both"}}}:
        column, low, high = nodes
        found = logical(binary("GtEq", column, low), binary("LtEq", column, high), either=False)
    if found is None:
        raise NotQuick(str(name))
    return found


_READERS: Mapping[str, Callable[[Any, Types], Node]] = {
    "Column": _column,
    "Literal": _literal,
    "Alias": lambda content, inputs: node_of(content[0], inputs),
    "Cast": _cast,
    "BinaryExpr": _operation,
    "Ternary": _choice,
    "Function": _function,
}
