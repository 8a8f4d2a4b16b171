"""From the log of predictions back to a table: many tiny records at once.

Per record only its parts are collected, in Python lists; everything of the size of rows happens once, over all records,
in NumPy and Polars. Three kinds of row numbers meet here: of the batch, of all rows asked for, of all features kept.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec
import numpy as np
import polars as pl
from attrs import Factory, define

from charkha.bundles.encoding import FeatureSchema
from charkha.bundles.store import BundleStore
from charkha.features.ages import NOTHING_US, aged_views, newest_us
from charkha.features.plan import FeaturePlan
from charkha.serving.prediction_ids import expand_ids, unpack_ids
from charkha.serving.prediction_log import (
    FIELD_DTYPES,
    NO_FEATURES,
    READABLE,
    FeaturesUsed,
    PredictionBatch,
    VersionAnswers,
)
from charkha.serving.routing import IndexArray
from charkha.spec.fields import TIME
from charkha.storage.log import Record

REQUEST_PREFIX = "request."
AGE_PREFIX = "age."
_NEWEST = "_newest."
# Whether a row's features are among those logged; where they are not, they are null, and nothing is known of them.
FEATURES_LOGGED = "features_logged"
PREDICTION_SCHEMA = pl.Schema(
    {
        "id": pl.String(),
        "_at_us": pl.Int64(),
        "version": pl.String(),
        "role": pl.String(),
        "score": pl.Float64(),
        "decision": pl.Boolean(),
        "rules": pl.List(pl.String()),
        "fallback": pl.String(),
        "latency_us": pl.Int64(),
        "_seen_us": pl.Int64(),
        FEATURES_LOGGED: pl.Boolean(),
        "replica": pl.String(),
        "bundle": pl.String(),
    }
)

# Few enough that the garbage collector has little to look through, enough that columns are long.
RECORDS_AT_ONCE = 4096

_decoder = msgspec.msgpack.Decoder(PredictionBatch)


class UnreadablePredictions(Exception):
    """A record in the log of predictions that holds none."""


def decode_predictions(records: Iterable[Record], bundles: BundleStore) -> pl.DataFrame:
    """Return the predictions of records, in their order: one row for each version that scored a request.

    Columns: those of PREDICTION_SCHEMA, `request.<field>` for each field of a request, the features by full name
    (Float64 or String, String where versions differ; what was null or NaN is null, and so is what was not logged: see
    `features_logged`), and `age.<view>` (Float64, s): how old the newest was then that the state held of a row's keys,
    null where it held nothing, where the features are not logged, and in old records. All rows of one id have one
    `_at_us`, one `_seen_us` (null in old records) and one request; `role` tells its answer (champion, challenger or
    fallback, with the cause of that) from its shadows. `replica`: who answered; `bundle`: the SHA-256 of what it had
    loaded as the version, as the ledger registers it (both null in old records, `bundle` where nothing was loaded).
    Raises UnreadablePredictions, naming partition and offset, and UnknownBundle when a version's bundle is gone.
    """
    waiting = iter(records)
    frames = [pl.DataFrame(schema=PREDICTION_SCHEMA)]
    while batches := [_decode(record) for record in islice(waiting, RECORDS_AT_ONCE)]:
        frames.append(_frame(batches, bundles))
    return pl.concat(frames, how="diagonal_relaxed")


def features_logged(rows: pl.DataFrame) -> pl.Series:
    """Say of which of decoded predictions the features were logged: of all that older versions wrote."""
    if FEATURES_LOGGED not in rows.columns:
        return pl.Series([True], dtype=pl.Boolean).new_from_index(0, rows.height)
    return rows[FEATURES_LOGGED].fill_null(value=True)


def with_features(rows: pl.DataFrame) -> pl.DataFrame:
    """Return those of decoded predictions whose features were logged."""
    return rows.filter(features_logged(rows))


def as_asked(plan: FeaturePlan, rows: pl.DataFrame) -> pl.DataFrame:
    """Return decoded predictions with the request's fields and the time also under the names that rules know."""
    asked = {name: pl.col(REQUEST_PREFIX + name) for name in plan.request if REQUEST_PREFIX + name in rows.columns}
    return rows.with_columns(pl.col("_at_us").cast(TIME).alias(plan.at), **asked)


def _frame(batches: Sequence[PredictionBatch], bundles: BundleStore) -> pl.DataFrame:
    asked = _asked(batches)
    groups = _group(batches)
    kept = {owner: _kept_frame(owner, table, bundles) for owner, table in groups.tables.items()}
    frames = [_group_frame(key, group, asked, kept[key[0], key[3]]) for key, group in groups.answers.items()]
    return pl.concat(frames, how="diagonal_relaxed").sort("_row", "_block").drop("_row", "_block")


