"""Canonical JSON: one text for one value, so that it can be hashed."""

import json
from collections.abc import Mapping, Sequence

import msgspec


def canonical_json(value: Mapping[str, object] | Sequence[object] | None) -> str:
    """Return a mapping or a list as JSON with sorted keys and no spaces; numbers that are not finite become null.

    Raises TypeError for what JSON cannot say.
    """
    # msgspec knows more types (attrs classes, Structs, tuples, times); the standard library's spelling of numbers is
    # the one that never changes, and that others can compute.
    plain = json.loads(msgspec.json.encode(value))
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
