"""The offline path from files to files: features for any number of questions, in bounded memory, resumable.

Questions are answered a stretch of them at a time, each stretch in a file of its own. For a stretch, a view of latest
values reads the keys and times of its source, works out which row answers which question, and then fetches one column
after the other: never more than one column of the source is in memory, or all of it where it is a query. A view of
windows reads its source in buckets of keys. Neither the length of a stretch nor the number of buckets changes a bit of
the result, but for the last ones of sums: these run from one question of a stretch to the next.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from attrs import field, frozen, validators

from charkha.features.batches import batches_of
from charkha.features.evaluate import logged
from charkha.features.events import event_stream
from charkha.features.file_marks import marks_stream
from charkha.features.keys import key_codes
from charkha.features.newest import NOBODY, Arrivals, newest_known
from charkha.features.pieces import EVENT, KNOWN, Piece, fetched, pieces_of
from charkha.features.plan import FeaturePlan
from charkha.features.point_in_time import join_view
from charkha.features.request import with_request_features
from charkha.features.segments import IntArray
from charkha.features.state import columns_of
from charkha.features.versions import Versions, versions_of
from charkha.spec.fields import POLARS_TYPES, FieldType, polars_schema
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView
from charkha.storage.log import Log

ROWS_AT_ONCE = 1 << 20
BUCKET_ROWS = 1 << 22
MANIFEST = "backfill.json"

OnProgress = Callable[[int, int, str], None]


class BackfillRefused(Exception):
    """A folder that holds another backfill, or questions that lack a field; says the way out."""


@frozen(eq=False)
class Sources:
    """Where rows come from. root: the folder of their files. log: what was pushed. by_name: the sources' declarations.

    bucket_rows: a source with more rows is read in buckets of keys of about this many.
    """

    root: Path
    by_name: Mapping[str, Source]
    log: Log | None = None
    bucket_rows: int = field(default=BUCKET_ROWS, validator=validators.ge(1))


class _Manifest(msgspec.Struct, frozen=True):
    """What a folder of parts was made from: its parts are good as long as this is the same."""

    digest: str
    questions: int
    rows_at_once: int


def backfill(
    plan: FeaturePlan,
    questions: Path,
    sources: Sources,
    folder: Path,
    *,
    rows_at_once: int = ROWS_AT_ONCE,
    on_progress: OnProgress = lambda done, total, doing: None,
) -> list[Path]:
    """Write the features of every question into Parquet files in a folder, and return them in the questions' order.

    questions: a Parquet file with the plan's request fields and the time of each question, under `plan.at`. Each file
    of the result has the columns of the questions, then `plan.names`. A file that is there already is kept: call it
    again after a crash, and it goes on. on_progress: called with questions answered, questions in all, and what is
    going on. Raises BackfillRefused and DataError.
    """
    scan = _scanned(plan, questions)
    total = scan.select(pl.len()).collect().item()
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, _Manifest(_digest(plan, questions, sources), total, rows_at_once))
    written: list[Path] = []
    reads: dict[str, Reading] = {}  # all stretches read the same version of a table, and one result of a query
    for number, low in enumerate(range(0, max(1, total), rows_at_once)):
        path = folder / f"part-{number:05d}.parquet"
        if not path.exists():
            asked = with_times(plan, scan.slice(low, rows_at_once).collect())

            def doing(what: str, low: int = low) -> None:
                on_progress(low, total, what)

            _write(path, answered(plan, asked, sources, doing, reads).drop("_at_us"))
        written.append(path)
    on_progress(total, total, "done")
    return written


def _scanned(plan: FeaturePlan, questions: Path) -> pl.LazyFrame:
    """Return the questions of a file, unread. Raises BackfillRefused unless it has what the plan asks for."""
    try:
        scan = pl.scan_parquet(questions)
        schema = scan.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        said = str(error).partition("\n")[0]
        raise BackfillRefused(f"expected questions in a Parquet file, {questions} cannot be read: {said}") from error
    faults = [
        f"{name!r}: expected {wanted}, got {schema.get(name, 'no such column')}"
        for name, wanted, fits in _wanted(plan)
        if name not in schema or not fits(schema[name])
    ]
    faults += [f"{name!r}: expected no column called as a feature" for name in plan.names if name in schema]
    if faults:
        raise BackfillRefused(f"{questions} cannot be answered: {'; '.join(faults)}. Mend the questions' columns")
    return scan


def _wanted(plan: FeaturePlan) -> Iterator[tuple[str, str, Callable[[pl.DataType], bool]]]:
    """Yield the columns that questions must have: name, type in words, and whether a type is one of them."""
    for name, kind in plan.request.items():
        yield name, f"a column of {kind.__name__}", partial(_is_of, kind)
    yield plan.at, "the time of each question, a Datetime", partial(_is_of, datetime)


def _is_of(kind: FieldType, found: pl.DataType) -> bool:
    if kind is float:
        return found.is_numeric()
    if kind is int:
        return found.is_integer()
    if kind is datetime:
        return found in (pl.Datetime, pl.Date)
    return found == POLARS_TYPES[kind] or (kind is str and found in (pl.Categorical, pl.Enum))


def with_times(plan: FeaturePlan, asked: pl.DataFrame) -> pl.DataFrame:
    """Return questions as the sources' keys are typed, their time as `plan.at` and, in µs, as `_at_us`.

    A time without a zone is UTC. A question without a time has no features.
    """
    at, found = pl.col(plan.at), asked.schema[plan.at]
    if isinstance(found, pl.Datetime) and found.time_zone:
        at = at.dt.convert_time_zone("UTC")
    at = at.cast(pl.Datetime("us")) if found == pl.Date else at.dt.cast_time_unit("us")
    typed = asked.with_columns(pl.col(name).cast(POLARS_TYPES[kind]) for name, kind in plan.request.items())
    return typed.with_columns(at.dt.replace_time_zone("UTC").alias(plan.at)).with_columns(
        _at_us=pl.col(plan.at).dt.epoch("us")
    )


def answered(
    plan: FeaturePlan,
    asked: pl.DataFrame,
    sources: Sources,
    doing: Callable[[str], None] = lambda what: None,
    reads: "dict[str, Reading] | None" = None,
) -> pl.DataFrame:
    """Return questions with their features. asked: as of `with_times`.

    reads: the sources that were looked through already, by name; those that are now are added.
    """
    frame, reads = asked, {} if reads is None else reads
    for view in plan.views:
        name = view.source.name
        if name not in reads:
            doing(f"looking through {name}")
            reads[name] = Reading.of(sources.by_name[name], sources)
        doing(f"joining {view.name}")
        frame = frame.hstack(_joined(view, asked, reads[name], sources.bucket_rows))
    named = frame.with_columns(with_request_features(plan, frame, logged))
    return named.select(*asked.columns, *(name for name in plan.names if name not in asked.columns))


@frozen(eq=False)
class Reading:
    """A source that is being read: its pieces, and what each of its rows is."""

    source: Source
    pieces: Sequence[Piece]
    versions: Versions

    @classmethod
    def of(cls, source: Source, sources: Sources) -> "Reading":
        """Look through a source. Raises DataError."""
        pieces = pieces_of(source, sources.root, sources.log)
        return cls(source, pieces, versions_of(pieces, source))


def _joined(view: FeatureView, asked: pl.DataFrame, reading: Reading, bucket_rows: int) -> pl.DataFrame:
    latest = _latest_columns(view, reading, asked) if view.latest else []
    if not view.windows:
        return pl.DataFrame(latest)
    return _window_columns(view, reading, asked, bucket_rows).hstack(latest)


def _latest_columns(view: FeatureView, reading: Reading, asked: pl.DataFrame) -> list[pl.Series]:
    places = _newest_places(view, reading, asked)
    types = polars_schema(view.source.fields)
    return [
        fetched(reading.pieces, name, places).cast(types[name]).alias(f"{view.name}.{name}") for name in view.latest
    ]


def _newest_places(view: FeatureView, reading: Reading, asked: pl.DataFrame) -> IntArray:
    """Return the place, among all rows, of the one that answers each question."""
    keys = list(view.entity.keys)
    rows = pl.concat([piece.read([*keys, EVENT, KNOWN]) for piece in reading.pieces])
    codes, asked_codes = key_codes(rows, asked, keys)
    never = (rows[EVENT].is_null() | rows[KNOWN].is_null()).to_numpy() | ~reading.versions.kept
    if never.any():
        codes = np.where(never, NOBODY, codes)
    event_us, known_us = (rows[name].fill_null(0).to_numpy() for name in (EVENT, KNOWN))
    never_asked = asked["_at_us"].is_null().to_numpy()
    at_us = asked["_at_us"].fill_null(0).to_numpy()
    rows_known = Arrivals(codes, known_us, event_us)
    return newest_known(rows_known, np.where(never_asked, NOBODY, asked_codes), at_us, view.max_age_us)


def _window_columns(view: FeatureView, reading: Reading, asked: pl.DataFrame, bucket_rows: int) -> pl.DataFrame:
    """Return the windows of a view, bucket by bucket of its keys, in the order of the questions."""
    windows = FeatureView(view.name, view.entity, view.source, windows=view.windows)
    buckets = max(1, -(-len(reading.versions.kept) // bucket_rows))
    keys = list(view.entity.keys)
    questions = asked.select(*keys, "_at_us").with_row_index("_place")
    of_question = _bucket(questions, keys, buckets)
    parts = []
    for number in range(buckets):
        rows = pl.concat(list(_rows_of(reading, columns_of(windows), keys, buckets, number)))
        rows = rows.sort(KNOWN, nulls_last=True, maintain_order=True)
        some = questions.filter(of_question == number)
        parts.append(join_view(windows, rows, some).with_columns(some["_place"]))
    return pl.concat(parts).sort("_place").drop("_place")


def _rows_of(
    reading: Reading, reads: set[str], keys: Sequence[str], buckets: int, number: int
) -> Iterator[pl.DataFrame]:
    """Yield the rows of one bucket of keys, piece by piece, with `_first`; no repetitions, none without its time.

    reads: the fields that are needed of them.
    """
    low, names = 0, [*(name for name in reading.source.fields if name in reads), EVENT, KNOWN]
    for piece in reading.pieces:
        versions, here = reading.versions, slice(low, low + piece.height)
        rows = piece.read(names).with_columns(_first=pl.Series(versions.first[here]))
        own = pl.Series(versions.kept[here]) & (_bucket(rows, keys, buckets) == number)
        yield rows.filter(own & rows[EVENT].is_not_null())
        low += piece.height


def _bucket(frame: pl.DataFrame, keys: Sequence[str], buckets: int) -> pl.Series:
    """Return the bucket of each row's key. Keys of one type on both sides, so that equal ones are in one bucket."""
    return frame.select(keys).hash_rows() % buckets


