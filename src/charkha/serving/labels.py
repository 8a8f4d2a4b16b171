"""The log of labels: what became true of predictions, in the order in which it became known here.

A label may come before its prediction is known to a reader, and a second label for an id is a correction: the last one
counts. Readers decide that; the log keeps all.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec
import numpy as np
import polars as pl

from charkha.serving.prediction_ids import ID_BYTES, pack_ids, unpack_ids
from charkha.storage.log import Log, LogCorrupt, Record

LABEL_SCHEMA = pl.Schema({"id": pl.String(), "label": pl.Float64(), "_label_known_us": pl.Int64()})
_FORMAT = 1


class LabelBatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Labels that arrived together: ids of 16 bytes each, labels as float64, and when (µs)."""

    format: int
    known_us: int
    ids: bytes
    labels: bytes


class UnreadableLabels(Exception):
    """A record in the log of labels that holds no labels."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(LabelBatch)


def label_stream(model: str) -> str:
    """Return the name of the log stream that holds a model's labels."""
    return f"labels/{model}"


def encode_labels(ids: Sequence[str], labels: Sequence[float], known_us: int) -> bytes:
    """Return one record of labels known at `known_us`.

    Raises InvalidPredictionId, and ValueError on unequal lengths and labels that are not finite.
    """
    if len(ids) != len(labels):
        raise ValueError(f"expected one label for each of {len(ids)} ids, got {len(labels)} labels")
    values = np.asarray(labels, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("expected labels that are finite numbers, got NaN or infinity; leave out what is not known")
    return _encoder.encode(LabelBatch(_FORMAT, known_us, pack_ids(ids), values.tobytes()))


def decode_labels(records: Iterable[Record]) -> pl.DataFrame:
    """Return id (String), label (Float64) and _label_known_us (Int64) of records, in their order.

    Raises UnreadableLabels, naming partition and offset.
    """
    batches = [_decode(record) for record in records]
    counts = [len(batch.ids) // ID_BYTES for batch in batches]
    known_us = np.repeat(np.array([batch.known_us for batch in batches], dtype=np.int64), counts)
    columns = {
        "id": unpack_ids(b"".join(batch.ids for batch in batches)),
        "label": np.frombuffer(b"".join(batch.labels for batch in batches), dtype=np.float64),
        "_label_known_us": known_us,
    }
    return pl.DataFrame(columns, schema=LABEL_SCHEMA)


def labels_known_at(payload: bytes) -> int:
    """Return when the labels of a record became known (µs). Raises DecodeError."""
    return _decoder.decode(payload).known_us


def _decode(record: Record) -> LabelBatch:
    try:
        batch = _decoder.decode(record.payload)
    except msgspec.MsgspecError as error:
        raise _unreadable(record, str(error)) from error
    if batch.format != _FORMAT:
        raise _unreadable(record, f"format {batch.format}")
    return batch


def _unreadable(record: Record, found: str) -> UnreadableLabels:
    return UnreadableLabels(
        f"partition '{record.partition}', offset {record.start}: expected labels in format {_FORMAT}, got {found}. "
        "Read the log with the version of Charkha that wrote it, or a newer one"
    )


class LabelLog:
    """Appends the labels of one model to its log; safe to use from several threads."""

    def __init__(self, log: Log, model: str, partition: str) -> None:
        self._writer = log.writer(label_stream(model), partition)

    def append(self, ids: Sequence[str], labels: Sequence[float], known_us: int) -> None:
        """Log labels: acknowledged when this returns. Raises as `encode_labels`; then nothing is logged."""
        self._writer.append([encode_labels(ids, labels, known_us)])

    def settle(self) -> None:
        """Find the end of the log now, which the first append would do otherwise. What fails, fails there too."""
        with suppress(OSError, LogCorrupt):
            self._writer.append([])

    def close(self) -> None:
        """Close the writer."""
        self._writer.close()
