"""A source held to its contract, batch by batch: every file, and the source as a whole."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from attrs import frozen

from charkha.features.batches import batches_of
from charkha.features.contracts import Violation, Volume, source_violations, violations
from charkha.features.file_marks import Mark, file_marks
from charkha.features.rows import pushed_rows, stamped
from charkha.spec.sources import Source
from charkha.storage.log import Log

WHOLE = "all rows"


@frozen(eq=False)
class BatchCheck:
    """What was found of a batch. batch: the file, or `WHOLE`. mark: what a person decided of it, if it still holds."""

    source: str
    batch: str
    rows: int
    mark: Mark | None
    violations: tuple[Violation, ...]

    @property
    def fails(self) -> bool:
        """Whether it keeps the source from being read: not one that is left out, or read all the same."""
        return bool(self.violations) and self.mark is None


def check_source(source: Source, root: Path, log: Log, as_of_us: int) -> list[BatchCheck]:
    """Return what is found of each file of a source, and then of the whole as of a time (µs).

    The whole are the rows that would be read if no file failed, and those pushed, known by then. Pushed rows were held
    to the contract when they came. Raises DataError for a file that cannot be read as declared.
    """
    frames = [pushed_rows(source, log)]
    checks: list[BatchCheck] = []
    for check, rows in _batches(source, root, log):
        checks.append(check)
        if check.mark != "aside":
            frames.append(stamped(rows, source))
    # A row that was pushed, and comes in a file too, is one.
    volume = Volume.of([pl.concat(frames).unique(list(source.fields))["_known_us"]], as_of_us)
    return [*checks, BatchCheck(source.name, WHOLE, volume.rows, None, tuple(source_violations(volume, source)))]


def _batches(source: Source, root: Path, log: Log) -> Iterator[tuple[BatchCheck, pl.DataFrame]]:
    marks = file_marks(log, source.name)
    for batch in batches_of(source, root):
        rows, mark = batch.read(), marks.get(batch.name)
        holds = mark is not None and (mark.mark == "aside" or batch.is_released(mark))
        held = mark.mark if mark is not None and holds else None
        yield BatchCheck(source.name, batch.name, rows.height, held, tuple(violations(rows, source))), rows
