"""Keeping the log of predictions small: past days become Parquet.

Compact first, then dropped from the log; a reading in between finds what is in both forms in the compact one only. So
whoever is killed anywhere loses nothing and leaves nothing twice, and the next one goes on.
"""

from collections.abc import Iterator

from attrs import frozen

from charkha.bundles.store import BundleStore
from charkha.monitoring.archive import Archive
from charkha.monitoring.collect import collected_until
from charkha.monitoring.logged import archive_of, nobody_reads
from charkha.monitoring.stretches import records_of, seal_begun_before
from charkha.serving.prediction_frames import decode_predictions
from charkha.serving.prediction_log import predicted_at, prediction_stream
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.locks import locked
from charkha.storage.log import Sealed


@frozen
class Compacted:
    """What became compact now. waits: whether some of it is still in the log too, for it is being read."""

    stretches: int
    rows: int
    waits: bool


def compact(home: Home, model: Model, bundles: BundleStore, now_us: int) -> Compacted:
    """Make compact what is sealed, of past days (UTC) only, and has been collected; then drop it from the log.

    What was begun on a past day is sealed first. Waits while another process compacts. Raises UnreadablePredictions,
    UnknownBundle, LogCorrupt, and OSError when the disk is full; what is compact by then stays.
    """
    stream, today_us = prediction_stream(model.name), now_us // DAY_US * DAY_US
    archive = archive_of(home, model.name)
    with locked(home.folder / ".compacting"):
        seal_begun_before(home.log, stream, today_us, predicted_at)
        written = [
            archive.write(sealed, decode_predictions(records_of(home.log, stream, sealed), bundles))
            for sealed in _to_compact(home, model.name, archive, today_us)
        ]
        dropped = _drop(home, stream, archive)
    return Compacted(len(written), sum(sum(stretch.rows.values()) for stretch in written), not dropped)


def _to_compact(home: Home, model: str, archive: Archive, today_us: int) -> Iterator[Sealed]:
    """Yield what is to become compact: of a partition all up to the first that is not due."""
    stream = prediction_stream(model)
    collected, compact_until = collected_until(home, stream), _compact_until(archive)
    not_due: set[str] = set()
    for sealed in home.log.sealed(stream):
        if sealed.partition in not_due or sealed.end <= compact_until.get(sealed.partition, 0):
            continue
        times = (predicted_at(record.payload) for record in records_of(home.log, stream, sealed))
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
