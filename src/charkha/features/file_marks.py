"""Which files of a source were set aside, and which were released: marks in the log, which every reader has at hand.

A file that is set aside is not read until it is released. One that is released is read although it breaks the contract,
as long as it stays what it was: the mark holds its digest. A table of a lake, and what a query gives, is one such file.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from charkha.storage.log import Log

Mark = Literal["aside", "released"]
_PARTITION = "all"
_PREFIX = "quarantine/"


class FileMark(msgspec.Struct, frozen=True):
    """What was decided of a file.

    file: the name of its batch: a path as `file_name` gives it, or "query". digest: the batch's, then. number: of the
    marks of this file, from 1.
    """

    file: str
    mark: Mark
    digest: str
    number: int
    time_us: int
    actor: str
    reason: str


_DECODER = msgspec.json.Decoder(FileMark)


def file_name(path: Path, root: Path) -> str:
    """Return what a file is called in marks and messages: its path in the project's folder, or the whole path."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def file_digest(path: Path) -> str:
    """Return a digest of a file's bytes. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()[:32]


def marks_stream(source: str) -> str:
    """Return the name of the log stream that holds the marks of a source's files."""
    return f"{_PREFIX}{source}"


def is_marks_stream(stream: str) -> bool:
    """Say whether a stream of the log holds marks."""
    return stream.startswith(_PREFIX)


def file_marks(log: Log | None, source: str) -> dict[str, FileMark]:
    """Return the last mark of each file that has one; a missing log has none."""
    if log is None:
        return {}
    marks = (_DECODER.decode(record.payload) for record in log.read(marks_stream(source)))
    return {mark.file: mark for mark in marks}


def write_marks(log: Log, source: str, marks: Iterable[FileMark]) -> None:
    """Append marks, all of them or none."""
    payloads = [msgspec.json.encode(mark) for mark in marks]
    if payloads:
        writer = log.writer(marks_stream(source), _PARTITION)
        try:
            writer.append(payloads)
        finally:
            writer.close()
