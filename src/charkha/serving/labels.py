"""The log of labels: what became true of predictions, and what they led to, in the order in which it became known here.

A label may come before its prediction is known to a reader, and a second label for an id is a correction: the last one
counts, and of each business metric too, whichever call it came with. Readers decide that; the log keeps all.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import msgspec
import numpy as np
import polars as pl

from charkha.serving.prediction_ids import ID_BYTES, pack_ids, unpack_ids
from charkha.spec.business import LARGEST_VALUE
from charkha.spec.model import FloatArray
from charkha.storage.log import Log, LogCorrupt, Record

LABEL_SCHEMA = pl.Schema({"id": pl.String(), "label": pl.Float64(), "_label_known_us": pl.Int64()})
# What a business metric is called in tables of labels and of outcomes: no view or field begins with an underscore.
METRIC_PREFIX = "_metric."
_FORMAT, _WITH_METRICS = 1, 2

# Of each prediction a number, None where it is not told.
Told = Sequence[float | None]


class LabelBatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Labels that arrived together: ids of 16 bytes each, labels as float64, and when (µs).

    metrics: of each business metric its name and its values, as float64. In batches with any, what is not told is NaN.
    """

    format: int
    known_us: int
    ids: bytes
    labels: bytes
    metrics: tuple[tuple[str, bytes], ...] = ()


class UnreadableLabels(Exception):
    """A record in the log of labels that holds no labels."""


class UndeclaredMetric(ValueError):
    """A business metric that a model does not declare."""

    def __init__(self, model: str, name: str, declared: Iterable[str]) -> None:
        self.model, self.name = model, name
        known = ", ".join(declared)
        has = f"one of the business metrics {known}" if known else "none, for it declares none"
        way = f"Declare it: ck.Model(…, business={{'{name}': 'higher'}})"
        super().__init__(f"model '{model}', metric '{name}': expected {has}. {way}")


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(LabelBatch)


def label_stream(model: str) -> str:
    """Return the name of the log stream that holds a model's labels."""
    return f"labels/{model}"


def encode_labels(ids: Sequence[str], labels: Told, known_us: int, metrics: Mapping[str, Told] | None = None) -> bytes:
    """Return one record of labels known at `known_us`.

    metrics: business metric → a value for each id. A label may be None where one of them is told. Raises
    InvalidPredictionId, and ValueError on unequal lengths, on numbers that are not finite, on values beyond
    `LARGEST_VALUE`, and where nothing is told of an id.
    """
    told = {name: _numbers(f"metric '{name}'", values, len(ids)) for name, values in (metrics or {}).items()}
    told = {name: values for name, values in told.items() if not np.isnan(values).all()}
    for name, values in told.items():
        if (np.abs(values) > LARGEST_VALUE).any():
            raise ValueError(f"metric '{name}': expected values of at most {LARGEST_VALUE:g}, whichever sign, got more")
    numbers = _numbers("label", labels, len(ids))
    if np.logical_and.reduce(np.isnan([numbers, *told.values()])).any():
        raise ValueError("expected a label, or a business metric, of each id, got one without any")
    written = tuple((name, values.tobytes()) for name, values in told.items())
    version = _WITH_METRICS if written else _FORMAT
    return _encoder.encode(LabelBatch(version, known_us, pack_ids(ids), numbers.tobytes(), written))


def _numbers(what: str, values: Told, count: int) -> FloatArray:
    """Return numbers as float64 (n,), NaN for None."""
    if len(values) != count:
        raise ValueError(f"expected one {what} for each of {count} ids, got {len(values)}")
    absent = np.array([value is None for value in values], dtype=np.bool_)
    found = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if not (np.isfinite(found) | absent).all():
        raise ValueError(f"{what}: expected finite numbers, got NaN or infinity; leave out what is not known")
    return found


def decode_labels(records: Iterable[Record]) -> pl.DataFrame:
    """Return id (String), label (Float64) and _label_known_us (Int64) of records, in their order.

    And `_metric.<name>` (Float64) for each business metric that any of them tells. Label and metrics are null where
    they were not told. Raises UnreadableLabels, naming partition and offset.
    """
    batches = [_decode(record) for record in records]
    counts = [len(batch.ids) // ID_BYTES for batch in batches]
    known_us = np.repeat(np.array([batch.known_us for batch in batches], dtype=np.int64), counts)
    columns = {
        "id": unpack_ids(b"".join(batch.ids for batch in batches)),
        "label": np.frombuffer(b"".join(batch.labels for batch in batches), dtype=np.float64),
        "_label_known_us": known_us,
    }
    frame = pl.DataFrame(columns, schema=LABEL_SCHEMA).with_columns(pl.col("label").fill_nan(None))
    names = dict.fromkeys(name for batch in batches for name, _ in batch.metrics)
    return frame.with_columns(_metric(name, batches, counts) for name in names)


def _metric(name: str, batches: Sequence[LabelBatch], counts: Sequence[int]) -> pl.Series:
    """Return what batches tell of a business metric, a row for each id."""
    parts = [
        np.frombuffer(dict(batch.metrics)[name], dtype=np.float64)
        if any(each == name for each, _ in batch.metrics)
        else np.full(count, np.nan)
        for batch, count in zip(batches, counts, strict=True)
    ]
    return pl.Series(METRIC_PREFIX + name, np.concatenate(parts)).fill_nan(None)


def labels_known_at(payload: bytes) -> int:
    """Return when the labels of a record became known (µs). Raises DecodeError."""
    return _decoder.decode(payload).known_us


def _decode(record: Record) -> LabelBatch:
    try:
        batch = _decoder.decode(record.payload)
    except msgspec.MsgspecError as error:
        raise _unreadable(record, str(error)) from error
    if batch.format not in (_FORMAT, _WITH_METRICS):
        raise _unreadable(record, f"format {batch.format}")
    wanted = len(batch.ids) // ID_BYTES * np.dtype(np.float64).itemsize
    if any(len(values) != wanted for values in (batch.labels, *(values for _, values in batch.metrics))):
        raise _unreadable(record, "one whose columns are not equally long")
    return batch


def _unreadable(record: Record, found: str) -> UnreadableLabels:
    return UnreadableLabels(
        f"partition '{record.partition}', offset {record.start}: expected labels in format {_FORMAT} or "
        f"{_WITH_METRICS}, got {found}. Read the log with the version of Charkha that wrote it, or a newer one"
    )


class LabelLog:
    """Appends the labels of one model to its log; safe to use from several threads."""

    def __init__(self, log: Log, model: str, partition: str) -> None:
        self._writer = log.writer(label_stream(model), partition)

    def append(
        self, ids: Sequence[str], labels: Told, known_us: int, metrics: Mapping[str, Told] | None = None
    ) -> None:
        """Log labels: acknowledged when this returns. Raises as `encode_labels`; then nothing is logged."""
        self._writer.append([encode_labels(ids, labels, known_us, metrics)])

    def settle(self) -> None:
        """Find the end of the log now, which the first append would do otherwise. What fails, fails there too."""
        with suppress(OSError, LogCorrupt):
            self._writer.append([])

    def close(self) -> None:
        """Close the writer."""
        self._writer.close()
