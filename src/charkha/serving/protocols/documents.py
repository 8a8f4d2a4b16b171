"""JSON documents of other protocols: as strict as our own bodies, but of shapes that no schema of ours describes."""

import json
import re
from typing import Any, TypeVar

import msgspec

from charkha.serving.flaws import count_keys, duplicate, malformed
from charkha.serving.refusals import Invalid

T = TypeVar("T")

_PATH = " - at `$"
_WRONG_FIELD = re.compile(r"Object (?P<fault>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)


def decode_document(body: bytes) -> Any:
    """Return a JSON document. Raises Malformed: no JSON, not UTF-8, infinite, or an object that names a key twice.

    NaN is null: it is what the clients of these protocols write for it, though it is no JSON.
    """
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        document = _with_nan(body, str(error))
    keys = _keys_in(document)
    # As many colons as keys: none is there twice. With more, some may be in text.
    if body.count(b":") != keys and count_keys(body) != keys:
        raise duplicate(body)
    return document


def _with_nan(body: bytes, reason: str) -> Any:
    if b"NaN" not in body:
        raise malformed(body, reason)
    try:
        return json.loads(body.decode(), parse_constant={"NaN": None}.__getitem__)
    except (ValueError, KeyError, RecursionError):
        raise malformed(body.replace(b"NaN", b"null"), reason) from None


def as_kind(document: Any, kind: type[T]) -> T:
    """Return a document as a type, unknown keys left out. Raises Invalid, naming what is not so."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        said, _, path = str(error).partition(_PATH)
        path = path.rstrip("`").removeprefix(".")
        if (wrong := _WRONG_FIELD.fullmatch(said)) is not None:
            path = f"{path}.{wrong['name']}" if path else wrong["name"]
            said = "Expected a value, got nothing" if wrong["fault"] == "missing required" else "Expected no such field"
        where = f"field '{path}'" if path else "body"
        raise Invalid(f"{where}: {said[:1].lower()}{said[1:].replace('`', '')}", path or None) from None


def _keys_in(document: Any) -> int:
    """Return how many keys all objects of a document have, without recursing: documents may be deep."""
    keys, waiting = 0, [document]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            keys += len(found)
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(part for part in found if isinstance(part, dict | list))
    return keys
