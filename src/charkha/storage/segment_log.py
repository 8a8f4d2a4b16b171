"""The log in files of one folder: a folder per stream and partition, in it segments of records."""

import os
import stat
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

from charkha.storage.flush import flush
from charkha.storage.locks import locked
from charkha.storage.log import Position, Record, Sealed, UnknownPosition
from charkha.storage.names import checked_name, checked_path
from charkha.storage.segment_writer import WRITABLE, SegmentWriter
from charkha.storage.segments import (
    NotARecord,
    Segment,
    list_segments,
    payloads,
    segment_at,
    settled_end,
    whole_appends,
    whole_end,
)

# "=" cannot be in a name, so a partition's folder is never taken for a piece of a stream's name.
_PARTITION = "partition="
Fsync = Literal["never", "always"]


class SegmentLog:
    """A log on a local file system.

    fsync: "never" leaves it to the operating system when the disk has an append: a killed process loses nothing, a
        power failure may lose the last seconds. "always" waits for the disk at every append: milliseconds each.
    segment_bytes: the size from which a segment is sealed and the next begun.
    """

    def __init__(self, folder: Path, *, fsync: Fsync = "never", segment_bytes: int = 64 << 20) -> None:
        if fsync not in ("never", "always"):
            raise ValueError(f'fsync: expected "never" or "always", got {fsync!r}')
        self._folder, self._fsync, self._segment_bytes = folder, fsync, segment_bytes
        # (stream, partition) → an offset after a whole append of the newest segment, where looking for the end goes on.
        self._known_ends: dict[tuple[str, str], int] = {}

    def writer(self, stream: str, partition: str) -> SegmentWriter:
        """Return a writer of one partition; see `Log.writer`."""
        folder = self._partition_folder(stream, partition)
        return SegmentWriter(folder, sync=self._fsync == "always", segment_bytes=self._segment_bytes)

    def read(self, stream: str, after: Position | None = None) -> Iterator[Record]:
        """Yield the records from `after` up to the end as of this call; see `Log.read`."""
        starts = after or {}
        ends = {**dict.fromkeys(starts, 0), **self.end(stream)}
        spans: list[tuple[str, int, int]] = []
        for partition, end in sorted(ends.items()):
            first = self._first(stream, partition)
            start = starts.get(partition, first)
            if not first <= start <= end:
                raise UnknownPosition(stream, partition, start, end)
            spans.append((partition, start, end))
        return self._read_spans(stream, spans)

    def read_partition(self, stream: str, partition: str, start: int) -> Iterator[Record]:
        """Yield the records of one partition from an offset; see `Log.read_partition`."""
        segments = list_segments(self._partition_folder(stream, partition))
        if segments and start < segments[0].base:
            raise UnknownPosition(stream, partition, start, segments[-1].base)
        for segment, begin, _ in _pieces(segments, start, sys.maxsize):
            for at, end, payload in whole_appends(segment, begin):
                yield Record(partition, at, end, payload)

    def end(self, stream: str) -> dict[str, int]:
        """Return the end offset of every partition; see `Log.end`."""
        return {partition: self._end(stream, partition) for partition in self._partitions(stream)}

    def seal(self, stream: str, partition: str) -> None:
        """End the newest segment and begin the next; see `Log.seal`."""
        folder = self._partition_folder(stream, partition)
        looked_at = list_segments(folder)[-1]
        known = whole_end(looked_at, looked_at.base)  # outside the lock, for which every append waits
        with locked(folder):
            newest = list_segments(folder)[-1]
            end = settled_end(newest, known if newest == looked_at else newest.base)
            if end == newest.base:
                return
            mode = stat.S_IMODE(newest.path.stat().st_mode)
            os.truncate(newest.path, end - newest.base)  # what a crash has left behind the end
            # In this order: a sealed segment without a next one is what a writer leaves that dies between the two.
            newest.path.chmod(mode & ~WRITABLE)
            segment_at(folder, end).path.touch()
            flush(folder)

    def sealed(self, stream: str) -> list[Sealed]:
        """Return all segments but the newest; see `Log.sealed`."""
        found: list[Sealed] = []
        for partition in self._partitions(stream):
            bases = [segment.base for segment in list_segments(self._partition_folder(stream, partition))]
            found += [Sealed(partition, base, end) for base, end in pairwise(bases)]
        return found

    def drop(self, stream: str, stretch: Sealed) -> None:
        """Remove sealed segments, never the newest, whose name says where the partition goes on; see `Log.drop`."""
        folder = self._partition_folder(stream, stretch.partition)
        for segment, following in pairwise(list_segments(folder)):
            if following.base <= stretch.end:
                segment.path.unlink()

    def streams(self) -> list[str]:
        """Return the names of all streams; see `Log.streams`."""
        found = self._folder.rglob(f"{_PARTITION}*")
        return sorted({folder.parent.relative_to(self._folder).as_posix() for folder in found})

    def _read_spans(self, stream: str, spans: list[tuple[str, int, int]]) -> Iterator[Record]:
        for partition, start, stop in spans:
            segments = list_segments(self._partition_folder(stream, partition))
            try:
                for segment, segment_start, segment_stop in _pieces(segments, start, stop):
                    for begin, end, payload in payloads(segment, segment_start, segment_stop):
                        yield Record(partition, begin, end, payload)
            except NotARecord:
                raise UnknownPosition(stream, partition, start, stop) from None

    def _first(self, stream: str, partition: str) -> int:
        return next((segment.base for segment in list_segments(self._partition_folder(stream, partition))), 0)

    def _end(self, stream: str, partition: str) -> int:
        segments = list_segments(self._partition_folder(stream, partition))
        if not segments:
            return 0
        newest = segments[-1]
        known = self._known_ends.get((stream, partition), 0)
        size = newest.path.stat().st_size
        start = known if newest.base <= known <= newest.base + size else newest.base
        end = whole_end(newest, start)
        self._known_ends[stream, partition] = end
        return end

    def _partitions(self, stream: str) -> list[str]:
        try:
            names = os.listdir(self._folder / checked_path("stream", stream))
        except FileNotFoundError:
            return []
        return sorted(name.removeprefix(_PARTITION) for name in names if name.startswith(_PARTITION))

    def _partition_folder(self, stream: str, partition: str) -> Path:
        named = f"{_PARTITION}{checked_name('partition', partition)}"
        return self._folder / checked_path("stream", stream) / named


def _pieces(segments: list[Segment], start: int, stop: int) -> Iterator[tuple[Segment, int, int]]:
    """Yield the segments that hold a part of [start, stop), each with its part."""
    # One end too many for a partition that nobody has written yet: hence not strict.
    ends = [*(segment.base for segment in segments[1:]), stop]
    for segment, end in zip(segments, ends, strict=False):
        piece_start, piece_stop = max(start, segment.base), min(end, stop)
        if piece_start < piece_stop:
            yield segment, piece_start, piece_stop
