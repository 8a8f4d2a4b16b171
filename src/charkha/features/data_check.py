"""A source held to its contract, batch by batch: every file, and the source as a whole."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from attrs import frozen

from charkha.features.batches import batches_of
from charkha.features.contracts import Violation, Volume, source_violations, violations
from charkha.features.declared import DataError
from charkha.features.file_marks import Mark, file_marks
from charkha.features.rows import known_rows, pushed_rows, refuse_null_keys, stamped
from charkha.spec.fields import polars_schema
from charkha.spec.sources import Source
from charkha.storage.log import Log

WHOLE = "all rows"


@frozen(eq=False)
class BatchCheck:
    """What was found of a batch. batch: the file, or `WHOLE`. mark: what a person decided of it, if it still holds.

    problem: why its rows cannot be read, or "". unknown: how many rows never become known, for lack of a time.
    """

    source: str
    batch: str
    rows: int
    mark: Mark | None
    violations: tuple[Violation, ...] = ()
    problem: str = ""
    unknown: int = 0

    @property
    def fails(self) -> bool:
        """Whether it keeps the source from being read: not one that is left out, or read all the same."""
        return bool(self.problem and self.mark != "aside") or bool(self.violations and self.mark is None)


def check_source(source: Source, root: Path, log: Log, as_of_us: int) -> list[BatchCheck]:
    """Return what is found of each file of a source, and then of the whole as of a time (µs).

    The whole are the rows that would be read if no file failed, and those pushed, known by then, without what cannot be
    read: repetitions are told as in a training, by the row's key. Pushed rows were held to the contract when they came.
    """
    frames: list[pl.DataFrame] = []
    checks: list[BatchCheck] = []
    problem = ""
    try:
        for check, rows in _batches(source, root, log):
            checks.append(check)
            if check.mark != "aside":
                frames.append(stamped(rows, source).with_columns(_pushed=pl.lit(value=False)))
    except DataError as error:  # there are no batches at all
        problem = str(error)
    rows = pl.concat([*frames, pushed_rows(source, log).with_columns(_pushed=pl.lit(value=True))])
    try:
        rows = known_rows(rows, source)
    except DataError as error:  # a row lacks its key
        problem = problem or str(error)
    volume = Volume.of([rows["_known_us"]], as_of_us)
    found = tuple(source_violations(volume, source))
    return [*checks, BatchCheck(source.name, WHOLE, volume.rows, None, found, problem)]


def _batches(source: Source, root: Path, log: Log) -> Iterator[tuple[BatchCheck, pl.DataFrame]]:
    """Yield what is found of each batch, and its rows, of which one that cannot be read has none."""
    marks = file_marks(log, source.name)
    nothing = pl.DataFrame(schema=polars_schema(source.fields))
    for batch in batches_of(source, root):
        mark = marks.get(batch.name)
        aside: Mark | None = "aside" if mark is not None and mark.mark == "aside" else None
        try:
            rows = batch.read()
            if source.key:
                refuse_null_keys(rows, source, batch.place)
            held: Mark | None = "released" if batch.is_released(mark) else aside
        except DataError as error:
            yield BatchCheck(source.name, batch.name, 0, aside, problem=str(error)), nothing
            continue
        found, unknown = tuple(violations(rows, source)), never_known(rows, source)
        yield BatchCheck(source.name, batch.name, rows.height, held, found, unknown=unknown), rows


def never_known(rows: pl.DataFrame, source: Source) -> int:
    """Return how many rows of a batch are in no feature, for they have no event time or no known time."""
    times = [name for name in (source.time, source.known) if name is not None]
    return rows.filter(pl.any_horizontal(pl.col(times).is_null())).height if times else 0
