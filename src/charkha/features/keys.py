"""Entity keys as text: the same for a column of history and for one request."""

from collections.abc import Sequence

import polars as pl

# Joins the parts of a composite key; escaped where a part holds it, so that no two keys read the same.
_SEPARATOR = "\x1f"


def key_column(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Return the key of every row as text; null where any part is null."""
    if len(columns) == 1:
        return frame[columns[0]].cast(pl.String)
    parts = [
        pl.col(column)
        .cast(pl.String)
        .str.replace_all("\\", "\\\\", literal=True)
        .str.replace_all(_SEPARATOR, "\\u", literal=True)
        for column in columns
    ]
    return frame.select(key=pl.concat_str(parts, separator=_SEPARATOR, ignore_nulls=False))["key"]


def key_text(values: Sequence[object]) -> str | None:
    """Return the key of one row, given its parts: what `key_column` gives for it."""
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    if None in values:
        return None
    parts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
    if len(parts) == 1:
        return parts[0]
    return _SEPARATOR.join(part.replace("\\", "\\\\").replace(_SEPARATOR, "\\u") for part in parts)
