"""Where rows come from, and which way a source is read: whole, column by column, or in buckets that lie in files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import polars as pl
from attrs import evolve, field, frozen, validators

from charkha.engines.engine import Engine
from charkha.engines.local import LocalEngine
from charkha.features.pieced import Pieced
from charkha.features.pieces import pieces_of
from charkha.features.rows import naming_the_row
from charkha.features.spilled import Spilled
from charkha.features.whole import Whole
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.log import Log

WHOLE_ROWS = 1_000_000
MEMORY_ROWS = 10_000_000
BUCKET_ROWS = 1 << 21

Doing = Callable[[str], None]


@frozen(eq=False)
class Sources:
    """Where rows come from. root: the folder of their files. log: what was pushed. by_name: the sources' declarations.

    whole_rows: a source with more rows is read column by column. memory_rows: one with more is cut into buckets of
    keys, in files. bucket_rows: about how many rows of a few columns a bucket has, and how many of a source with
    windows are in memory at once.
    """

    root: Path
    by_name: Mapping[str, Source]
    log: Log | None = None
    whole_rows: int = field(default=WHOLE_ROWS, validator=validators.ge(0), kw_only=True)
    memory_rows: int = field(default=MEMORY_ROWS, validator=validators.ge(0), kw_only=True)
    bucket_rows: int = field(default=BUCKET_ROWS, validator=validators.ge(1), kw_only=True)


class Reading(Protocol):
    """A source that was looked through, ready to answer questions."""

    def joined(self, view: FeatureView, asked: pl.DataFrame, doing: Doing) -> pl.DataFrame:
        """Return the features of a view for questions, in their order. asked: the entity's keys and `_at_us`."""
        ...

    def rows_of(self, fields: Sequence[str]) -> pl.DataFrame:
        """Return some fields of all rows, with their times and `_first`, in the order in which they became known."""
        ...

    def known_us(self) -> Iterator[pl.Series]:
        """Yield when the rows became known, µs; null for never. No repetitions, none without its event time."""
        ...


@frozen(eq=False)
class Readings:
    """Sources, each looked through once, when it is first asked for: all questions see the same version of a table.

    views: those that will be joined. folder: for files, which are needed as long as this is used. engine: what joins
    buckets of sources that are read whole.
    """

    sources: Sources
    views: Sequence[FeatureView]
    folder: Path
    engine: Engine = field(factory=LocalEngine)
    _found: dict[str, Reading] = field(factory=dict, init=False)

    def of(self, name: str, doing: Doing = lambda what: None) -> Reading:
        """Return the reading of a source. Raises DataError."""
        if name not in self._found:
            self._found[name] = self._read(self.sources.by_name[name], self.folder / name, doing)
        return self._found[name]

    def anew(self, views: Sequence[FeatureView], name: str) -> "Readings":
        """Return readings of the same sources for other views. name: of their folder in this one's."""
        return evolve(self, views=views, folder=self.folder / name)

    def _read(self, source: Source, folder: Path, doing: Doing) -> Reading:
        with naming_the_row(source, self.sources.root, self.sources.log):
            return self._look_through(source, folder, doing)

    def _look_through(self, source: Source, folder: Path, doing: Doing) -> Reading:
        doing(f"looking through {source.name}")
        views, sources = [view for view in self.views if view.source.name == source.name], self.sources
        pieces = pieces_of(source, sources.root, sources.log, folder / "rows")
        rows = sum(piece.height for piece in pieces)
        windowed = any(view.windows for view in views)
        most = min(sources.memory_rows, sources.bucket_rows) if windowed else sources.memory_rows
        if views and rows > most:
            seekable = [piece.seekable(folder / "batches" / f"{n:05d}.arrow") for n, piece in enumerate(pieces)]
            size = sources.bucket_rows
            folder = folder / "buckets"
            return Spilled.of(source, seekable, views, folder, engine=self.engine, bucket_rows=size, doing=doing)
        if rows > sources.whole_rows:
            return Pieced.of(source, pieces, self.engine)
        return Whole.of(source, pieces, views, self.engine)


@contextmanager
def opened_readings(sources: Sources, views: Sequence[FeatureView], engine: Engine | None = None) -> Iterator[Readings]:
    """Yield sources to be read. What memory does not hold lies in a folder for temporary files, gone at the end."""
    with TemporaryDirectory(prefix="charkha-rows-") as folder:
        yield Readings(sources, views, Path(folder), engine or LocalEngine())
