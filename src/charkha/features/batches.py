"""What a source's data comes in: batches that are read, held to a contract, and set aside as one.

A batch is a file, a table of a lake in one version, or the result of a query.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path

import polars as pl
from attrs import frozen

from charkha.features.csv_files import csv_flaw, line_not_utf8
from charkha.features.declared import DataError, declared_fields, unlike_declared
from charkha.features.file_marks import FileMark, file_digest, file_name
from charkha.features.file_paths import paths_of
from charkha.features.folders import with_folders
from charkha.features.lake import LakeTable, delta_table, iceberg_table
from charkha.features.queries import QUERY, query_frames
from charkha.features.spool import spooled
from charkha.spec.sources import Files, Query, Source

Stamp = tuple[str, ...]


@frozen(eq=False)
class Batch:
    """Some rows of a source, unread, which are the same however often they are read through it.

    name: what it is called in marks, messages and commands. place: what it is called in errors of reading. opened:
    returns its columns as they lie. digest: returns what changes with its content. stamp: returns what a long
    computation remembers it by, quickly. changed_us: returns when it was written last (µs), None where nothing says so.
    file: where it lies, if it is a file.
    """

    source: Source
    name: str
    place: str
    opened: Callable[[], pl.LazyFrame]
    digest: Callable[[], str]
    stamp: Callable[[], Stamp]
    changed_us: Callable[[], int | None] = lambda: None
    file: Path | None = None

    def scan(self) -> tuple[pl.LazyFrame, dict[str, pl.Expr]]:
        """Return the rows unread, as they are, and how each declared field comes of their columns. Raises DataError."""
        try:
            frame = self.opened()
            return frame, declared_fields(self.source, frame, self.place)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self.unreadable(error) from error

    def columns(self) -> pl.Schema:
        """Return the columns as they are. Raises DataError."""
        try:
            return self.opened().collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self.unreadable(error) from error

    def read(self) -> pl.DataFrame:
        """Return the declared fields. Raises DataError."""
        frame, declared = self.scan()
        try:
            return frame.select(**declared).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self.unreadable(error) from error

    def is_released(self, mark: FileMark | None) -> bool:
        """Say whether it was released as it is: one that changed since must keep the contract again."""
        return mark is not None and mark.mark == "released" and mark.digest == self.digest()

    def unreadable(self, error: Exception) -> DataError:
        """Return what to raise when the rows turn out not to be as declared."""
        try:
            told = unlike_declared(self.source, self.opened(), self.place)
        except (pl.exceptions.PolarsError, OSError):
            told = None
        if told is not None:
            return told
        said = str(error).partition("\n")[0]  # what follows is the query plan
        if "utf-8" in said and self.file is not None:
            said += f" in line {line_not_utf8(self.file):,}. Write the file in UTF-8"
        return DataError(f"source {self.source.name!r}: {self.place} cannot be read as declared: {said}")


def batches_of(source: Source, root: Path, spool: Path | None = None) -> list[Batch]:
    """Return the batches of a source's data, in the order of their names. Raises DataError when there is none.

    spool: a folder for what a query gives, where that is much; unless given, all of it is in memory.
    """
    match source.data:
        case None:
            return []
        case Query():
            return [_query_batch(source, source.data, root, spool)]
        case Files(format="delta"):
            return [_table_batch(source, path, root, delta_table) for path in paths_of(source, source.data, root)]
        case Files(format="iceberg"):
            return [_table_batch(source, path, root, iceberg_table) for path in paths_of(source, source.data, root)]
        case Files():
            return [_file_batch(source, source.data, path, root) for path in paths_of(source, source.data, root)]


def _file_batch(source: Source, files: Files, path: Path, root: Path) -> Batch:
    def stamp() -> Stamp:
        about = path.stat()
        return str(path), str(about.st_size), str(about.st_mtime_ns)

    return Batch(
        source,
        file_name(path, root),
        repr(str(path)),
        opened=lambda: _file_frame(source, files, path, root),
        digest=lambda: file_digest(path),
        stamp=lambda: (*stamp(), *_read_how(files)),
        changed_us=lambda: path.stat().st_mtime_ns // 1000,
        file=path,
    )


def _file_frame(source: Source, files: Files, path: Path, root: Path) -> pl.LazyFrame:
    flaw = csv_flaw(path, files.separator) if files.format == "csv" else None
    if flaw is not None:
        raise DataError(f"source {source.name!r}: {str(path)!r} cannot be read: {flaw}")
    return files_frame(source, files, [path], root)


def files_frame(source: Source, files: Files, paths: list[Path], root: Path) -> pl.LazyFrame:
    """Return the rows of files as they lie, in their order; unread. They have the same columns, in name and folder."""
    return with_folders(source, _scan(files, paths), paths[0], root)


def _read_how(files: Files) -> Stamp:
    """Return what changes what the same bytes say."""
    separated = (files.separator,) if files.separator != "," else ()
    return (repr((files.nulls, files.times, *separated)),) if files.nulls or files.times or separated else ()


def _scan(files: Files, paths: list[Path]) -> pl.LazyFrame:
    if files.format == "parquet":
        return pl.scan_parquet(paths, glob=False)
    if files.format == "arrow":
        return pl.scan_ipc(paths, glob=False)
    nulls = list(files.nulls) or None
    return pl.scan_csv(paths, infer_schema=False, null_values=nulls, separator=files.separator, glob=False)


def _table_batch(source: Source, path: Path, root: Path, table_of: Callable[[Source, Path], LakeTable]) -> Batch:
    """Return a table as a batch, in the version that it has when it is first looked at."""

    @cache
    def table() -> LakeTable:
        return table_of(source, path)

    return Batch(
        source,
        file_name(path, root),
        repr(str(path)),
        opened=lambda: table().frame,
        digest=lambda: table().version,
        stamp=lambda: (str(path), table().version),
    )


def _query_batch(source: Source, query: Query, root: Path, spool: Path | None) -> Batch:
    """Return the result of a query as a batch; it is run once."""

    @cache
    def rows() -> pl.LazyFrame:
        frames = query_frames(source, query, root)
        return pl.concat(frames, rechunk=True).lazy() if spool is None else spooled(frames, spool / QUERY)

    def digest() -> str:
        # A database may give the same rows in another order, and other rows to the same query.
        stream = BytesIO()
        found = rows().collect()
        found.sort(found.columns).write_ipc(stream, compression="uncompressed")
        return _hashed(query.text.encode(), stream.getvalue())

    return Batch(
        source,
        QUERY,
        "its query",
        opened=rows,
        digest=digest,
        stamp=lambda: (QUERY, _hashed(query.text.encode(), query.url.encode())),
    )


def _hashed(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
