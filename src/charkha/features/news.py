"""What is new in a source's files since the online state was built from them.

Rows that all became known after those that the state has are applied to it, in their order. Any other news, a file that
changed among them, would have been applied earlier or not at all: then the state of the source is built anew.
"""

from collections.abc import Iterable
from pathlib import Path

import polars as pl
from attrs import frozen
from msgspec.structs import replace

from charkha.features.batches import Stamp
from charkha.features.progress import Taken
from charkha.features.rows import batch_stamps, naming_the_row, read_batches, refuse_null_keys, stamped, stamped_schema
from charkha.features.state import declaration_digest
from charkha.spec.sources import Source
from charkha.storage.log import Log

_BEFORE_ALL = -(1 << 62)


@frozen(eq=False)
class Files:
    """Where rows of files come from, and by when they were known. root: the folder that paths are relative to."""

    root: Path
    log: Log
    as_of_us: int


@frozen(eq=False)
class News:
    """What became of a source's files. rows: to be applied, in the order in which they became known.

    anew: why the state must be built anew instead, in words; "" where it need not. taken: what the state has then.
    """

    rows: pl.DataFrame
    anew: str
    taken: Taken


def news_of(source: Source, files: Files, taken: Taken, declared: str | None, newest_us: int | None) -> News | None:
    """Return what is new of a source's files by `files.as_of_us`; None when nothing is.

    declared: as what its rows were applied, of `declared_of`. newest_us: when the newest row that the state has of the
    source became known. Raises DataError.
    """
    nothing = pl.DataFrame(schema=stamped_schema(source))
    if declared != declaration_digest(source):
        return News(nothing, "it is declared otherwise than when its state was built", taken)
    stamps = batch_stamps(source, files.root, files.log)
    due = taken.waiting_us is not None and taken.waiting_us <= files.as_of_us
    if stamps == taken.batches and not due:
        return None
    changed = [name for name, stamp in taken.batches.items() if stamps.get(name) != stamp]
    if changed:
        said = "is not what it was" if changed[0] in stamps else "is not read any more"
        return News(nothing, f"{changed[0]} {said}", taken)
    if source.static:
        return News(nothing, "a static source has new files", taken)
    found = _unseen(source, files, taken, stamps, due=due)
    rows = found.filter(pl.col("_known_us") <= files.as_of_us).sort("_known_us", maintain_order=True)
    if source.key:
        with naming_the_row(source, files.root, files.log):
            refuse_null_keys(rows, source)
    later = found["_known_us"].filter(found["_known_us"] > files.as_of_us).min()
    waiting = _first_of([later, None if due else taken.waiting_us])
    taken = replace(taken, until_us=max(files.as_of_us, taken.until_us), batches=stamps, waiting_us=waiting)
    late = not rows.is_empty() and int(rows["_known_us"][0]) <= (_BEFORE_ALL if newest_us is None else newest_us)
    return News(rows, "rows became known before others that the state has" if late else "", taken)


def waiting_of(tables: Iterable[pl.DataFrame], as_of_us: int) -> int | None:
    """Return when the first row of the files after a time becomes known. tables: all of their rows, with both times."""
    later = (pl.col("_known_us") > as_of_us) & pl.col("_event_us").is_not_null()
    return _first_of(table.filter(later)["_known_us"].min() for table in tables)


def _unseen(source: Source, files: Files, taken: Taken, stamps: dict[str, Stamp], *, due: bool) -> pl.DataFrame:
    """Return the rows that the state lacks, of each kind in the order of their batches. due: look into those it has."""
    new = stamped(read_batches(source, files.root, files.log, stamps.keys() - taken.batches.keys()), source)
    if not due:
        return new
    old = stamped(read_batches(source, files.root, files.log, stamps.keys() & taken.batches.keys()), source)
    return pl.concat([old.filter(pl.col("_known_us") > taken.until_us), new])


def _first_of(times: Iterable[object]) -> int | None:
    return min((time for time in times if isinstance(time, int)), default=None)
