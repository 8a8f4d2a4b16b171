"""The rows of a source as one table: batch files, then pushed rows, each once, with the time it became known."""

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from charkha.clock import to_iso
from charkha.features.batches import Batch, Stamp, batches_of
from charkha.features.contracts import Violation, Volume, source_violations, violations
from charkha.features.declared import DataError
from charkha.features.events import RowLayout, decode_events, event_stream
from charkha.features.file_marks import FileMark, file_marks
from charkha.spec.fields import TIME, polars_schema
from charkha.spec.sources import Source
from charkha.storage.log import Log

_PUSHED_AT_ONCE = 50_000


class FileBreaksContract(DataError):
    """A file whose rows break the contract of their source; nothing of it was read."""

    def __init__(self, source: Source, file: str, found: Sequence[Violation]) -> None:
        self.source, self.file, self.violations = source.name, file, tuple(found)
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        name = f"{source.name}@{file}"
        super().__init__(
            f"source {source.name!r}: {file!r} breaks its contract: {found[0].message}{more}. See all of it: charkha "
            f"data check {source.name}. Leave the file out: charkha data quarantine {name} --reason …; read it all the "
            f"same: charkha data release {name} --reason …; or change the contract"
        )


class SourceBreaksContract(DataError):
    """A source that as a whole does not keep its contract at a time: rows too old, too few or too many."""

    def __init__(self, source: Source, as_of_us: int, found: Sequence[Violation]) -> None:
        self.source, self.as_of_us, self.violations = source.name, as_of_us, tuple(found)
        said = "; ".join(violation.message for violation in found)
        super().__init__(
            f"source {source.name!r} breaks its contract as of {to_iso(as_of_us)}: {said}. Mend what feeds it; or work "
            "as of an earlier time, or change max_age= or rows_per_day= of the contract"
        )


def read_rows(source: Source, root: Path, log: Log | None = None, as_of_us: int | None = None) -> pl.DataFrame:
    """Return a source's rows in the order in which they became known.

    Columns: the declared fields, `_event_us` and `_known_us` (int64, µs), `_pushed` (False for a row of the files), and
    `_first` (False for a correction: a row whose key came before with other content). Repeated rows are dropped. With
    `as_of_us`, only what was known by then; without, also rows that never become known (`_known_us` null), last. Files
    that were set aside are not read. Raises DataError, FileBreaksContract among them.
    """
    with naming_the_row(source, root, log):
        return known_rows(stamped_rows(source, root, log), source, as_of_us)


def stamped_rows(source: Source, root: Path, log: Log | None = None) -> pl.DataFrame:
    """Return all rows of a source as they lie, files first: its fields, `_event_us`, `_known_us` and `_pushed`."""
    frames = [pl.DataFrame(schema=stamped_schema(source))]
    if source.data is not None:
        frames.append(stamped(read_batches(source, root, log), source))
    files = sum(frame.height for frame in frames)
    if log is not None:
        frames.append(pushed_rows(source, log))
    return pl.concat(frames).with_row_index("_pushed").with_columns(pl.col("_pushed") >= files)


def known_rows(rows: pl.DataFrame, source: Source, as_of_us: int | None = None) -> pl.DataFrame:
    """Return what `read_rows` does. rows: of `stamped_rows`."""
    rows = rows.sort("_known_us", nulls_last=True, maintain_order=True)
    if source.key and not source.static:
        content = pl.struct(list(source.fields)).hash()
        rows = rows.filter(~pushed_later(rows, list(source.key), content))
    if as_of_us is not None:
        rows = rows.filter(pl.col("_known_us") <= as_of_us)
    return mark_versions(rows, source)


def pushed_later(rows: pl.DataFrame, key: list[str], content: pl.Expr) -> pl.Series:
    """Say of each row whether it is one of the files that was pushed later, no other version of it in between.

    It was known from its push on: until then the state had no such row, or the push would have been a repetition.
    rows: in the order in which they became known, with `_known_us` and `_pushed`. content: what a row says, hashed.
    """
    found = pl.repeat(value=False, n=rows.height, dtype=pl.Boolean, eager=True)
    pushed = rows.filter("_pushed").group_by(key).agg(_last_us=pl.col("_known_us").max())
    if pushed.is_empty():
        return found
    both = rows.with_row_index("_row").join(pushed, on=key, how="inner", maintain_order="left")
    early = both.filter(~pl.col("_pushed") & (pl.col("_known_us") < pl.col("_last_us"))).select(key)
    both = both.join(early, on=key, how="semi", maintain_order="left").with_columns(_said=content)
    before = pl.col("_said").shift(1).over(key)
    both = both.with_columns(_run=(before.is_null() | (before != pl.col("_said"))).cum_sum().over(key))
    pushed_us = pl.when("_pushed").then("_known_us").min().over([*key, "_run"])
    return found.scatter(both.filter(~pl.col("_pushed") & (pl.col("_known_us") < pushed_us))["_row"], values=True)


def checked_batches(source: Source, root: Path, log: Log | None, spool: Path | None = None) -> Iterator[Batch]:
    """Yield the batches that are to be read: not set aside, and keeping the contract of their source, if it has one.

    spool: see `batches_of`.
    """
    marks = file_marks(log, source.name)
    for batch in batches_of(source, root, spool):
        mark = marks.get(batch.name)
        if _is_aside(mark):
            continue
        if source.contract is not None and not batch.is_released(mark):
            _require_kept(source, batch.name, batch.read())
        yield batch


def _is_aside(mark: FileMark | None) -> bool:
    return mark is not None and mark.mark == "aside"


