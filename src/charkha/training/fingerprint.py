"""The fingerprint of a table: the same rows give the same text, however they were computed or lie in memory."""

import hashlib

import numpy as np
import polars as pl


def fingerprint(*frames: pl.DataFrame) -> str:
    """Return "sha256:…" over names, types, nulls and values of the frames' columns, row by row in their order.

    Two tables that differ in anything that can be seen differ here; chunks, threads and buckets leave no trace. Columns
    are numbers, booleans, times or text. Raises TypeError for any other.
    """
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(f"{frame.width} columns, {frame.height} rows\n".encode())
        for column in frame:
            _add_column(digest, column)
    return f"sha256:{digest.hexdigest()}"


def _add_column(digest: "hashlib._Hash", column: pl.Series) -> None:
    digest.update(f"{column.name}\n{column.dtype}\n".encode())
    digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
    if column.dtype == pl.String:
        _add_texts(digest, column.fill_null(""))
    elif column.dtype == pl.Boolean:
        digest.update(np.packbits(column.fill_null(False).to_numpy()).tobytes())
    elif column.dtype.is_float():
        # Adding 0.0 turns -0.0 into 0.0, and there is one NaN: what compares equal is equal here.
        numbers = column.cast(pl.Float64).fill_null(0.0).to_numpy() + 0.0
        digest.update(np.where(np.isnan(numbers), np.nan, numbers).astype("<f8").tobytes())
    elif column.dtype.is_integer() or column.dtype.is_temporal():
        digest.update(column.to_physical().cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes())
    else:
        raise TypeError(f"expected numbers, flags, times or text in column {column.name!r}, got {column.dtype}")


def _add_texts(digest: "hashlib._Hash", texts: pl.Series) -> None:
    digest.update(texts.str.len_bytes().to_numpy().astype("<i8").tobytes())
    digest.update("".join(texts).encode())
