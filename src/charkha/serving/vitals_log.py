"""The log of vitals: how each worker did, minute by minute and model by model; a record is one MessagePack array."""

import msgspec

FORMAT = 2
# The first had nothing of what a worker uses.
READABLE = (1, 2)
MINUTE_US = 60_000_000


class VitalsRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One minute of one model in one worker.

    minute_us: when it began. statuses: of the calls for predictions that were let in, by the status that HTTP has for
    the reply. batches, rows: of predictions. fallbacks: rows by cause. stages: of the whole and of each of `STAGES`,
    batches by bin of how long it took (`latency_bins`). clock_ahead_us: how far the clock was set ahead since the
    worker began, by the machine's steady one; None where there is none. clock_behind_us: how far ahead of this clock
    the newest record of another worker was written, by its own; 0 where none was. cpu_us: processor time of the worker
    while it was at work on batches, by this model's share of that; other_cpu_us: this model's equal part of what the
    worker used while it was at work on none. memory_bytes: the model's equal part of the worker's memory.
    None: not measured.
    """

    format: int
    minute_us: int
    replica: str
    statuses: dict[int, int]
    batches: int
    rows: int
    fallbacks: dict[str, int]
    stages: tuple[dict[int, int], ...]
    clock_ahead_us: int | None
    clock_behind_us: int
    cpu_us: int | None = None
    other_cpu_us: int | None = None
    memory_bytes: int | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(VitalsRecord)


class UnreadableVitals(Exception):
    """A record in the log of vitals that holds none."""


def vitals_stream(model: str) -> str:
    """Return the name of the log stream that holds a model's vitals."""
    return f"vitals/{model}"


def decode_vitals(payload: bytes) -> VitalsRecord:
    """Return a record. Raises UnreadableVitals."""
    try:
        record = _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise UnreadableVitals(str(error)) from error
    if record.format not in READABLE:
        raise UnreadableVitals(f"format {record.format}")
    return record


def vitals_at(payload: bytes) -> int:
    """Return the minute of a record (µs). Raises UnreadableVitals."""
    return decode_vitals(payload).minute_us


def encode_vitals(record: VitalsRecord) -> bytes:
    """Return a record as it is logged."""
    return _encoder.encode(record)
