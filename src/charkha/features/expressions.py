"""Polars expressions as text, so that a bundle carries the very expressions it was trained with.

Polars writes Python functions and plugins inside an expression as a pickle or as a path to a shared library. Neither is
ever read back: an expression that holds one is refused on the way in and on the way out.
"""

import io
import warnings

import polars as pl

from charkha.spec.checks.expressions import foreign_code


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
    node = foreign_code(text)
    if node is not None:
        raise UnsafeExpression(node)


def plain_value(_instance: object, _field: object, value: object) -> object:
    """Return a field's value as `attrs.asdict` should write it down. Raises UnsafeExpression."""
    return expression_to_json(value) if isinstance(value, pl.Expr) else value
