"""The rows of some keys of a source, found without holding all the others, unless these are few."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path

import polars as pl
from attrs import frozen

from charkha.features.keys import key_column
from charkha.features.pieces import Piece, pieces_of, stamped_pieces
from charkha.features.reading import WHOLE_ROWS
from charkha.features.rows import known_rows
from charkha.spec.sources import Source
from charkha.storage.log import Log

# Keys that are sought: the columns of an entity, and the keys as `key_column` gives them.
Wanted = tuple[Sequence[str], pl.Series]
Chosen = Callable[[pl.DataFrame], pl.DataFrame]

PIECE = "_piece"


@frozen(eq=False)
class SoughtRows:
    """A source in which rows are sought.

    lying: all its rows as they lie, each with the number of its piece (`_piece`); None where these are too many.
    """

    source: Source
    pieces: Sequence[Piece]
    lying: pl.DataFrame | None

    @cached_property
    def whole(self) -> pl.DataFrame | None:
        """All rows, as of `read_rows`; None where these are too many."""
        return None if self.lying is None else known_rows(self.lying.drop(PIECE), self.source)

    @classmethod
    def of(cls, source: Source, root: Path, log: Log, spool: Path) -> "SoughtRows":
        """Open a source. spool: a folder for files, needed as long as this is used. Raises DataError."""
        pieces = pieces_of(source, root, log, spool / "rows", most_files=1)  # each is told by its file
        if sum(piece.height for piece in pieces) <= WHOLE_ROWS:
            return cls(source, pieces, _numbered(pieces, source, lambda rows: rows))
        seekable = [piece.seekable(spool / f"{number:05d}.arrow") for number, piece in enumerate(pieces)]
        return cls(source, seekable, None)

    def of_keys(self, wanted: Sequence[Wanted]) -> pl.DataFrame:
        """Return the rows of which any key is wanted, as of `read_rows`. Raises DataError."""
        if self.whole is not None:
            return self.whole.filter(has_any(self.whole, wanted))
        versions = known_rows(self.versions_of_keys(wanted).drop(PIECE), self.source)
        return versions.filter(has_any(versions, wanted))

    def versions_of_keys(self, wanted: Sequence[Wanted]) -> pl.DataFrame:
        """Return all versions of the rows of which any version has a key that is wanted, as they lie, with `_piece`.

        A large source is looked through, a million rows at a time; twice where rows have a key of their own: a
        correction may have moved a row to another entity, and which version is the first is told by all of them.
        """
        found = self._chosen(lambda rows: rows.filter(has_any(rows, wanted)))
        if not self.source.key:
            return found
        keys = found.select(self.source.key).unique()
        return self._chosen(lambda rows: rows.join(keys, on=keys.columns, how="semi", maintain_order="left"))

    def _chosen(self, chosen: Chosen) -> pl.DataFrame:
        return _numbered(self.pieces, self.source, chosen) if self.lying is None else chosen(self.lying)


def _numbered(pieces: Sequence[Piece], source: Source, chosen: Chosen) -> pl.DataFrame:
    """Return the chosen rows of all pieces as they lie, each with the number of its piece."""
    frames = [
        stamped_pieces([piece], source, chosen).with_columns(pl.lit(number, pl.UInt32).alias(PIECE))
        for number, piece in enumerate(pieces)
    ]
    return pl.concat(frames) if frames else stamped_pieces([], source).with_columns(pl.lit(0, pl.UInt32).alias(PIECE))


def has_any(rows: pl.DataFrame, wanted: Iterable[Wanted]) -> pl.Series:
    """Say of each row whether any of its keys is wanted."""
    found = pl.repeat(value=False, n=rows.height, eager=True)
    for columns, keys in wanted:
        found |= key_column(rows, columns).is_in(keys.implode()).fill_null(value=False)
    return found
