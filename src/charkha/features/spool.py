"""Rows that come one table after the other, from a query or the log: in memory while they are few, else in files."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

SPOOL_ROWS = 1 << 20


def spooled(frames: Iterable[pl.DataFrame], folder: Path, rows_at_once: int = SPOOL_ROWS) -> pl.LazyFrame:
    """Return the rows of tables of one schema, at least one table, in their order and unread.

    folder: made for the files once there are more than `rows_at_once` rows, which is what one of them holds.
    """
    files: list[Path] = []
    held: list[pl.DataFrame] = []
    for frame in frames:
        if held and sum(each.height for each in held) + frame.height > rows_at_once:
            files.append(_written(held, folder, len(files)))
            held = []
        held.append(frame)
    if not files:
        return pl.concat(held, rechunk=True).lazy()
    return pl.scan_ipc([*files, _written(held, folder, len(files))])


def _written(frames: list[pl.DataFrame], folder: Path, number: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:05d}.arrow"
    pl.concat(frames, rechunk=True).write_ipc(path, compression="lz4")
    return path