def _kept_frame(owner: tuple[str, str], table: "_Table", bundles: BundleStore) -> pl.DataFrame:
    """Return what is kept in a table: the features, and of each view when the newest is of (`_newest.<view>`, µs)."""
    if owner[1] == NO_FEATURES:
        return _features_frame(FeatureSchema(()), table)
    manifest = bundles.manifest(*owner)
    features = _features_frame(manifest.schema, table)
    if all(part.newest is None for part in table.parts):
        return features
    plan = _plan_of(manifest.plan_json)
    times = newest_us(plan, [part.newest for part in table.parts], table.counts)
    named = zip(aged_views(plan), times, strict=True)
    return features.hstack([pl.Series(_NEWEST + view, of_view).replace(NOTHING_US, None) for view, of_view in named])


@lru_cache(maxsize=64)
def _plan_of(plan_json: str) -> FeaturePlan:
    return FeaturePlan.from_json(plan_json)


def _decode(record: Record) -> PredictionBatch:
    try:
        batch = _decoder.decode(record.payload)
    except msgspec.MsgspecError as error:
        raise _unreadable(record, str(error)) from error
    if batch.format not in READABLE:
        raise _unreadable(record, f"format {batch.format}")
    return batch


def _unreadable(record: Record, found: str) -> UnreadablePredictions:
    return UnreadablePredictions(
        f"partition '{record.partition}', offset {record.start}: expected predictions in format {READABLE[0]} to "
        f"{READABLE[-1]}, got {found}. Read the log with the version of Charkha that wrote it, or a newer one"
    )


def _asked(batches: Sequence[PredictionBatch]) -> pl.DataFrame:
    """Return one row per row asked for: id, time, latency, what the state had seen and the request's fields."""
    counts = [len(batch.requests) for batch in batches]
    numbers = np.repeat(np.arange(len(batches)), counts)
    packed = expand_ids(b"".join(batch.first_id for batch in batches), counts)
    columns = {
        "id": unpack_ids(packed),
        "_at_us": np.repeat(np.array([batch.time_us for batch in batches], dtype=np.int64), counts),
        "latency_us": np.repeat(np.array([batch.latency_us for batch in batches], dtype=np.int64), counts),
        "_seen_us": pl.Series([batch.seen_us for batch in batches], dtype=pl.Int64)[pl.Series(numbers)],
        "replica": pl.Series([batch.replica for batch in batches], dtype=pl.String)[pl.Series(numbers)],
    }
    return pl.DataFrame(columns).hstack(_request_fields(batches))


def _request_fields(batches: Sequence[PredictionBatch]) -> pl.DataFrame:
    """Return the requests' fields; where definitions changed, fields that a request had not are null."""
    parts: list[pl.DataFrame] = []
    rows: list[Sequence[Any]] = []
    for position, batch in enumerate(batches):
        rows.extend(batch.requests)
        following = batches[position + 1] if position + 1 < len(batches) else None
        if following is None or (following.fields, following.kinds) != (batch.fields, batch.kinds):
            parts.append(_fields_frame(batch, rows))
            rows = []
    return pl.concat(parts, how="diagonal_relaxed")


def _fields_frame(batch: PredictionBatch, rows: list[Sequence[Any]]) -> pl.DataFrame:
    columns = zip(batch.fields, batch.kinds, zip(*rows, strict=True), strict=True)
    return pl.DataFrame([pl.Series(REQUEST_PREFIX + name, v, dtype=FIELD_DTYPES[kind]) for name, kind, v in columns])


# The number of the features that were not logged.
_NOWHERE = -1


@define
class _Runs:
    """Row numbers as runs: `starts[i]`, then the `counts[i] - 1` numbers after it."""

    starts: list[int] = Factory(list)
    counts: list[int] = Factory(list)

    def add(self, base: int, rows: Sequence[int] | None, count: int) -> None:
        if rows is None:
            self.starts.append(base)
            self.counts.append(count)
        else:
            self.add_each([base + row for row in rows])

    def add_each(self, numbers: Sequence[int]) -> None:
        self.starts.extend(numbers)
        self.counts.extend([1] * len(numbers))

    def expand(self) -> IndexArray:
        counts = np.array(self.counts, dtype=np.int64)
        firsts = np.cumsum(counts) - counts
        return np.repeat(np.array(self.starts, dtype=np.int64) - firsts, counts) + np.arange(counts.sum())


@define
class _Table:
    """The features kept under the column names of one version. counts: of each part, its rows."""

    parts: list[FeaturesUsed] = Factory(list)
    counts: list[int] = Factory(list)
    rows: int = 0


@define
class _Group:
    """The answers of one version in one role whose features are kept in one table."""

    asked: _Runs = Factory(_Runs)
    kept: _Runs = Factory(_Runs)
    blocks: list[int] = Factory(list)
    answers: list[VersionAnswers] = Factory(list)


# model, version, role, version whose bundle names the features
_Key = tuple[str, str, str, str]


@define
class _Groups:
    answers: dict[_Key, _Group] = Factory(dict)
    tables: dict[tuple[str, str], _Table] = Factory(dict)


