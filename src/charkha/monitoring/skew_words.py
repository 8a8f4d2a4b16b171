"""Why a feature was served otherwise than it is recomputed, and who is to blame, in words."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import polars as pl

from charkha.clock import to_iso
from charkha.spec.sources import Source

Kind = Literal[
    "definition_change",
    "library_change",
    "code",
    "late_row",
    "concurrent_push",
    "lost_event",
    "vanished_event",
    "correction",
    "stale_state",
    "missing_state",
    "rebuilt_state",
    "unknown",
]


class Cause(msgspec.Struct, frozen=True):
    """Why, and who: `culprit` is the source, view, feature or library to blame; `reason` says it in words."""

    kind: Kind
    culprit: str
    reason: str


def said(value: Any) -> str:
    """Return a feature's value as Python writes plain numbers and text."""
    return repr(value if value is None or isinstance(value, str) else float(value))


def row_in_words(rows: pl.DataFrame, source: Source) -> str:
    """Return rows in words: the first by its key and when it became known, and how many more there are."""
    row: Sequence[Any] = rows.select(list(source.key) or list(source.fields)[:1]).row(0)
    key = ", ".join(str(part) for part in row)
    more = f" and {rows.height - 1} more" if rows.height > 1 else ""
    return f"row {key} of {source.name}, known at {to_iso(int(rows['_known_us'].to_list()[0]))}{more}"
