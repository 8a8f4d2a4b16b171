"""All that was ever predicted and is kept, whichever form it has: compact Parquet, or still the log itself."""

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
from attrs import frozen

from charkha.bundles.store import BundleStore
from charkha.monitoring.archive import Archive
from charkha.monitoring.parts import day_of
from charkha.monitoring.performance import Span
from charkha.serving.prediction_frames import PREDICTION_SCHEMA, decode_predictions
from charkha.serving.prediction_log import predicted_at, prediction_stream
from charkha.storage.home import Home
from charkha.storage.locks import locked, locked_if_free
from charkha.storage.log import Position, Record, UnknownPosition

# A reading goes on in steps of this many records or bytes, so that a long log needs no more memory than a short one.
STEP_RECORDS = 20_000
STEP_BYTES = 64 << 20

EVER = Span(0, 1 << 62)


@frozen(eq=False)
class Step:
    """The rows, as of `decode_predictions`, of the records of a partition from offset `start` until `end`."""

    partition: str
    start: int
    end: int
    rows: pl.DataFrame


def archive_of(home: Home, model: str) -> Archive:
    """Return the compact predictions of a model."""
    return Archive(home.folder / "predictions", model)


@contextmanager
def nobody_reads(home: Home) -> Iterator[bool]:
    """Keep readers out while the block removes what they might be reading; says no where one is at it now."""
    with locked_if_free(home.folder / ".reading") as free:
        yield free


def logged_steps(
    home: Home, model: str, bundles: BundleStore, after: Position | None = None, span: Span = EVER
) -> Iterator[Step]:
    """Yield what was predicted within a span, after a position in the log or from the first that is kept.

    Up to the end of the log as of this call. Within a partition in the order of the log, day by day where it is
    compact. A step may have no rows. The iterator raises UnreadablePredictions, UnknownBundle, LogCorrupt and
    UnknownPosition.
    """
    stream = prediction_stream(model)
    return _steps(home, bundles, (model, span), dict(after or {}), home.log.end(stream))


def _steps(
    home: Home, bundles: BundleStore, wanted: tuple[str, Span], starts: dict[str, int], ends: Position
) -> Iterator[Step]:
    model, span = wanted
    with locked(home.folder / ".reading", shared=True):
        for step in _compact_steps(home, model, starts, span):
            starts[step.partition] = step.end
            yield step
        logged = home.log.read(prediction_stream(model), starts)
        for records in steps_of(record for record in logged if record.end <= ends.get(record.partition, 0)):
            within = [record for record in records if span.since_us <= predicted_at(record.payload) < span.until_us]
            rows = decode_predictions(within, bundles)
            yield Step(records[0].partition, records[0].start, records[-1].end, rows)


def logged_predictions(home: Home, model: str, bundles: BundleStore) -> pl.DataFrame:
    """Return all predictions of a model that are kept; see `logged_steps`."""
    frames = [step.rows for step in logged_steps(home, model, bundles)]
    return pl.concat([pl.DataFrame(schema=PREDICTION_SCHEMA), *frames], how="diagonal_relaxed")


def _compact_steps(home: Home, model: str, starts: Position, span: Span) -> Iterator[Step]:
    archive = archive_of(home, model)
    first, last = day_of(max(0, span.since_us)), day_of(min(span.until_us, 1 << 57) - 1)
    within = (pl.col("_at_us") >= span.since_us) & (pl.col("_at_us") < span.until_us)
    for stretch in archive.stretches():
        start = starts.get(stretch.partition, 0)
        if stretch.end <= start:
            continue
        if stretch.start < start:  # a stretch is compact once all have read it, so a position of ours is never in one
            raise UnknownPosition(prediction_stream(model), stretch.partition, start, stretch.end)
        rows = archive.read(stretch, first, last)
        chosen = pl.DataFrame(schema=PREDICTION_SCHEMA) if rows is None else rows.filter(within)
        yield Step(stretch.partition, stretch.start, stretch.end, chosen)


def steps_of(records: Iterator[Record]) -> Iterator[list[Record]]:
    """Cut records into lists of one partition each, not too large for memory."""
    step: list[Record] = []
    size = 0
    for record in records:
        full = len(step) == STEP_RECORDS or size >= STEP_BYTES
        if step and (full or record.partition != step[0].partition):
            yield step
            step, size = [], 0
        step.append(record)
        size += len(record.payload)
    if step:
        yield step
