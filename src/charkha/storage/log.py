"""The log: append-only streams of records, the truth from which everything else can be rebuilt.

A stream such as "events" or "predictions/late_arrival" has partitions, usually one per writing process. Inside a
partition records are in order and each has an offset; between partitions there is no order.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

# Partition → offset of the next record to read.
Position = Mapping[str, int]


class Record(NamedTuple):
    """One record as read; `end` is the offset at which the next one of its partition starts."""

    partition: str
    start: int
    end: int
    payload: bytes


class Sealed(NamedTuple):
    """A stretch of a partition to which nothing is added any more: the records in [start, end)."""

    partition: str
    start: int
    end: int


class LogWriter(Protocol):
    """Appends to one partition; may be shared by threads."""

    def append(self, payloads: Sequence[bytes]) -> int:
        """Append records, all of them or none, and return the partition's end offset.

        Once it returns, the operating system has the records (the disk, with fsync). When it raises, or the process
        dies in it, they may or may not be in the log, but never some of them.
        """
        ...

    def probe(self) -> None:
        """Raise OSError while the log cannot take an append, nor some more after it; appends nothing."""
        ...

    def close(self) -> None:
        """Release the files; the writer cannot be used again."""
        ...


class Log(Protocol):
    """Streams of records; any number of processes may write and read at once."""

    def writer(self, stream: str, partition: str) -> LogWriter:
        """Return a writer of one partition, which is made if it is not there. Raises BadName."""
        ...

    def read(self, stream: str, after: Position | None = None) -> Iterator[Record]:
        """Yield the records from `after` (all of them unless given) up to the end as of this call.

        Partitions come in the order of their names, those absent from `after` from the first record that they still
        have. A stream nobody has written yet is empty. Raises UnknownPosition, also for a record that was dropped, and
        LogCorrupt.
        """
        ...

    def read_partition(self, stream: str, partition: str, start: int) -> Iterator[Record]:
        """Yield the records of one partition from an offset, as they are asked for; the others are not looked at.

        Ends before the first that is not whole, or not there. Raises UnknownPosition for a record that was dropped.
        """
        ...

    def end(self, stream: str) -> Position:
        """Return the offset after the last record of every partition: what to pass as `after` to read what follows."""
        ...

    def seal(self, stream: str, partition: str) -> None:
        """Let nothing more be added to what a partition holds now: what follows begins a stretch of its own."""
        ...

    def sealed(self, stream: str) -> list[Sealed]:
        """Return what is sealed, by partition and in order."""
        ...

    def drop(self, stream: str, stretch: Sealed) -> None:
        """Remove what is sealed of a partition up to the end of a stretch; offsets stay what they are.

        Nobody may be reading it.
        """
        ...

    def streams(self) -> list[str]:
        """Return the names of all streams that have a partition, sorted."""
        ...


class LogCorrupt(Exception):
    """A record that cannot be read although whole ones follow it: bytes of the log were changed or lost."""

    def __init__(self, file: Path, offset: int, position: int) -> None:
        self.file, self.offset, self.position = file, offset, position
        super().__init__(file, offset, position)

    def __str__(self) -> str:
        return (
            f"log segment {self.file}: expected a whole record at byte {self.position} (offset {self.offset}), found "
            f"one whose checksum does not hold, with others after it. Restore the file from a copy; or, to give up "
            f"that record and all that follow it in this file: truncate -s {self.position} {self.file}"
        )


class UnknownPosition(LookupError):
    """A position that the log does not have: it was lost or replaced after a reader had come that far."""

    def __init__(self, stream: str, partition: str, offset: int, end: int) -> None:
        self.stream, self.partition, self.offset, self.end = stream, partition, offset, end
        super().__init__(stream, partition, offset, end)

    def __str__(self) -> str:
        return (
            f"stream {self.stream!r}, partition {self.partition!r}: expected the start of a record, or the log's end "
            f"{self.end}, got offset {self.offset}: what was derived from the log does not belong to it. Restore the "
            f"log, or build the derived state anew."
        )
