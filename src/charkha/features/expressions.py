"""Polars expressions as text, so that a bundle carries the very expressions it was trained with.

Polars writes Python functions and plugins inside an expression as a pickle or as a path to a shared library. Neither is
ever read back: an expression that holds one is refused on the way in and on the way out.
"""

import io
import json
import warnings
from collections.abc import Iterator

import polars as pl

# Node names under which Polars keeps code of others or opaque objects.
_FORBIDDEN = ("anonymous", "python", "plugin", "pickle", "object")


class UnsafeExpression(ValueError):
    """An expression that holds Python code or a plugin, which can be neither stored nor loaded safely."""

    def __init__(self, node: str) -> None:
        self.node = node
        super().__init__(
            f"expected an expression of Polars' own functions, got one with {node!r} in it. "
            "Write it without map_elements, map_batches or plugins, or compute the value before it reaches Charkha"
        )


def expression_to_json(expression: pl.Expr) -> str:
    """Return an expression as JSON text. Raises UnsafeExpression when it holds Python code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Polars warns that the text may not outlive its version: lineage names it.
        text = expression.meta.serialize(format="json")
    _refuse_code(text)
    return text


def expression_from_json(text: str) -> pl.Expr:
    """Return the expression of `expression_to_json`. Raises UnsafeExpression before anything of it is run."""
    _refuse_code(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pl.Expr.deserialize(io.StringIO(text), format="json")


def _refuse_code(text: str) -> None:
    for node in _node_names(json.loads(text)):
        if any(word in node.lower() for word in _FORBIDDEN):
            raise UnsafeExpression(node)


def _node_names(tree: object) -> Iterator[str]:
    """Yield the names of all nodes; the text of literals is not a name."""
    if isinstance(tree, dict):
        for name, below in tree.items():
            yield name
            if name == "function" and isinstance(below, str):
                yield below
            yield from _node_names(below)
    elif isinstance(tree, list):
        for below in tree:
            yield from _node_names(below)
