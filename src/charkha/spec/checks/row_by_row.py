"""Does an expression answer each row from that row alone? Only parts that are known to do so are let through."""

import json
from collections.abc import Iterator
from typing import Any

import polars as pl

# As Polars writes an expression down: its functions that make a value of one row's values.
_FUNCTIONS = frozenset(
    {
        "Abs", "ArrayExpr", "AsStruct", "Atan2", "Business", "Categorical", "Ceil", "Clip", "Coalesce", "Cut", "Erf",
        "Erfc", "Exp", "FillNan", "FillNull", "Floor", "Hash", "ListExpr", "Log", "Log1p", "MaxHorizontal",
        "MeanHorizontal", "MinHorizontal", "Negate", "Pow", "Replace", "ReplaceStrict", "Round", "RoundSF", "Sign",
        "StringExpr", "StructExpr", "SumHorizontal", "TemporalExpr", "ToPhysical", "Trigonometry", "Truncate",
    }
)  # fmt: skip
_BOOLEAN = frozenset(
    {
        "AllHorizontal", "AnyHorizontal", "IsBetween", "IsClose", "IsFinite", "IsIn", "IsInfinite", "IsNan", "IsNotNan",
        "IsNotNull", "IsNull", "Not",
    }
)  # fmt: skip
_BITWISE = frozenset({"CountOnes", "CountZeros", "LeadingOnes", "LeadingZeros", "TrailingOnes", "TrailingZeros"})
_OF_ALL_ROWS = frozenset({"ConcatVertical", "Explode"})  # in namespaces of which all others are of one row


def other_rows(expression: pl.Expr) -> str | None:
    """Return the first part of an expression that looks at other rows, or is not known not to; None where none does."""
    return next(_parts(json.loads(expression.meta.serialize(format="json"))), None)


def _parts(plain: Any) -> Iterator[str]:
    if not isinstance(plain, dict) or len(plain) != 1:
        yield str(plain)[:40]
        return
    ((name, content),) = plain.items()
    match name:
        case "Column" | "Literal":
            return
        case "Alias":
            yield from _parts(content[0])
        case "Cast":
            yield from _parts(content["expr"])
        case "BinaryExpr" | "Ternary":
            for side in ("predicate", "left", "right", "truthy", "falsy"):
                if side in content:
                    yield from _parts(content[side])
        case "Eval" if content.get("variant") != "Cumulative" and "Cumulative" not in str(content.get("variant")):
            yield from _parts(content["expr"])  # what is evaluated is the list of one row
        case "Function":
            yield from _of_function(content)
        case _:
            yield name


def _of_function(content: Any) -> Iterator[str]:
    function = content["function"]
    name = function if isinstance(function, str) else next(iter(function))
    inner = "" if isinstance(function, str) else function[name]
    kind = inner if isinstance(inner, str) else next(iter(inner), "") if isinstance(inner, dict) else ""
    if name == "Boolean":
        known = kind in _BOOLEAN
    elif name == "Bitwise":
        known = kind in _BITWISE
    else:
        known = name in _FUNCTIONS and kind not in _OF_ALL_ROWS
    if not known:
        yield f"{name}.{kind}" if kind and name not in _FUNCTIONS else kind or name
    for each in content["input"]:
        yield from _parts(each)
