"""The files that hold the rows to be scored, as one table that is not read yet."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal

import polars as pl
from attrs import evolve, field, frozen

from charkha.features.file_paths import paths_of
from charkha.spec.sources import Files, Source

_FORMATS: Mapping[str, Literal["parquet", "csv", "arrow"]] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}


class ScoringRefused(Exception):
    """Rows, or a version, that cannot be scored as asked for; says the way out."""


@frozen(eq=False)
class RowFiles:
    """Rows in files of one format, in the order of the files. heights: of each file. frame: as they lie, unread."""

    paths: Sequence[Path]
    heights: Sequence[int]
    declared: Files
    frame: pl.LazyFrame
    schema: pl.Schema = field(init=False)

    @schema.default
    def _schema(self) -> pl.Schema:
        return self.frame.collect_schema()

    @property
    def height(self) -> int:
        """Rows in all files."""
        return sum(self.heights)

    def stamps(self) -> list[tuple[str, int, int]]:
        """Return what changes when a file does."""
        return [(str(path), (about := path.stat()).st_size, about.st_mtime_ns) for path in self.paths]

    def rows(self, low: int, count: int, names: Sequence[str] | None = None) -> pl.DataFrame:
        """Return some rows, all of their columns unless named. Raises ScoringRefused."""
        frame = self.frame if names is None else self.frame.select(names)
        try:
            return frame.slice(low, count).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(self.paths, error) from error

    def seekable(self, path: Path) -> "RowFiles":
        """Return the same rows in a form whose midst can be read without what is before: CSV in a file that is made."""
        if self.declared.format != "csv":
            return self
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.frame.sink_ipc(path, compression="lz4")
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _unreadable(self.paths, error) from error
        return evolve(self, frame=pl.scan_ipc(path))

    def place(self, row: int) -> str:
        """Say where a row is, counted in its own file from 0."""
        ends = list(accumulate(self.heights))
        number = next(number for number, end in enumerate(ends) if row < end)
        return f"row {row - ends[number] + self.heights[number]:,} of {self.paths[number].name}"


def row_files(given: Sequence[str], root: Path, csv: Files | None = None) -> RowFiles:
    """Return the rows of files, folders of them, or globs; paths are relative to `root`.

    csv: how values are written in CSV, where it says so. Raises DataError where no file is, and ScoringRefused.
    """
    paths = [path for pattern in given for path in paths_of(Source("input", {}), Files("parquet", pattern), root)]
    formats = {_FORMATS.get(path.suffix.lower()) for path in paths}
    form = formats.pop()
    if formats or form is None:
        found = ", ".join(sorted({path.suffix or path.name for path in paths}))
        raise ScoringRefused(
            f"expected files of one format, by their names .parquet, .csv or .arrow, got {found}. Score each format "
            "into a folder of its own"
        )
    declared = Files(form, given[0], csv.nulls if csv else (), csv.times if csv else None)
    try:
        heights = [_scan([path], declared).select(pl.len()).collect().item() for path in paths]
        return RowFiles(paths, heights, declared, _scan(paths, declared))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(paths, error) from error


def _scan(paths: Sequence[Path], declared: Files) -> pl.LazyFrame:
    if declared.format == "parquet":
        return pl.scan_parquet(list(paths), glob=False, hive_partitioning=False)
    if declared.format == "arrow":
        return pl.scan_ipc(list(paths), glob=False, hive_partitioning=False)
    nulls = list(declared.nulls) or None
    return pl.scan_csv(list(paths), infer_schema=False, null_values=nulls, glob=False)


def _unreadable(paths: Sequence[Path], error: Exception) -> ScoringRefused:
    said = str(error).partition("\n")[0]
    others = f" and {len(paths) - 1:,} more, which must have its columns," if len(paths) > 1 else ""
    return ScoringRefused(f"{paths[0]}{others} cannot be read: {said}")