def _group(batches: Sequence[PredictionBatch]) -> _Groups:
    groups = _Groups()
    asked = 0
    for batch in batches:
        count = len(batch.requests)
        featured = None if batch.featured is None else {row: place for place, row in enumerate(batch.featured)}
        kept = count if featured is None else len(featured)
        bases = [_keep(groups.tables, batch.model, used, kept) for used in batch.features]
        for block, answers in enumerate(batch.answers):
            key = (batch.model, answers.version, answers.role, batch.features[answers.features].version)
            group = groups.answers.get(key) or groups.answers.setdefault(key, _Group())
            group.asked.add(asked, answers.rows, count)
            base = bases[answers.features]
            if featured is None:
                group.kept.add(base, answers.rows, count)
            else:
                rows = range(count) if answers.rows is None else answers.rows
                group.kept.add_each([base + featured[row] if row in featured else _NOWHERE for row in rows])
            group.blocks.append(block)
            group.answers.append(answers)
        asked += count
    return groups


def _keep(tables: dict[tuple[str, str], _Table], model: str, used: FeaturesUsed, count: int) -> int:
    """Add features to their table; return the number of their first row there."""
    table = tables.get((model, used.version)) or tables.setdefault((model, used.version), _Table())
    table.parts.append(used)
    table.counts.append(count)
    table.rows += count
    return table.rows - count


def _group_frame(key: _Key, group: _Group, asked: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    _, version, role, _ = key
    rows, places = group.asked.expand(), group.kept.expand()
    logged = pl.Series(FEATURES_LOGGED, places != _NOWHERE)
    answers = _answers_frame(group).with_columns(
        logged, version=pl.lit(version), role=pl.lit(role), _row=pl.Series(rows)
    )
    features = kept.select(pl.all().gather(pl.select(pl.when(logged).then(pl.Series(places))).to_series()))
    whole = answers.hstack(asked[rows].get_columns()).hstack(features.get_columns())
    newest = [name for name in features.columns if name.startswith(_NEWEST)]
    ages = [((pl.col("_at_us") - pl.col(name)) / 1e6).alias(AGE_PREFIX + name.removeprefix(_NEWEST)) for name in newest]
    return whole.select(*PREDICTION_SCHEMA, pl.exclude(*PREDICTION_SCHEMA, *newest), *ages)


def _answers_frame(group: _Group) -> pl.DataFrame:
    sizes = [len(answers.scores) // 8 for answers in group.answers]
    scores = np.frombuffer(b"".join(answers.scores for answers in group.answers), dtype=np.float64)
    columns = {
        "score": pl.Series(scores),
        "decision": _decisions(group.answers, sizes),
        "rules": _rules(group.answers, sizes),
        "fallback": _repeated([part.cause for part in group.answers], sizes),
        "bundle": _repeated([part.bundle.hex() if part.bundle else None for part in group.answers], sizes),
        "_block": pl.Series(np.repeat(np.array(group.blocks, dtype=np.int64), sizes)),
    }
    return pl.DataFrame(columns)


def _decisions(answers: Sequence[VersionAnswers], sizes: Sequence[int]) -> pl.Series:
    undecided = b"\x02"
    parts = zip(answers, sizes, strict=True)
    packed = b"".join(undecided * size if part.decisions is None else part.decisions for part, size in parts)
    codes = np.frombuffer(packed, dtype=np.uint8)
    return pl.select(pl.when(pl.Series(codes != 2)).then(pl.Series(codes == 1))).to_series()


def _repeated(texts: Sequence[str | None], sizes: Sequence[int]) -> pl.Series:
    """Return the text of each part for each of its rows."""
    if not any(texts):
        return pl.Series([None], dtype=pl.String).new_from_index(0, sum(sizes))
    return pl.Series(texts, dtype=pl.String)[pl.Series(np.repeat(np.arange(len(sizes)), sizes))]


def _rules(answers: Sequence[VersionAnswers], sizes: Sequence[int]) -> pl.Series:
    if all(part.rules is None for part in answers):
        return pl.Series([[]], dtype=PREDICTION_SCHEMA["rules"]).new_from_index(0, sum(sizes))
    hits: list[Sequence[str]] = []
    for part, size in zip(answers, sizes, strict=True):
        hits.extend([()] * size if part.rules is None else part.rules)
    return pl.Series(hits, dtype=PREDICTION_SCHEMA["rules"])


def _features_frame(schema: FeatureSchema, table: _Table) -> pl.DataFrame:
    """Return everything kept in a table, one column per feature."""
    packed = b"".join(part.matrix for part in table.parts)
    matrix = np.frombuffer(packed, dtype=np.float64).reshape(table.rows, len(schema.columns))
    text = iter([_joined(table.parts, number) for number in range(len(schema.categorical))])
    series = [
        pl.Series(column.name, next(text), dtype=pl.String)
        if column.kind == "categorical"
        else pl.Series(column.name, np.ascontiguousarray(matrix[:, position])).fill_nan(None)
        for position, column in enumerate(schema.columns)
    ]
    return pl.DataFrame(series)


def _joined(parts: Sequence[FeaturesUsed], number: int) -> list[str | None]:
    values: list[str | None] = []
    for part in parts:
        values.extend(part.text[number])
    return values
