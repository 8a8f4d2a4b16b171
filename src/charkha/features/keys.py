"""Entity keys as text, the same for a column of history and for one request; and as the bytes that end a place."""

import hashlib
from collections.abc import Iterable, Sequence

import polars as pl

from charkha.features.segments import IntArray

# Joins the parts of a composite key; escaped where a part holds it, so that no two keys read the same.
_SEPARATOR = "\x1f"
_LONGEST_KEY = 400  # bytes; an LMDB key has at most 511. Longer ones are hashed.
# Neither begins any UTF-8 text, so no key is mistaken for these.
_NULL_KEY = b"\xfe"
_LONG_KEY = b"\xff"


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


def key_codes(rows: pl.DataFrame, spine: pl.DataFrame, columns: Sequence[str]) -> tuple[IntArray, IntArray]:
    """Return the keys of two tables as integers that are equal where the keys are: int64 (n,), (k,); -1 for null.

    Integers that lie so near to each other that one fits beside the number of a row are taken as they are; other keys
    are numbered as text, in no order.
    """
    if len(columns) == 1 and rows[columns[0]].dtype.is_integer() and spine[columns[0]].dtype.is_integer():
        both = [frame[columns[0]].cast(pl.Int64) for frame in (rows, spine)]
        bounds = [int(bound) for each in both for bound in (each.min(), each.max()) if isinstance(bound, int)]
        low, high = min(bounds, default=0), max(bounds, default=0)
        if (high - low + 2) << len(rows).bit_length() < 1 << 62:
            return _codes(both[0] - low), _codes(both[1] - low)
    text = pl.concat([key_column(rows, columns), key_column(spine, columns)])
    numbered = text.cast(pl.Enum(text.drop_nulls().unique())).to_physical()  # a rank would sort each key many times
    codes = _codes(numbered.cast(pl.Int64))
    return codes[: len(rows)], codes[len(rows) :]


def _codes(keys: pl.Series) -> IntArray:
    return keys.fill_null(-1).to_numpy()


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


def key_texts(columns: Sequence[Iterable[object]]) -> list[str | None]:
    """Return the keys of many rows, given the columns of their parts: what `key_text` gives for each row."""
    if len(columns) > 1:
        return [key_text(parts) for parts in zip(*columns, strict=True)]
    return [part if type(part) is str else str(part) if type(part) is int else key_text((part,)) for part in columns[0]]


def key_bytes(key: str | None) -> bytes:
    """Return a key as it ends a place in the store; nothing ever lies where it says for a null key."""
    if key is None:
        return _NULL_KEY
    encoded = key.encode()
    if len(encoded) <= _LONGEST_KEY:
        return encoded
    return _LONG_KEY + hashlib.blake2b(encoded, digest_size=32).digest()