def _require_kept(source: Source, name: str, frame: pl.DataFrame) -> None:
    found = violations(frame, source)
    if found:
        raise FileBreaksContract(source, name, found)


def require_whole(source: Source, volume: Volume) -> None:
    """Raise SourceBreaksContract unless a source keeps its contract as a whole."""
    found = source_violations(volume, source)
    if found:
        raise SourceBreaksContract(source, volume.as_of_us, found)


def stamped_schema(source: Source) -> pl.Schema:
    """Return the columns of a row with its two times."""
    return pl.Schema({**polars_schema(source.fields), "_event_us": pl.Int64(), "_known_us": pl.Int64()})


def mark_versions(rows: pl.DataFrame, source: Source) -> pl.DataFrame:
    """Return rows in order of arrival without repetitions, `_first` telling first versions from corrections."""
    if not source.key:
        return rows.with_columns(_first=pl.lit(value=True))
    refuse_null_keys(rows, source)
    before = pl.col("_content").shift(1).over(list(source.key))
    marked = rows.with_columns(_content=pl.struct(list(source.fields)).hash()).with_columns(_before=before)
    kept = marked.filter(pl.col("_before").is_null() | (pl.col("_before") != pl.col("_content")))
    return kept.with_columns(_first=pl.col("_before").is_null()).drop("_before", "_content")


def read_batches(
    source: Source, root: Path, log: Log | None = None, only: Container[str] | None = None
) -> pl.DataFrame:
    """Return the declared fields of a source's data, in the order of its batches' names, without those set aside.

    log: what holds the marks of batches. only: the names of batches to read. Raises DataError, FileBreaksContract
    among them.
    """
    marks = file_marks(log, source.name)
    frames = [pl.DataFrame(schema=polars_schema(source.fields))]
    for batch in batches_of(source, root):
        mark = marks.get(batch.name)
        if _is_aside(mark) or (only is not None and batch.name not in only):
            continue
        frame = batch.read()
        found = violations(frame, source)
        if found and not batch.is_released(mark):
            raise FileBreaksContract(source, batch.name, found)
        frames.append(frame)
    return pl.concat(frames)


def batch_stamps(source: Source, root: Path, log: Log | None) -> dict[str, Stamp]:
    """Return the stamp of each batch that `read_batches` reads, by name, in their order; not where it lies.

    Raises DataError.
    """
    marks = file_marks(log, source.name)
    read = (batch for batch in batches_of(source, root) if not _is_aside(marks.get(batch.name)))
    return {batch.name: batch.stamp()[1:] for batch in read}


def pushed_rows(source: Source, log: Log) -> pl.DataFrame:
    """Return the rows of a source that the log holds, in their order."""
    return pl.concat(pushed_frames(source, log))


def pushed_frames(source: Source, log: Log, rows_at_once: int = _PUSHED_AT_ONCE) -> Iterator[pl.DataFrame]:
    """Yield the rows of a source that the log holds, in their order, about so many at a time; the last may be none."""
    layout, schema = RowLayout.of(source), stamped_schema(source)
    values: list[tuple[object, ...]] = []
    for record in log.read(event_stream(source.name)):
        event = decode_events(record.payload)
        values.extend((*row, layout.event_us(row), event.known_us) for row in event.rows_of(layout.fields))
        if len(values) >= rows_at_once:
            yield frame_of_plain(values, schema)
            values.clear()
    yield frame_of_plain(values, schema)


def frame_of_plain(values: Sequence[Sequence[object]], schema: pl.Schema) -> pl.DataFrame:
    """Return rows of values as a table; their times are µs."""
    plain = pl.Schema({name: pl.Int64() if kind == TIME else kind for name, kind in schema.items()})
    return pl.DataFrame(values, schema=plain, orient="row").cast(schema)


def stamped(frame: pl.DataFrame, source: Source) -> pl.DataFrame:
    """Return rows of files with their two times, without those that have no event time."""
    if source.time is None or source.known is None:
        return frame.with_columns(_event_us=pl.lit(0, pl.Int64), _known_us=pl.lit(0, pl.Int64))
    return frame.with_columns(
        _event_us=pl.col(source.time).dt.epoch("us"), _known_us=pl.col(source.known).dt.epoch("us") + source.lag_us
    ).filter(pl.col("_event_us").is_not_null())


class RowWithoutKey(DataError):
    """Rows that lack their source's key; where they lie is told by `naming_the_row`."""

    def __init__(self, source: Source, rows: int, where: str = "") -> None:
        super().__init__(
            f"source {source.name!r}: expected the key {list(source.key)} in every row, got {rows:,} with null in it"
            f"{where}. Fill it, drop those rows, or choose another key"
        )


def refuse_null_keys(rows: pl.DataFrame, source: Source, place: str = "") -> None:
    """Raise RowWithoutKey unless every row has its key. place: of a batch that the rows are, in their order."""
    lacks = rows.select(pl.any_horizontal(pl.col(list(source.key)).is_null())).to_series()
    if source.time in rows.columns:  # what never happened is no row
        lacks &= rows[source.time].is_not_null()
    if lacks.any():
        first = f", the first in row {lacks.arg_true()[0]:,} of {place}" if place else ""
        raise RowWithoutKey(source, int(lacks.sum()), first)


@contextmanager
def naming_the_row(source: Source, root: Path, log: Log | None) -> Iterator[None]:
    """Name the file and the row where a row turns out to lack its key: all batches are read again for that."""
    try:
        yield
    except RowWithoutKey:
        marks = file_marks(log, source.name)
        for batch in batches_of(source, root):
            if not _is_aside(marks.get(batch.name)):
                refuse_null_keys(batch.read(), source, batch.place)
        raise
