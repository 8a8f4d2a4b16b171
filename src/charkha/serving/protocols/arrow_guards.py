"""What of an Arrow stream could grow when it is read: compressed buffers, and texts that many rows share."""

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Places of what is looked for, in the tables of Arrow's Message.fbs: header type and header of a message, the record
# batch of a dictionary batch, and the compression of a record batch.
_HEADER_TYPE, _HEADER, _BATCH_OF_DICTIONARY, _COMPRESSION = 1, 2, 1, 3
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_VIEW_BYTES = 16


def is_compressed(metadata: bytes) -> bool:
    """Say whether the body of a message is compressed. metadata: a FlatBuffer. Raises struct.error for none."""
    message = struct.unpack_from("<I", metadata, 0)[0]
    kind_at, header_at = _field(metadata, message, _HEADER_TYPE), _field(metadata, message, _HEADER)
    if kind_at is None or header_at is None:
        return False
    kind, batch = struct.unpack_from("<B", metadata, kind_at)[0], _table(metadata, header_at)
    if kind == _DICTIONARY_BATCH:
        batch_at = _field(metadata, batch, _BATCH_OF_DICTIONARY)
        return batch_at is not None and _field(metadata, _table(metadata, batch_at), _COMPRESSION) is not None
    return kind == _RECORD_BATCH and _field(metadata, batch, _COMPRESSION) is not None


def _table(buffer: bytes, place: int) -> int:
    """Return where the table is that a reference leads to."""
    return place + int(struct.unpack_from("<I", buffer, place)[0])


def _field(buffer: bytes, table: int, number: int) -> int | None:
    """Return where a field of a table is; None where it is not there."""
    layout = table - struct.unpack_from("<i", buffer, table)[0]
    if layout < 0 or 4 + 2 * number >= struct.unpack_from("<H", buffer, layout)[0]:
        return None
    offset = struct.unpack_from("<H", buffer, layout + 4 + 2 * number)[0]
    return table + offset if offset else None


def text_bytes(array: Any) -> int:
    """Return how many bytes the texts of an array have when each row has its own; 0 for other arrays."""
    if pa.types.is_dictionary(array.type):
        known = _lengths(array.dictionary)
        return int(known[array.indices.drop_null().to_numpy(zero_copy_only=False)].sum()) if len(known) else 0
    return int(_lengths(array).sum())


def _lengths(array: Any) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the bytes of each text: int64 (n,), or (0,) for an array that holds no text."""
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return np.asarray(pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False), np.int64)
    if not pa.types.is_string_view(array.type) or not len(array):
        return np.zeros(0, np.int64)
    # A view begins with its length. Views may share what they show, so the buffers say nothing of it.
    views = np.frombuffer(array.buffers()[1], "<i4", count=(array.offset + len(array)) * _VIEW_BYTES // 4)
    lengths = views.reshape(-1, 4)[array.offset :, 0].astype(np.int64)
    return np.where(np.asarray(array.is_valid()), lengths, 0)
