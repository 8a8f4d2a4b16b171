"""CSV files as text: what a reader of columns would pass over in silence, or say without its line.

A file whose copy was cut short ends within a row. Most files have no quotes, and of these counting separators and lines
tells, at the speed of the disk, that no row is short; only where one is, or there are quotes, are rows taken apart.
"""

import csv
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

# So much of a file is looked at in one go.
_CHUNK_BYTES = 1 << 24
_EMPTY_LINES = (b"\n\n", b"\n\r\n")
_OTHERS = {";": ";", "\t": "\\t", "|": "|"}


def csv_flaw(path: Path, separator: str) -> str | None:
    """Return what is wrong with a file's header or the length of its rows, in words; None when nothing is.

    Raises OSError. A file is looked through once, unless it changes.
    """
    about = path.stat()
    return _flaw(path, separator, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _flaw(path: Path, separator: str, size: int, changed_ns: int) -> str | None:
    names = header_of(path, separator)
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        return f"expected each column once, got {twice[0]!r} twice in its header. Rename one of them in the file"
    if len(names) < 2 or _all_as_long(path, separator, len(names)):
        return None
    for line, row in _rows(path, separator):
        if 0 < len(row) < len(names):
            last = f"{names[len(row)]!r} is not there"
            return (
                f"expected {len(names)} fields in every row, got {len(row)} in line {line:,}: {last}. Was its copy cut "
                "short? Bring the file whole, or mend the line"
            )
    return None


def header_of(path: Path, separator: str) -> list[str]:
    """Return the names of the columns; none of a file that is empty. Raises OSError."""
    return next((row for _, row in _rows(path, separator) if row), [])


def other_separator(names: list[str]) -> str | None:
    """Return what seems to separate the columns of a header that was read as one column, as it is written in Python."""
    return next((said for one, said in _OTHERS.items() if len(names) == 1 and one in names[0]), None)


def line_not_utf8(path: Path) -> int | None:
    """Return the first line, from 1, that is no UTF-8; None when all are. Raises OSError."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows, the header among them, each with the line that it ends in; as far as they can be told."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error:  # of a field that is too long; whoever reads the columns takes it or says what is wrong
            return


def _all_as_long(path: Path, separator: str, fields: int) -> bool:
    """Say whether counting alone tells that no row is short: a row that is too long is told when it is read."""
    separators = lines = 0
    ending = b"\n"
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            if b'"' in chunk or any(empty in text for empty in _EMPTY_LINES for text in (chunk, ending + chunk[:2])):
                return False
            separators += int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == ord(separator)))
            lines += chunk.count(b"\n")
            ending = (ending + chunk[-2:])[-2:]
    lines += not ending.endswith(b"\n")
    return separators >= lines * (fields - 1)
