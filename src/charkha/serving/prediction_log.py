"""The log of predictions: one record per call, holding all that is needed to judge, explain and repeat it.

A record is one MessagePack array (`PredictionBatch`). Numbers travel as float64 bytes, so that writing one costs a few
microseconds; names of features are not repeated in it, they are those of the version's bundle. `prediction_frames`
reads records back in bulk.
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl
from attrs import evolve, frozen

from charkha.serving.prediction_ids import ID_BYTES, pack_ids
from charkha.spec.fields import POLARS_TYPES, FieldType
from charkha.spec.model import FloatArray
from charkha.storage.log import Log, UnknownPosition

Role = Literal["champion", "challenger", "shadow", "fallback"]
# Why the fallback answered.
Cause = Literal["killed", "model_failed", "features_unavailable", "features_missing", "source_stale", "deadline_passed"]
BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

# In place of a version, of answers that have no features to name.
NO_FEATURES = ""

# What a format brought: 2 `seen_us`, 3 `featured`, 4 the evidence: `replica`, `bundle` and `newest`. A record that ends
# before a field has its default.
FORMAT = 4
READABLE = (1, 2, 3, 4)
# One letter per type of a request field, so that a record says what its fields are.
_LETTERS: Mapping[FieldType, str] = {kind: kind.__name__[0] for kind in POLARS_TYPES}
FIELD_DTYPES: Mapping[str, pl.DataType] = {_LETTERS[kind]: dtype for kind, dtype in POLARS_TYPES.items()}


# So many records at most come between the place that a record is to have and the one that it gets: a worker has few
# threads that append.
_NOT_FAR = 64


class LogPlace(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a record is: an offset of a partition of a stream."""

    partition: str
    offset: int


class FeaturesUsed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The features of the batch, as some versions saw them: of every row, or of those of a sample.

    version: whose bundle names the columns; matrix: float64 (rows, columns), C order; text: the values of each
    categorical column, in the order of the matrix (there its codes are not enough: an unseen category has none).
    newest: when the newest is of that the state held of each row's keys, view by view (`features.ages.stamps`); None
    where it could not be read.
    """

    version: str
    matrix: bytes
    text: tuple[Sequence[str | None], ...]
    newest: bytes | None = None


class VersionAnswers(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one version answered.

    features: position in the batch's features. rows: which rows of the batch; None for all. scores: float64 (n,).
    decisions: one byte each; None when the version decides nothing. rules: the rules that held, those in shadow as
    well; None when none did.
    cause: why the fallback answered, in its place for the version; None where the version did. bundle: the digest of
    what was loaded as this version; None where nothing was.
    """

    version: str
    role: Role
    features: int
    rows: tuple[int, ...] | None
    scores: bytes
    decisions: bytes | None
    rules: Sequence[tuple[str, ...]] | None
    cause: Cause | None = None
    bundle: bytes | None = None


class PredictionBatch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One call. first_id: 16 bytes, the other rows' ids follow on. time_us: of the prediction, by the clock.

    fields, kinds: the names of the request's fields, and a letter for the type of each. requests: their values by row.
    seen_us: when the newest row became known that the state then held, of any source. featured: the rows whose features
    are in `features`, ascending; None for all. replica: who answered: what stays the same of one serving process when
    it is replaced.
    """

    format: int
    model: str
    first_id: bytes
    time_us: int
    latency_us: int
    fields: tuple[str, ...]
    kinds: str
    requests: Sequence[tuple[Any, ...]]
    features: tuple[FeaturesUsed, ...]
    answers: tuple[VersionAnswers, ...]
    seen_us: int | None = None
    featured: tuple[int, ...] | None = None
    replica: str | None = None


@frozen(eq=False)
class Scored:
    """What one version made of n rows.

    bundle: the digest of what was loaded as the version, empty for nothing. plan: the position of its feature plan in
    the line-up. kept_as: the version under which its features are logged. matrix: float64 (n, columns). text: the
    values of each categorical column. scores: float64 (n,). decisions: bool (n,). hits: the rules that held, by row,
    which are logged; told: those of them that are not in shadow, which are answered. cause: why the fallback answered.
    """

    version: str
    role: Role
    bundle: bytes
    plan: int
    kept_as: str
    matrix: FloatArray
    text: tuple[Sequence[str | None], ...]
    scores: FloatArray
    decisions: BoolArray | None
    hits: Sequence[tuple[str, ...]]
    told: Sequence[tuple[str, ...]]
    cause: Cause | None = None

    def of(self, rows: slice) -> "Scored":
        """Return the same of some neighbouring rows only."""
        return evolve(
            self,
            matrix=self.matrix[rows],
            text=tuple(values[rows] for values in self.text),
            scores=self.scores[rows],
            decisions=None if self.decisions is None else self.decisions[rows],
            hits=self.hits[rows],
            told=self.told[rows],
        )


_encoder = msgspec.msgpack.Encoder()


class _Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """As much of a `PredictionBatch` as it takes to say when it was; what follows is passed over."""

    format: int
    model: str
    first_id: bytes
    time_us: int


_head_decoder = msgspec.msgpack.Decoder(_Head)


def prediction_stream(model: str) -> str:
    """Return the name of the log stream that holds a model's predictions."""
    return f"predictions/{model}"


