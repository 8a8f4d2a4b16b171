"""The records of a stretch of a partition, and sealing what was begun long enough ago."""

from collections.abc import Callable, Iterator
from itertools import takewhile

from charkha.storage.log import Log, Record, Sealed


def records_of(log: Log, stream: str, sealed: Sealed) -> Iterator[Record]:
    """Yield the records of a sealed stretch."""
    return takewhile(lambda record: record.end <= sealed.end, records_from(log, stream, sealed.partition, sealed.start))


def records_from(log: Log, stream: str, partition: str, start: int | None) -> Iterator[Record]:
    """Yield the records of one partition, from an offset or the first that it has."""
    after = dict(log.end(stream))
    del after[partition]
    records = log.read(stream, after if start is None else {**after, partition: start})
    return (record for record in records if record.partition == partition)


def seal_begun_before(log: Log, stream: str, time_us: int, when: Callable[[bytes], int]) -> None:
    """Seal what was begun before a time: a log that is written slowly would never be full. when: of a payload (µs)."""
    begun = {sealed.partition: sealed.end for sealed in log.sealed(stream)}
    for partition, end in log.end(stream).items():
        first = next(records_from(log, stream, partition, begun.get(partition)), None)
        if first is not None and first.start < end and when(first.payload) < time_us:
            log.seal(stream, partition)
