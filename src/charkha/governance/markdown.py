"""Markdown from values that anybody may have written: a name never becomes a table, a tag or a link."""

import re
from collections.abc import Iterable, Sequence

# An underscore within a word is only that.
_SPECIAL = re.compile(r"[\\`*\[\]<>|]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def plain(text: object) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(str(text).split()))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table; cells are Markdown already. No lines when there are no rows."""
    body = [_line(row) for row in rows]
    return [_line(headers), _line(["---"] * len(headers)), *body] if body else []


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
