"""The bytes of a log segment.

A record is a header (kind, length of the payload, checksum) and the payload. The kind says whether the record is the
last of its append; only then does the append count, all of it. The checksum starts from the kind and the record's
offset, so that a record is whole only where it was written: a copy of it inside another payload is not one.
"""

import os
from collections.abc import Iterator, Sequence
from struct import Struct
from zlib import crc32

_HEADER = Struct("<4sII")
HEADER_BYTES = _HEADER.size
MAX_PAYLOAD_BYTES = (1 << 32) - 1
# No text in UTF-8 holds 0xff, so few payloads look like a record to `has_record_after`.
_KIND_PREFIX = b"\xc4\xa8\xff"
_MORE = _KIND_PREFIX + b"M"
_LAST = _KIND_PREFIX + b"L"
_CHECKSUM_BITS = 0xFFFFFFFF
# Kind → what its records' offsets are mixed with before they start the checksum.
_KINDS = {_LAST: 0, _MORE: _CHECKSUM_BITS}
_CHUNK_BYTES = 1 << 20

# Start and end offset of a record, its payload, and whether it is the last of its append.
StoredRecord = tuple[int, int, bytes, bool]


def frame(payloads: Sequence[bytes], offset: int) -> bytes:
    """Return the bytes of one append of at least one payload. Raises ValueError for a payload of 4 GiB or more."""
    pieces = []
    kind, remaining = _MORE, len(payloads)
    for payload in payloads:
        length = len(payload)
        if length > MAX_PAYLOAD_BYTES:
            raise ValueError(
                f"expected a payload of at most {MAX_PAYLOAD_BYTES} bytes, got {length}. Append it in pieces."
            )
        remaining -= 1
        if not remaining:
            kind = _LAST
        pieces.append(_HEADER.pack(kind, length, _checksum(kind, offset, payload)))
        pieces.append(payload)
        offset += HEADER_BYTES + length
    return b"".join(pieces)


def _checksum(kind: bytes, offset: int, payload: bytes) -> int:
    return crc32(payload, (offset ^ _KINDS[kind]) & _CHECKSUM_BITS)


def _whole_records(buffer: bytes | memoryview, offset: int) -> Iterator[StoredRecord]:
    """Yield the whole records at the beginning of `buffer`, whose first byte has `offset`."""
    at, size = 0, len(buffer)
    while at + HEADER_BYTES <= size:
        kind, length, checksum = _HEADER.unpack_from(buffer, at)
        end = at + HEADER_BYTES + length
        if kind not in _KINDS or end > size:
            return
        payload = bytes(buffer[at + HEADER_BYTES : end])
        if _checksum(kind, offset + at, payload) != checksum:
            return
        yield offset + at, offset + end, payload, kind == _LAST
        at = end


def _record_bytes(buffer: bytes) -> int:
    """Return how many bytes the record at the beginning of `buffer` says it has; 0 when that is not a record."""
    if len(buffer) < HEADER_BYTES:
        return 0
    kind, length, _ = _HEADER.unpack_from(buffer)
    return HEADER_BYTES + length if kind in _KINDS else 0


def read_records(descriptor: int, base: int, start: int, stop: int) -> Iterator[StoredRecord]:
    """Yield records of a segment from offset `start` up to `stop`, ending before the first that is not whole there.

    base: the offset of the file's first byte.
    """
    at, want = start, _CHUNK_BYTES
    while at < stop:
        before = at
        for record in _whole_records(os.pread(descriptor, min(want, stop - at), at - base), at):
            yield record
            at = record[1]
        if at > before:
            want = _CHUNK_BYTES
            continue
        needed = _record_bytes(os.pread(descriptor, HEADER_BYTES, at - base))
        if needed <= want or needed > stop - at:
            return
        want = needed


def find_end(descriptor: int, base: int, start: int, stop: int) -> tuple[int, int]:
    """Return the offset after the last whole append from `start`, and that after the last whole record."""
    end = last = start
    for _, last, _, completes in read_records(descriptor, base, start, stop):
        if completes:
            end = last
    return end, last


def has_record_after(descriptor: int, base: int, bad: int, stop: int) -> bool:
    """Say whether a whole record stands anywhere after offset `bad`, at which there is none."""
    rest = os.pread(descriptor, stop - bad, bad - base)
    view = memoryview(rest)
    at = rest.find(_KIND_PREFIX, 1)
    while at >= 0:
        if next(_whole_records(view[at:], bad + at), None):
            return True
        at = rest.find(_KIND_PREFIX, at + 1)
    return False
