"""What is wrong with a body that the strict decoder refused as a whole, or that hides something it let pass.

The decoder is fast because it stops at the first byte it cannot read and keeps the last of two equal keys. Here, off
the hot path, the body is read once more by the lenient decoder of the standard library, to find out which field is to
blame.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from charkha.serving.refusals import Malformed

# A string, and the colon that makes it a key. Possessive: linear whatever the body.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"(?:[ \t\r\n]*+(:))?+', re.DOTALL)
_NUL_ESCAPE = b"\\u0000"


class Flaw(NamedTuple):
    """Where something is wrong, as a path such as `rows[2].distance`, and what."""

    field: str
    found: str


class _DuplicateKey(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def count_keys(body: bytes) -> int:
    """Return how many object keys a JSON document has, repeated ones counted each time. The document must be valid."""
    return sum(1 for match in _STRING.finditer(body) if match[1])


def may_hold_nul(body: bytes) -> bool:
    """Say whether some string of a valid JSON document may hold a NUL character; cheap, and wrong only as True."""
    return _NUL_ESCAPE in body


def malformed(body: bytes, reason: str) -> Malformed:
    """Return the refusal of a body that the decoder could not read, naming the field when there is one to blame."""
    flaw = _find_flaw(body)
    if flaw is None:
        return Malformed(f"expected one JSON document in UTF-8, got a body that is none: {reason}")
    return Malformed(f"field '{flaw.field}': expected a JSON value, got {flaw.found}", flaw.field)


def duplicate(body: bytes) -> Malformed:
    """Return the refusal of a body in which an object names a key twice."""
    try:
        json.loads(body, object_pairs_hook=_refuse_duplicates)
    except _DuplicateKey as error:
        key = error.key
        return Malformed(f"field '{key}': expected once, got it twice in one object", key, "duplicate_field")
    return Malformed("expected every field once, got one twice in one object", code="duplicate_field")


def nul_field(document: object) -> str | None:
    """Return the path of a string that holds a NUL character; None when there is none."""
    found = (path for path, value in _leaves(document, "") if isinstance(value, str) and "\x00" in value)
    return next(found, None)


def _find_flaw(body: bytes) -> Flaw | None:
    """Return the value that JSON has not but that lenient decoders take: NaN, an infinity, a surrogate, stray bytes."""
    try:
        document = json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    for path, value in _leaves(document, ""):
        if isinstance(value, float) and not math.isfinite(value):
            return Flaw(path, str(value))
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            return Flaw(path, "text that is not valid Unicode")
    return None


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise _DuplicateKey(key)
        seen.add(key)
    return dict(pairs)


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Yield the scalars of a document with their paths, without recursing: documents may be deep."""
    waiting = [(path, value)]
    while waiting:
        here, found = waiting.pop()
        if isinstance(found, dict):
            waiting.extend((f"{here}.{key}" if here else str(key), part) for key, part in found.items())
        elif isinstance(found, list):
            waiting.extend((f"{here}[{index}]", part) for index, part in enumerate(found))
        else:
            yield here, found
