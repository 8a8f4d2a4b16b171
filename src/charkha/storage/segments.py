"""The files of one partition: segments named by the offset of their first byte; all but the last are read-only."""

import os
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from charkha.storage.locks import locked
from charkha.storage.log import LogCorrupt
from charkha.storage.segment_format import find_end, has_record_after, read_records

_SUFFIX = ".segment"


@frozen
class Segment:
    """One file and the offset of its first byte."""

    path: Path
    base: int


def segment_at(folder: Path, base: int) -> Segment:
    """Return the segment of a partition's folder that begins at offset `base`."""
    return Segment(folder / f"{base:020d}{_SUFFIX}", base)


def list_segments(folder: Path) -> list[Segment]:
    """Return a partition's segments in offset order; none when the folder is not there."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    bases = sorted(int(name.removesuffix(_SUFFIX)) for name in names if name.endswith(_SUFFIX))
    return [segment_at(folder, base) for base in bases]


def whole_end(segment: Segment, start: int) -> int:
    """Return the end of the last whole append in a partition's newest segment; one is known to end at `start`.

    A torn append at the very end is what a crash leaves, or another process is just writing it. Raises LogCorrupt
    when whole records follow one that is not.
    """
    end, damage = _look_for_end(segment, start)
    if damage is None:
        return end
    # What looks damaged may be a torn append that a writer is just cutting: with the lock held it stands still.
    with locked(segment.path.parent, shared=True):
        return settled_end(segment, end)


def settled_end(segment: Segment, start: int) -> int:
    """Return what `whole_end` does, for a caller that holds the partition's lock."""
    end, damage = _look_for_end(segment, start)
    if damage is not None:
        raise _corrupt(segment, damage)
    return end


def _look_for_end(segment: Segment, start: int) -> tuple[int, int | None]:
    """Return the end of the last whole append, and the offset of a bad record that has whole ones after it."""
    descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        stop = segment.base + os.fstat(descriptor).st_size
        end, bad = find_end(descriptor, segment.base, start, stop)
        damaged = bad < stop and has_record_after(descriptor, segment.base, bad, stop)
    finally:
        os.close(descriptor)
    return end, bad if damaged else None


class NotARecord(Exception):
    """An offset inside a segment at which no record was ever written."""


def payloads(segment: Segment, start: int, stop: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield (start, end, payload) of the records in [start, stop), which all were whole when they were written.

    Raises LogCorrupt at one that no longer is, NotARecord when none begins at `start`.
    """
    descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        at = start
        for begin, at, payload, _ in read_records(descriptor, segment.base, start, stop):
            yield begin, at, payload
        if at < stop:
            raise _damage(descriptor, segment, at, stop)
    finally:
        os.close(descriptor)


def whole_appends(segment: Segment, start: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield (start, end, payload) of the records from an offset, ending before the first append that is not whole."""
    descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        stop = segment.base + os.fstat(descriptor).st_size
        append: list[tuple[int, int, bytes]] = []
        for begin, end, payload, completes in read_records(descriptor, segment.base, start, stop):
            append.append((begin, end, payload))
            if completes:
                yield from append
                append.clear()
    finally:
        os.close(descriptor)


def _damage(descriptor: int, segment: Segment, at: int, stop: int) -> Exception:
    """Return what is wrong where no record was found: the offset, when the records from the beginning pass it by."""
    _, bad = find_end(descriptor, segment.base, segment.base, stop)
    return _corrupt(segment, bad) if bad <= at else NotARecord()


def _corrupt(segment: Segment, offset: int) -> LogCorrupt:
    return LogCorrupt(segment.path, offset, offset - segment.base)
