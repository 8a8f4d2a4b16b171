"""What a source makes of the online state, ready to be written: in memory, or bucket by bucket in files if it is large.

Files are read and written before the store is changed: what goes wrong with them leaves the state as it was. The number
of buckets changes nothing of what is written.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import polars as pl
from attrs import field, frozen, validators

from charkha.features.cutting import Cut, Cutter, Doing, in_order, room_for
from charkha.features.filters import with_filters
from charkha.features.materialise import row_pairs, view_pairs
from charkha.features.news import Files, waiting_of
from charkha.features.pieces import EVENT, KNOWN, Piece, pieces_of, stamped_pieces
from charkha.features.progress import Taken
from charkha.features.rows import batch_stamps, known_rows, naming_the_row
from charkha.features.sorted_pairs import Pairs, SortedPairs
from charkha.features.state import ViewState
from charkha.spec.sources import Source

WHOLE_ROWS = 1_000_000
BUCKET_ROWS = 1 << 19
# So many numbers of states, of which there are some copies, are made at once: of a bucket, of rows that are whole.
_BUCKET_FLOATS, _WHOLE_FLOATS = 1 << 23, 1 << 26


@frozen
class Bounds:
    """How much is in memory while state is built. whole_rows: a source with more is cut into buckets, in files.

    bucket_rows: about how many rows of a few columns a bucket has.
    """

    whole_rows: int = field(default=WHOLE_ROWS, validator=validators.ge(0))
    bucket_rows: int = field(default=BUCKET_ROWS, validator=validators.ge(1))


class Ready(Protocol):
    """State that is ready to be written."""

    @property
    def newest_us(self) -> int | None:
        """When the newest row became known; None where there is no row."""
        ...

    def of_view(self, view: ViewState) -> Iterator[Pairs]:
        """Yield the state of a view, in the order of places."""
        ...

    def of_rows(self) -> Iterator[Pairs]:
        """Yield what to remember of the rows; of a place that comes again, the last value counts."""
        ...


@frozen(eq=False)
class Prepared:
    """A source as it was read. views: whose state is ready, in the order of their places. taken: what it has then.

    seeds: whether the memory of its rows is to be written as well.
    """

    source: Source
    views: Sequence[ViewState]
    seeds: bool
    ready: Ready
    taken: Taken


@frozen(eq=False)
class InMemory:
    """State that is made of rows when it is asked for. rows: of `read_rows`, known by the time it is built as of."""

    source: Source
    rows: pl.DataFrame

    @property
    def newest_us(self) -> int | None:
        """When the newest row became known; None where there is no row."""
        return int(self.rows[KNOWN][-1]) if len(self.rows) else None

    def of_view(self, view: ViewState) -> Iterator[Pairs]:
        """Yield the state of a view, in the order of places."""
        return view_pairs(view, self.rows)

    def of_rows(self) -> Iterator[Pairs]:
        """Yield what to remember of the rows."""
        return row_pairs(self.source, self.rows)


@frozen(eq=False)
class InFiles:
    """State that lies in files. views: by their digests."""

    newest_us: int | None
    views: Mapping[bytes, SortedPairs]
    rows: SortedPairs

    def of_view(self, view: ViewState) -> Iterator[Pairs]:
        """Yield the state of a view, in the order of places."""
        return self.views[view.digest].read()

    def of_rows(self) -> Iterator[Pairs]:
        """Yield what to remember of the rows."""
        return self.rows.read()


@frozen(eq=False)
class Preparation:
    """How state is made ready. bounds: of memory. doing: told what is going on."""

    files: Files
    bounds: Bounds
    doing: Doing

    @contextmanager
    def of(self, source: Source, views: Sequence[ViewState], *, seeds: bool) -> Iterator[Prepared]:
        """Yield what views of a source have by `files.as_of_us`; its files are gone at the end. Raises DataError.

        seeds: whether to make the memory of its rows as well.
        """
        files = self.files
        views = sorted(views, key=lambda view: view.digest)
        stamps = batch_stamps(source, files.root, files.log)  # first: a file that changes now is news afterwards
        self.doing(f"looking through {source.name}")
        with TemporaryDirectory(prefix="charkha-state-") as folder:
            pieces = pieces_of(source, files.root, files.log, Path(folder) / "rows")
            most = min(self.bounds.whole_rows, _WHOLE_FLOATS // _width(views))
            with naming_the_row(source, files.root, files.log):
                if sum(piece.height for piece in pieces) > most:
                    ready, waiting_us = self._in_files(source, pieces, views, Path(folder), seeds=seeds)
                else:
                    ready, waiting_us = self._in_memory(source, pieces, views)
            self.doing(f"writing the state of {source.name}")
            yield Prepared(source, views, seeds, ready, Taken(files.as_of_us, stamps, waiting_us))

    def _in_memory(
        self, source: Source, pieces: Sequence[Piece], views: Sequence[ViewState]
    ) -> tuple[Ready, int | None]:
        """Return state as it is made of rows in memory, and when the first row that is not known yet will be."""
        everything = stamped_pieces(pieces, source)
        rows = with_filters(known_rows(everything, source, self.files.as_of_us), [view.view for view in views])
        return InMemory(source, rows), waiting_of([everything.filter(~pl.col("_pushed"))], self.files.as_of_us)

    def _in_files(
        self, source: Source, pieces: Sequence[Piece], views: Sequence[ViewState], folder: Path, *, seeds: bool
    ) -> tuple[Ready, int | None]:
        """Return the same, made in files of a folder."""
        rows = sum(piece.height for piece in pieces)
        size = min(self.bounds.bucket_rows, max(1, _BUCKET_FLOATS // _width(views)))
        memory = SortedPairs(folder / "memory", -(-rows // size))
        with room_for(source, rows, folder):
            pieces = [piece.seekable(folder / "batches" / f"{n:05d}.arrow") for n, piece in enumerate(pieces)]
            last = (lambda rows: memory.add(_together(row_pairs(source, rows)))) if seeds else None
            read = [view.view for view in views]
            cutter = Cutter(read, folder / "buckets", size, self.doing, self.files.as_of_us, last)
            cut = cutter.cut(source, pieces)
            pairs = self._sorted_pairs(cut, views, folder / "views")
        chunks = (chunk for piece in pieces if piece.batches for chunk in piece.chunks([EVENT, KNOWN]))
        return InFiles(cut.newest_us, pairs, memory), waiting_of(chunks, self.files.as_of_us)

    def _sorted_pairs(self, cut: Cut, views: Sequence[ViewState], folder: Path) -> dict[bytes, SortedPairs]:
        """Make the state of views, bucket after bucket."""
        made: dict[bytes, SortedPairs] = {}
        for keys, buckets in cut.buckets.items():
            mine = [view for view in views if tuple(view.view.entity.keys) == keys]
            made |= {view.digest: SortedPairs(folder / view.digest.hex(), buckets.count) for view in mine}
            names = ", ".join(view.view.name for view in mine)
            for number in range(buckets.count):
                self.doing(f"building {names}: {number:,} of {buckets.count:,} buckets")
                rows = with_filters(in_order(buckets.read(number)), [view.view for view in mine])
                buckets.delete(number)
                for view in mine:
                    made[view.digest].add(_together(view_pairs(view, rows)))
        return made


def _together(pairs: Iterator[Pairs]) -> Pairs:
    return list(chain.from_iterable(pairs))


def _width(views: Sequence[ViewState]) -> int:
    """Return how many numbers the widest state of a view has for a key and its hops; at least 1."""
    return max([1, *(sum(ring.ring.width for ring in view.rings) for view in views)])