def field_kinds(fields: Mapping[str, FieldType]) -> str:
    """Return one letter per request field, for `PredictionBatch.kinds`."""
    return "".join(_LETTERS[kind] for kind in fields.values())


def features_used(scored: Scored, newest: bytes | None = None, rows: tuple[int, ...] | None = None) -> FeaturesUsed:
    """Return the features of a batch, or of some rows, as they are logged: numbers from the matrix, text as it was.

    newest: of these rows, as in `FeaturesUsed`.
    """
    if rows is None:
        return FeaturesUsed(scored.kept_as, scored.matrix.tobytes(), scored.text, newest)
    text = tuple([[values[row] for row in rows] for values in scored.text])
    # Of none, as of most calls of one row, and of few: cheaper than NumPy's indexing by a list.
    return FeaturesUsed(scored.kept_as, b"".join([scored.matrix[row].tobytes() for row in rows]), text, newest)


def version_answers(scored: Scored, features: int, rows: tuple[int, ...] | None = None) -> VersionAnswers:
    """Return what one version answered, as it is logged.

    features: position of its features among those of the batch. rows: which of them it answered, if not all.
    """
    scores, decisions, hits = scored.scores, scored.decisions, scored.hits
    if rows is not None:
        scores, hits = scores[list(rows)], [hits[row] for row in rows]
        decisions = None if decisions is None else decisions[list(rows)]
    flags = None if decisions is None else decisions.tobytes()
    rules = hits if any(hits) else None
    of_version = (scored.version, scored.role, features, rows)
    return VersionAnswers(*of_version, scores.tobytes(), flags, rules, scored.cause, scored.bundle or None)


def encode_predictions(batch: PredictionBatch) -> bytes:
    """Return the record of one call."""
    return _encoder.encode(batch)


def _first_id_of(payload: bytes) -> bytes:
    return _head_decoder.decode(payload).first_id


def predicted_at(payload: bytes) -> int:
    """Return the time of a record's predictions (µs), at a fraction of the cost of reading it. Raises DecodeError."""
    return _head_decoder.decode(payload).time_us


def pack_first_id(first: int) -> bytes:
    """Return the first id of a batch as it is logged."""
    return first.to_bytes(ID_BYTES, "big")


class PredictionLog:
    """Appends the predictions of one model to its log; safe to use from several threads."""

    def __init__(self, log: Log, model: str, partition: str) -> None:
        self._log, self._stream, self._partition = log, prediction_stream(model), partition
        self._writer = log.writer(self._stream, partition)

    def append(self, batches: Sequence[PredictionBatch]) -> None:
        """Log calls, all of them or none: acknowledged when this returns."""
        self._writer.append([encode_predictions(batch) for batch in batches])

    def place(self) -> LogPlace:
        """Return where the next record begins, unless another thread or process comes first."""
        return LogPlace(self._partition, self._writer.append([]))

    def holds(self, place: LogPlace, first_id: str) -> bool:
        """Say whether the record that begins with an id is in the log, not far behind a place.

        A record that has been compacted away meanwhile was there.
        """
        wanted = pack_ids([first_id])
        records = self._log.read_partition(self._stream, place.partition, place.offset)
        try:
            return any(_first_id_of(record.payload) == wanted for record in islice(records, _NOT_FAR + 1))
        except UnknownPosition:
            return True

    def probe(self) -> None:
        """Raise OSError while there is no room for more."""
        self._writer.probe()

    def close(self) -> None:
        """Close the writer."""
        self._writer.close()
