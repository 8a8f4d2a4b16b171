"""Names of streams, partitions, tables and parts: they become paths and must never lead out of their folder."""

import re

_PIECE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+,-]{0,199}")
_ALLOWED = "letters, digits and _ . @ + , - (not first: . @ + , -), at most 200 characters"


class BadName(ValueError):
    """A name that could not be a path inside its folder; `kind` is what it would have named."""

    def __init__(self, kind: str, name: object, expected: str) -> None:
        self.kind, self.name, self.expected = kind, name, expected
        super().__init__(kind, name, expected)

    def __str__(self) -> str:
        return f"{self.kind}: expected {self.expected}, got {self.name!r}"


def checked_name(kind: str, name: str) -> str:
    """Return a name of one piece, such as "2013-04-01" or "web-0". Raises BadName."""
    if not isinstance(name, str) or _PIECE.fullmatch(name) is None:
        raise BadName(kind, name, _ALLOWED)
    return name


def checked_path(kind: str, name: str) -> str:
    """Return a name of one or more pieces, such as "predictions/late_arrival". Raises BadName."""
    if not isinstance(name, str) or not all(map(_PIECE.fullmatch, name.split("/"))):
        raise BadName(kind, name, f"pieces separated by single slashes, each of {_ALLOWED}")
    return name
