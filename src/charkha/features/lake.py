"""Tables of a lake, as they are in one version: Delta Lake and Iceberg, read from their folders without a catalog.

What reads them comes with the extra `lake`, and is imported when such a table is read.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from attrs import frozen

from charkha.features.declared import DataError
from charkha.spec.sources import Source

if TYPE_CHECKING:
    pass

_METADATA = re.compile(r"v?(\d+)(?:-.*)?\.metadata\.json")


@frozen(eq=False)
class LakeTable:
    """One version of a table. frame: its rows, unread. version: what tells it from every other version of any table."""

    frame: pl.LazyFrame
    version: str


def delta_table(source: Source, folder: Path) -> LakeTable:
    """Return a Delta Lake table as it is now. Raises DataError."""
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError as error:
        raise _lacks(source, "Delta Lake", "deltalake") from error
    try:
        table = DeltaTable(folder)
        number, name = table.version(), table.metadata().id
        return LakeTable(pl.scan_delta(str(folder), version=number), f"{name}@{number}")
    except (DeltaError, pl.exceptions.PolarsError, OSError) as error:
        raise _is_none(source, folder, "Delta Lake", "the folder that holds _delta_log", error) from error


def iceberg_table(source: Source, path: Path) -> LakeTable:
    """Return an Iceberg table as its newest metadata in the folder, or the metadata file given, has it.

    Raises DataError.
    """
    try:
        from pyiceberg.table import StaticTable
    except ImportError as error:
        raise _lacks(source, "Iceberg", "pyiceberg") from error
    metadata = _newest_metadata(source, path) if path.is_dir() else path
    try:
        table: StaticTable = StaticTable.from_metadata(str(metadata))
        snapshot = table.metadata.current_snapshot_id
        # Polars' own reader plans with a package that is not on all platforms, and warns without it.
        frame = pl.scan_iceberg(table, snapshot_id=snapshot, reader_override="pyiceberg")
        return LakeTable(frame, f"{table.metadata.table_uuid}@{snapshot}")
    except (pl.exceptions.PolarsError, OSError, ValueError, LookupError) as error:
        raise _is_none(source, path, "Iceberg", "the folder that holds metadata, or a .metadata.json", error) from error


def _newest_metadata(source: Source, folder: Path) -> Path:
    """Return what a table's folder says is its newest metadata: the folder itself if it has a hint, or a file."""
    if (folder / "metadata" / "version-hint.text").exists():
        return folder
    numbered = [(_METADATA.fullmatch(path.name), path) for path in sorted(folder.glob("metadata/*.metadata.json"))]
    files = [(int(found[1]), path) for found, path in numbered if found]
    newest = [path for number, path in files if number == max(files)[0]]
    if len(newest) != 1:
        found = f"{[path.name for path in newest]}: one of them lost a race" if newest else "none"
        raise DataError(
            f"source {source.name!r}: expected the newest metadata of an Iceberg table in "
            f"{str(folder / 'metadata')!r}, found {found}. Name the file that your catalog has for it: "
            "ck.iceberg('…/metadata/….metadata.json')"
        )
    return newest[0]


def _lacks(source: Source, kind: str, package: str) -> DataError:
    return DataError(
        f"source {source.name!r}: expected the package {package}, which reads {kind} tables, and it is not installed. "
        "Install the extra: pip install 'charkha[lake]'"
    )


def _is_none(source: Source, path: Path, kind: str, what: str, error: Exception) -> DataError:
    said = str(error).partition("\n")[0]
    return DataError(f"source {source.name!r}: {str(path)!r} cannot be read as a table of {kind}: {said}. Name {what}")
