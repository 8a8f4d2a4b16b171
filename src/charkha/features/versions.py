"""Which rows are repetitions, and which corrections, told by their row keys over all pieces of a source.

Whoever reads rows in buckets of an entity's keys must ask here first: a correction may move a row to another entity.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.pieces import EVENT, KNOWN, Piece, fetched
from charkha.features.rows import pushed_later, refuse_null_keys
from charkha.features.segments import IntArray
from charkha.spec.sources import Source

BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@frozen(eq=False)
class Versions:
    """What each row is, bool (n,). kept: no repetition. first: the first version of its row."""

    kept: BoolArray
    first: BoolArray


def versions_of(pieces: Sequence[Piece], source: Source) -> Versions:
    """Return what each row of a source is, as `mark_versions` does. Raises DataError for a row without its key.

    Only keys are read of all rows; the whole content only of those whose key is there twice.
    """
    size = sum(piece.height for piece in pieces)
    versions = Versions(np.ones(size, bool), np.ones(size, bool))
    again = _seen_again(pieces, source) if source.key else np.empty(0, np.int64)
    if len(again):
        content = fetched(pieces, [*source.fields, KNOWN], again)
        hashes = content.select(pl.struct(list(source.fields)).hash()).to_series()
        rows = content.select(*source.key, KNOWN).with_columns(_content=hashes, _place=pl.Series(again))
        told = told_apart(rows, source.key, pushed_from(pieces, source))
        places = told["_place"].to_numpy()
        versions.first[places], versions.kept[places] = told["_first"].to_numpy(), told["_kept"].to_numpy()
    return versions


def told_apart(rows: pl.DataFrame, key: Sequence[str], pushed_from: int) -> pl.DataFrame:
    """Return rows in the order in which they became known, with `_first` and `_kept` as in `Versions`.

    rows: all versions of some rows: the columns of their key, when they became known, `_place` among all rows, and
    `_content`, a hash of all fields. pushed_from: see there.
    """
    ordered = rows.sort(KNOWN, "_place", nulls_last=True)
    known = ordered.with_columns(_pushed=pl.col("_place") >= pushed_from)
    none = pushed_later(known, list(key), pl.col("_content"))
    told = ordered.filter(~none)
    before = pl.col("_content").shift(1).over(list(key))
    first, changed = before.is_null(), before != pl.col("_content")
    told = told.with_columns(_first=first, _kept=changed.fill_null(value=True))
    return pl.concat([told, ordered.filter(none).with_columns(_first=pl.lit(value=False), _kept=pl.lit(value=False))])


def pushed_from(pieces: Sequence[Piece], source: Source) -> int:
    """Return from which place on rows count as pushed, rather than by their files; of a static source none do."""
    files = sum(piece.height for piece in pieces if piece.batches)
    pushed = sum(piece.height for piece in pieces if not piece.batches)
    return files + pushed if source.static else files


def _seen_again(pieces: Sequence[Piece], source: Source) -> IntArray:
    """Return the places of all rows whose key is not theirs alone."""
    hashes, present = [], []
    for piece in pieces:
        keys = piece.read([*source.key, EVENT])
        happened = keys[EVENT].is_not_null()  # a row without its event time is none, and no version of another
        refuse_null_keys(keys.filter(happened), source)
        hashes.append(keys.select(pl.struct(list(source.key)).hash()).to_series())
        present.append(happened)
    found, counts = pl.concat(hashes).to_numpy(), pl.concat(present).to_numpy()
    ordered = np.sort(found[counts])
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return np.empty(0, np.int64)
    # Few are there twice: a search among them costs a tenth of `isin`, which sorts all.
    near = twice.take(np.searchsorted(twice, found), mode="clip")
    return np.flatnonzero((near == found) & counts)