def _write(path: Path, frame: pl.DataFrame) -> None:
    """Write a file whole or not at all."""
    partial = path.with_suffix(".partial")
    frame.write_parquet(partial, compression="lz4", statistics=False)
    os.replace(partial, path)


def _claim(folder: Path, manifest: _Manifest) -> None:
    """See to it that what is in the folder is of this backfill. Raises BackfillRefused."""
    file = folder / MANIFEST
    if file.exists():
        found = msgspec.json.decode(file.read_bytes(), type=_Manifest)
        if found != manifest and any(folder.glob("part-*")):
            raise BackfillRefused(
                f"expected {folder} to be empty or to hold parts of the same backfill, found those of another: its "
                "questions, its features, its data or its rows at once are not the same. Choose another folder, or "
                "delete it"
            )
    elif any(folder.glob("part-*")):
        raise BackfillRefused(f"expected {folder} to be empty, found parts without {MANIFEST}. Choose another folder")
    partial = file.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(manifest))
    os.replace(partial, file)


def _digest(plan: FeaturePlan, questions: Path, sources: Sources) -> str:
    """Return a digest of what the result depends on: features, the stamps of batches, and the log's end."""
    names = sorted({view.source.name for view in plan.views})
    batches = [batch for name in names for batch in batches_of(sources.by_name[name], sources.root)]
    asked = questions.stat()
    stamps = [(str(questions), asked.st_size, asked.st_mtime_ns), *(batch.stamp() for batch in batches)]
    streams = [stream for name in names for stream in (event_stream(name), marks_stream(name))]
    ends = {stream: sources.log.end(stream) for stream in streams} if sources.log else {}
    said = (plan.to_json(), stamps, ends)
    return hashlib.blake2b(msgspec.json.encode(said, order="deterministic"), digest_size=16).hexdigest()
