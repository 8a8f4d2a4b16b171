"""Keeping the log of predictions small: past days become Parquet, and days beyond retention go.

Compact first, then dropped from the log; a reading in between finds what is in both forms in the compact one only. So
whoever is killed anywhere loses nothing and leaves nothing twice, and the next one goes on.
"""

from collections.abc import Iterator
from itertools import takewhile

from attrs import frozen

from charkha.bundles.store import BundleStore
from charkha.monitoring.archive import Archive
from charkha.monitoring.collect import collected_until, predictions_table
from charkha.monitoring.logged import archive_of, nobody_reads
from charkha.monitoring.parts import day_of, parse_part
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import predicted_at, prediction_stream
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.spec.retention import keep_days
from charkha.storage.home import Home
from charkha.storage.locks import locked
from charkha.storage.log import Record, Sealed


@frozen
class Compacted:
    """What became compact now. waits: whether some of it is still in the log too, for it is being read."""

    stretches: int
    rows: int
    waits: bool


@frozen
class Pruned:
    """What was removed: the rows of days before `before`. waits: nothing was, for the predictions are being read."""

    rows: int
    before: str
    waits: bool


def compact(home: Home, model: Model, bundles: BundleStore, now_us: int) -> Compacted:
    """Make compact what is sealed, of past days (UTC) only, and has been collected; then drop it from the log.

    What was begun on a past day is sealed first. Waits while another process compacts. Raises UnreadablePredictions,
    UnknownBundle, LogCorrupt, and OSError when the disk is full; what is compact by then stays.
    """
    stream, today_us = prediction_stream(model.name), now_us // DAY_US * DAY_US
    archive = archive_of(home, model.name)
    with locked(home.folder / ".compacting"):
        _seal_past(home, stream, today_us)
        written = [
            archive.write(sealed, decode_predictions(_records(home, stream, sealed), bundles))
            for sealed in _to_compact(home, model.name, archive, today_us)
        ]
        dropped = _drop(home, stream, archive)
    return Compacted(len(written), sum(sum(stretch.rows.values()) for stretch in written), not dropped)


def prune(home: Home, model: Model, now_us: int) -> Pruned:
    """Remove the compact predictions of days beyond retention, and what was collected of them.

    Profiles, which are counts, and labels stay. Waits while another process compacts.
    """
    before, table = first_kept_day(model, now_us), predictions_table(model.name)
    with locked(home.folder / ".compacting"), nobody_reads(home) as free:
        if not free:
            return Pruned(0, before, waits=True)
        for name in home.tables.parts(table):
            if parse_part(name).day < before:
                home.tables.delete(table, name)
        return Pruned(archive_of(home, model.name).prune(before), before, waits=False)


def first_kept_day(model: Model, now_us: int) -> str:
    """Return the first day (UTC) whose predictions are kept."""
    return day_of(max(0, now_us - keep_days(model) * DAY_US))


def _seal_past(home: Home, stream: str, today_us: int) -> None:
    """Seal what was begun before today: a log that is written slowly would never be full."""
    begun = {sealed.partition: sealed.end for sealed in home.log.sealed(stream)}
    for partition, end in home.log.end(stream).items():
        first = next(_from(home, stream, partition, begun.get(partition)), None)
        if first is not None and first.start < end and predicted_at(first.payload) < today_us:
            home.log.seal(stream, partition)


def _to_compact(home: Home, model: str, archive: Archive, today_us: int) -> Iterator[Sealed]:
    """Yield what is to become compact: of a partition all up to the first that is not due."""
    stream, collected = prediction_stream(model), collected_until(home, model)
    compact_until = _compact_until(archive)
    not_due: set[str] = set()
    for sealed in home.log.sealed(stream):
        if sealed.partition in not_due or sealed.end <= compact_until.get(sealed.partition, 0):
            continue
        times = (predicted_at(record.payload) for record in _records(home, stream, sealed))
        if sealed.end <= collected.get(sealed.partition, 0) and all(time_us < today_us for time_us in times):
            yield sealed
        else:
            not_due.add(sealed.partition)


def _drop(home: Home, stream: str, archive: Archive) -> bool:
    """Drop what is compact from the log; return whether that could be done."""
    compact_until = _compact_until(archive)
    both = [one for one in home.log.sealed(stream) if one.end <= compact_until.get(one.partition, 0)]
    if not both:
        return True
    with nobody_reads(home) as free:
        if free:
            for sealed in both:
                home.log.drop(stream, sealed)
    return free


def _compact_until(archive: Archive) -> dict[str, int]:
    return {stretch.partition: stretch.end for stretch in archive.stretches()}


def _records(home: Home, stream: str, sealed: Sealed) -> Iterator[Record]:
    return takewhile(lambda record: record.end <= sealed.end, _from(home, stream, sealed.partition, sealed.start))


def _from(home: Home, stream: str, partition: str, start: int | None) -> Iterator[Record]:
    """Yield the records of one partition, from an offset or the first that it has."""
    after = dict(home.log.end(stream))
    del after[partition]
    records = home.log.read(stream, after if start is None else {**after, partition: start})
    return (record for record in records if record.partition == partition)
