"""A folder of numbered Parquet parts that a long computation writes, stops at any instant, and goes on with.

A part is there whole or not at all. A manifest says what the parts were made from, so that those of two computations
never lie side by side.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import polars as pl
from attrs import frozen

from charkha.storage.flush import flush
from charkha.storage.locks import locked

WORKPLACE = ".unfinished"


class PartsRefused(Exception):
    """A folder that holds parts of something else, or cannot be made; says the way out."""


class Origin(msgspec.Struct, frozen=True):
    """What parts were made from: they are good as long as this is the same.

    digest: of all that decides what is in them. questions: rows asked about, in all. rows_at_once: of one part.
    """

    digest: str
    questions: int
    rows_at_once: int


@frozen(eq=False)
class Parts:
    """The parts of one computation. workplace: a folder for files that are needed while it runs, gone at its end."""

    folder: Path
    origin: Origin
    workplace: Path

    def spans(self) -> Iterator[tuple[Path, int, int]]:
        """Yield of each part its file, its first row and how many it has; without any row, one empty part."""
        total, at_once = self.origin.questions, self.origin.rows_at_once
        for number, low in enumerate(range(0, max(1, total), at_once)):
            yield self.folder / f"part-{number:05d}.parquet", low, min(at_once, total - low)

    def begin_anew(self) -> None:
        """Delete what parts there are."""
        for part in self.folder.glob("part-*.parquet"):
            part.unlink()


@contextmanager
def opened_parts(folder: Path, origin: Origin, manifest: str, same: str) -> Iterator[Parts]:
    """Hold a folder for one computation; another one into the same folder waits.

    manifest: the name of the file that says the origin. same: what must be as it was for parts to be kept, in words.
    Raises PartsRefused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PartsRefused(f"expected a folder that can be made, {folder} cannot: {error.strerror}") from error
    with locked(folder), _workplace(folder / WORKPLACE) as workplace:
        _claim(folder, origin, manifest, same)
        yield Parts(folder, origin, workplace)


def is_whole(path: Path, rows: int) -> bool:
    """Say whether a part is there whole: one that was cut short or spoilt since it was written is made anew."""
    try:
        return pl.read_parquet(path).height == rows
    except (pl.exceptions.PolarsError, OSError):
        return False


def write_part(path: Path, frame: pl.DataFrame) -> None:
    """Write a part whole or not at all, and have the disk confirm it."""
    unfinished = path.with_suffix(".partial")
    frame.write_parquet(unfinished, compression="lz4", statistics=False)
    _take_name(unfinished, path)


def _take_name(unfinished: Path, path: Path) -> None:
    flush(unfinished)
    os.replace(unfinished, path)
    flush(path.parent)


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """Yield a folder for files that are needed for a while; what a killed run left there is removed first."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _claim(folder: Path, origin: Origin, manifest: str, same: str) -> None:
    """See to it that what is in the folder is of this computation. Raises PartsRefused."""
    file = folder / manifest
    if file.exists():
        found = msgspec.json.decode(file.read_bytes(), type=Origin)
        if found != origin and any(folder.glob("part-*")):
            raise PartsRefused(
                f"expected {folder} to be empty or to hold parts of the same work, found those of another: {same} are "
                "not the same. Choose another folder, or delete it"
            )
    elif any(folder.glob("part-*")):
        raise PartsRefused(f"expected {folder} to be empty, found parts without {manifest}. Choose another folder")
    unfinished = file.with_suffix(".partial")
    unfinished.write_bytes(msgspec.json.encode(origin))
    _take_name(unfinished, file)
