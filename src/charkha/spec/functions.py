"""Plain functions on columns: run once, when they are declared, on expressions; only what they return is kept."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from charkha.spec.faults import Fault

Function = Callable[..., Mapping[str, pl.Expr]]
ROW = "row"  # the parameter that is every column by its name
REMEDY = (
    "It is run once, on Polars expressions and not on values: write pl.when(…).then(…).otherwise(…) for if, "
    "& | ~ for and, or, not, and Polars' functions for Python's."
)


class Row:
    """Every column of a request as an expression: `row["km"]`, `row["traffic.count_1h"]`."""

    def __getitem__(self, name: str) -> pl.Expr:
        if not isinstance(name, str):
            raise TypeError(f"expected the name of a column, got {name!r}")
        return pl.col(name)


def expressions_of(function: Function) -> tuple[dict[str, pl.Expr], Fault | None]:
    """Run a function and return the expressions it makes; none, and what is wrong with it, when it makes none.

    A parameter called `row` is every column by its name, each other one the column of that name; parameters with a
    default keep it.
    """
    where = f"function {getattr(function, '__name__', repr(function))}"
    try:
        positional, named = _arguments(function)
        made: object = function(*positional, **named)
    except Exception as error:
        expected = "a function that makes expressions of columns"
        said = f"{type(error).__name__}: {str(error).strip()}".partition("\n")[0]
        return {}, Fault(where, expected, said, REMEDY)
    if not isinstance(made, Mapping):
        remedy = 'Return what it makes by name: return {"hour": row["scheduled_at"].dt.hour()}.'
        return {}, Fault(where, "a dictionary of expressions by their names", _kind_of(made), remedy)
    return dict(made), None


def _arguments(function: Function) -> tuple[list[Any], dict[str, Any]]:
    """Return what a function is called with. Raises TypeError for what has no parameters that can be named."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"expected parameters that name columns, got {parameter}")
        if parameter.default is not parameter.empty:
            continue
        column: Any = Row() if name == ROW else pl.col(name)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(column)
        else:
            named[name] = column
    return positional, named


def _kind_of(made: object) -> str:
    return "nothing" if made is None else f"an object of type {type(made).__name__}"
