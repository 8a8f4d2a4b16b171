"""Files that follow each other and lie alike are read as one: each of thousands, opened for every column, is dear."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import polars as pl
from attrs import evolve, frozen

from charkha.features.batches import Batch, files_frame
from charkha.features.declared import DataError, is_by_type
from charkha.features.folders import folder_values
from charkha.spec.sources import Files, Source

Columns = tuple[tuple[str, pl.DataType], ...]


@frozen(eq=False)
class Run:
    """Batches whose rows are read as one. frame, declared: as of `Batch.scan`, of all of them in their order."""

    batches: Sequence[Batch]
    frame: pl.LazyFrame
    declared: Mapping[str, pl.Expr]


def runs_of(source: Source, root: Path, batches: Iterable[Batch], most_files: int) -> Iterator[Run]:
    """Yield batches in runs, in their order: files of the same columns, in name and folder. Raises DataError."""

    @cache
    def by_type(columns: Columns) -> bool:
        return is_by_type(source, pl.Schema(columns))

    def likeness(batch: Batch) -> Hashable:
        """Return what files that can be read as one have in common; None for what cannot be read with others."""
        if batch.file is None:
            return None
        columns = tuple(batch.columns().items())
        said = tuple(each for each in folder_values(batch.file, root).items() if each[0] in source.fields)
        return (columns, said) if by_type(columns) else None

    held: list[Batch] = []
    like: Hashable = None
    for batch in batches:
        its = likeness(batch)
        if held and (its is None or its != like or len(held) == most_files):
            yield _run(source, root, held)
            held = []
        held.append(batch)
        like = its
    if held:
        yield _run(source, root, held)


def unreadable(batches: Sequence[Batch], error: Exception) -> DataError:
    """Return what to raise when rows of a run turn out not to be as declared: of the first file that is at fault."""
    if len(batches) == 1:
        return batches[0].unreadable(error)
    for batch in batches:
        try:
            batch.read()
        except DataError as found:
            return found
    return evolve(batches[0], place=f"one of {batches[0].place} to {batches[-1].place}").unreadable(error)


def _run(source: Source, root: Path, batches: Sequence[Batch]) -> Run:
    frame, declared = batches[0].scan()
    files = [batch.file for batch in batches if batch.file is not None]
    if len(files) > 1 and isinstance(source.data, Files):
        frame = files_frame(source, source.data, files, root)
    return Run(batches, frame, declared)
