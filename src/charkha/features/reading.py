"""Where rows come from, and which way a source is read: from memory while it fits, else from buckets in files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import polars as pl
from attrs import field, frozen, validators

from charkha.features.pieced import Pieced
from charkha.features.pieces import pieces_of
from charkha.features.spilled import Spilled
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.log import Log

MEMORY_ROWS = 10_000_000
BUCKET_ROWS = 1 << 21


@frozen(eq=False)
class Sources:
    """Where rows come from. root: the folder of their files. log: what was pushed. by_name: the sources' declarations.

    memory_rows: a source with more rows is cut into buckets of keys, in files. bucket_rows: about how many rows of a
    few columns a bucket has, and how many of a source with windows are in memory at once.
    """

    root: Path
    by_name: Mapping[str, Source]
    log: Log | None = None
    memory_rows: int = field(default=MEMORY_ROWS, validator=validators.ge(0), kw_only=True)
    bucket_rows: int = field(default=BUCKET_ROWS, validator=validators.ge(1), kw_only=True)


class Reading(Protocol):
    """A source that was looked through, ready to answer questions."""

    def joined(self, view: FeatureView, asked: pl.DataFrame, doing: Callable[[str], None]) -> pl.DataFrame:
        """Return the features of a view for questions, in their order. asked: the entity's keys and `_at_us`."""
        ...


def reading_of(
    source: Source, views: Sequence[FeatureView], sources: Sources, folder: Path, doing: Callable[[str], None]
) -> Reading:
    """Look through a source for views of it. folder: for files, which are needed as long as the result is.

    Raises DataError.
    """
    doing(f"looking through {source.name}")
    pieces = pieces_of(source, sources.root, sources.log, folder / "rows")
    windowed = any(view.windows for view in views)
    most = min(sources.memory_rows, sources.bucket_rows) if windowed else sources.memory_rows
    if sum(piece.height for piece in pieces) <= most:
        return Pieced.of(source, pieces)
    seekable = [piece.seekable(folder / "batches" / f"{number:05d}.arrow") for number, piece in enumerate(pieces)]
    return Spilled.of(source, seekable, views, folder / "buckets", bucket_rows=sources.bucket_rows, doing=doing)
