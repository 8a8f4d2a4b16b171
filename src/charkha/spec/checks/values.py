"""Checks of single values, shared by all words: names, durations, columns, numbers; and how a fault words them."""

import math
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from charkha.spec.durations import parse_duration
from charkha.spec.faults import Fault
from charkha.spec.fields import POLARS_TYPES, FieldType

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def quote(value: object) -> str:
    """Return a value as it stands in an error: its representation, on one line and cut when long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"


def type_name(kind: object) -> str:
    """Return what a field type is called in an error: `str`, `datetime`, …."""
    return kind.__name__ if isinstance(kind, type) else quote(kind)


def listing(names: Iterable[object], limit: int = 12) -> str:
    """Return names as a short list for an error; a long one is cut."""
    items = [str(name) for name in names]
    more = f", … ({len(items)} in all)" if len(items) > limit else ""
    return (", ".join(items[:limit]) + more) or "none"


def way_to(name: object, known: Iterable[str], call_them: str) -> str:
    """Return the remedy for an unknown name: the closest known one, or all of them."""
    names = strings(known)
    close = get_close_matches(str(name), names, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"{call_them}: {listing(names)}."


def are_equal(one: object, other: object) -> bool:
    """Say whether two parts are equal; those holding a stray Polars expression cannot be compared, so are not."""
    try:
        return one is other or bool(one == other)
    except TypeError:
        return False


def name_faults(where: str, name: object) -> Iterator[Fault]:
    """Yield a fault when a name cannot be part of a route, a column and an error."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        remedy = "Start with a letter; use letters, digits and underscores only."
        yield Fault(where, "a name such as 'late_arrival'", quote(name), remedy)


def text_faults(where: str, text: object, what: str) -> Iterator[Fault]:
    """Yield a fault when a text that somebody will read is missing or empty."""
    if not isinstance(text, str) or not text.strip():
        yield Fault(where, "a text that is not empty", quote(text), f"Say {what} in a few words.")


def duration_us(text: object) -> int | None:
    """Return a duration in µs, or None when it cannot be read."""
    try:
        return parse_duration(text)  # type: ignore[arg-type]
    except ValueError:
        return None


def duration_faults(where: str, text: object) -> Iterator[Fault]:
    """Yield a fault when a text is not a duration such as "6h"."""
    if duration_us(text) is None:
        remedy = "Write a whole number and one of s, m, h, d, w."
        yield Fault(where, 'a duration such as "30s", "15m", "6h", "7d" or "2w"', quote(text), remedy)


def number_faults(where: str, value: object, expected: str, low: float, high: float = math.inf) -> Iterator[Fault]:
    """Yield a fault when a value is not a finite number with `low` ≤ value ≤ `high`; `expected` says it in words."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type,operator]
        yield Fault(where, expected, quote(value), "Give a number in that range.")


def column_faults(
    where: str, column: object, fields: dict[str, FieldType], source: str, kinds: tuple[FieldType, ...] | None = None
) -> Iterator[Fault]:
    """Yield a fault when a column is not a field of its source, or not of one of `kinds`."""
    if not isinstance(column, str) or column not in fields:
        remedy = way_to(column, fields, f"Fields of {source!r}")
        yield Fault(where, f"a field of source {source!r}", quote(column), remedy)
    elif kinds is not None and fields[column] not in kinds and fields[column] in POLARS_TYPES:
        wanted = " or ".join(type_name(kind) for kind in kinds)
        found = f"{column!r}, which is {type_name(fields[column])}"
        yield Fault(
            where, f"a field of type {wanted}", found, f"Name another field, or declare {column!r} as {wanted}."
        )


def strings(items: Iterable[object]) -> list[str]:
    """Return what is text among items: whatever else stands there is reported where it belongs."""
    return [item for item in items if isinstance(item, str)]


def repeated(items: Iterable[object]) -> list[str]:
    """Return the names that come more than once, each once, in order."""
    every = strings(items)
    return [item for item in dict.fromkeys(every) if every.count(item) > 1]
