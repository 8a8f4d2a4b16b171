"""Tables as Parquet files of one folder: a folder per table, in it a file per part."""

import os
from itertools import groupby
from pathlib import Path

import polars as pl

from charkha.storage.flush import flush
from charkha.storage.locks import locked
from charkha.storage.names import BadName, checked_name, checked_path
from charkha.storage.tables import UnknownPart, UnknownTable

_SUFFIX = ".parquet"
# Hidden: names cannot begin with a dot, so neither is ever taken for a part.
_LOCK = ".lock"
_UNFINISHED = ".unfinished"


class ParquetTables:
    """Tables on a local file system.

    sync: have the disk confirm each part before it takes its name: safe against power failure, at a flush each.
    """

    def __init__(self, folder: Path, *, sync: bool = False) -> None:
        self._folder, self._sync = folder, sync

    def write(self, table: str, part: str, frame: pl.DataFrame) -> None:
        """Write a part whole, replacing an earlier one; see `Tables.write`."""
        path = self._path(table, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        # One writer at a time in a table, so that the unfinished file of a killed one is simply written over.
        with locked(path.parent / _LOCK):
            unfinished = path.parent / _UNFINISHED
            frame.write_parquet(unfinished)
            if self._sync:
                flush(unfinished)
            unfinished.replace(path)
            if self._sync:
                flush(path.parent)

    def parts(self, table: str) -> list[str]:
        """Return the names of a table's parts, sorted; see `Tables.parts`."""
        try:
            names = os.listdir(self._folder / checked_path("table", table))
        except FileNotFoundError:
            return []
        return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))

    def read(self, table: str, part: str) -> pl.DataFrame:
        """Return one part; see `Tables.read`."""
        try:
            return pl.read_parquet(self._path(table, part), glob=False, hive_partitioning=False)
        except FileNotFoundError:
            raise UnknownPart(table, part) from None

    def scan(self, table: str) -> pl.LazyFrame:
        """Return all parts in the order of their names; see `Tables.scan`."""
        paths = [self._path(table, part) for part in self.parts(table)]
        if not paths:
            raise UnknownTable(table)
        # A scan of many files wants one schema: neighbours that share theirs are scanned together.
        groups = groupby(paths, key=lambda path: list(pl.read_parquet_schema(path).items()))
        scans = [pl.scan_parquet(list(group), glob=False, hive_partitioning=False) for _, group in groups]
        return scans[0] if len(scans) == 1 else pl.concat(scans, how="diagonal_relaxed")

    def delete(self, table: str, part: str) -> None:
        """Remove a part; see `Tables.delete`."""
        self._path(table, part).unlink(missing_ok=True)

    def _path(self, table: str, part: str) -> Path:
        for piece in (*table.split("/"), part):
            if piece.endswith(_SUFFIX):
                raise BadName("table or part", piece, f"a name that does not end in {_SUFFIX}")
        return self._folder / checked_path("table", table) / f"{checked_name('part', part)}{_SUFFIX}"
