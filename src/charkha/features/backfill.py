"""The offline path from files to files: features for any number of questions, in bounded memory, resumable.

Questions are answered a stretch of them at a time, each stretch in a file of its own. A source that fits in memory is
read for each stretch; a larger one is cut into buckets of keys first, in files that are gone at the end, and each
stretch reads each bucket once. The number of buckets changes no bit of the result; the length of a stretch may change
the last ones of sums, which run from one question of a stretch to the next.
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
import polars as pl

from charkha.features.answers import answered
from charkha.features.batches import batches_of
from charkha.features.events import event_stream
from charkha.features.file_marks import marks_stream
from charkha.features.numbers import finite
from charkha.features.plan import FeaturePlan
from charkha.features.reading import Readings, Sources
from charkha.features.state import declaration_digest
from charkha.spec.fields import POLARS_TYPES, FieldType
from charkha.spec.sources import Query
from charkha.storage.parts import Origin, is_whole, opened_parts, write_part

ROWS_AT_ONCE = 1 << 20
MANIFEST = "backfill.json"
SAME = "its questions, its features, its data or its rows at once"

OnProgress = Callable[[int, int, str], None]


class BackfillRefused(Exception):
    """Questions that cannot be read, or lack a field; says the way out."""


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
    of the result has the columns of the questions, then `plan.names`. A file that is there already, whole, is kept:
    call it again after a crash, and it goes on. on_progress: called with questions answered, questions in all, and what
    is going on. Raises BackfillRefused, PartsRefused and DataError.
    """
    scan = _scanned(plan, questions)
    total = scan.select(pl.len()).collect().item()
    about = questions.stat()
    stamp = (str(questions), about.st_size, about.st_mtime_ns)
    origin = Origin(digest_of(plan, sources, stamp, ends_of(plan, sources)), total, rows_at_once)
    with opened_parts(folder, origin, MANIFEST, SAME) as parts:
        if reads_a_query(plan, sources):
            parts.begin_anew()
        written: list[Path] = []
        readings = Readings(sources, plan.views, parts.workplace)
        for path, low, rows in parts.spans():
            if not is_whole(path, rows):
                asked = with_times(plan, scan.slice(low, rows_at_once).collect())

                def doing(what: str, low: int = low) -> None:
                    on_progress(low, total, what)

                write_part(path, answered(plan, asked, readings, doing=doing).drop("_at_us"))
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

    A time without a zone is UTC. A question without a time has no features. A number that is not finite is null.
    Raises BackfillRefused for a whole number beyond 64 bits, or a time beyond the years 1 to 9999.
    """
    at, found = pl.col(plan.at), asked.schema[plan.at]
    if isinstance(found, pl.Datetime) and found.time_zone:
        at = at.dt.convert_time_zone("UTC")
    at = at.cast(pl.Datetime("us")) if found == pl.Date else at.dt.cast_time_unit("us")
    fields = {name: pl.col(name).cast(POLARS_TYPES[kind]) for name, kind in plan.request.items()}
    fields |= {name: finite(fields[name]).alias(name) for name, kind in plan.request.items() if kind is float}
    try:
        typed = asked.with_columns(**fields).with_columns(at.dt.replace_time_zone("UTC").alias(plan.at))
    except pl.exceptions.PolarsError as error:
        said = str(error).partition("\n")[0]
        raise BackfillRefused(f"expected questions that fit the request's types, got others: {said}") from error
    return typed.with_columns(_at_us=pl.col(plan.at).dt.epoch("us"))


def reads_a_query(plan: FeaturePlan, sources: Sources) -> bool:
    """Say whether features come of a query: nobody knows what rows it had given to parts that are there."""
    return any(isinstance(sources.by_name[view.source.name].data, Query) for view in plan.views)


def digest_of(plan: FeaturePlan, sources: Sources, *besides: object) -> str:
    """Return a digest of what features depend on: their plan, their sources' declarations, the stamps of batches.

    besides: what else the result depends on, as plain values.
    """
    names = _sources_of(plan)
    batches = [batch for name in names for batch in batches_of(sources.by_name[name], sources.root)]
    declared = [declaration_digest(sources.by_name[name]) for name in names]
    said = (plan.to_json(), declared, [batch.stamp() for batch in batches], besides)
    return hashlib.blake2b(msgspec.json.encode(said, order="deterministic"), digest_size=16).hexdigest()


def ends_of(plan: FeaturePlan, sources: Sources) -> dict[str, object]:
    """Return up to where the log of a plan's sources goes, by stream."""
    streams = [stream for name in _sources_of(plan) for stream in (event_stream(name), marks_stream(name))]
    return {stream: sources.log.end(stream) for stream in streams} if sources.log else {}


def _sources_of(plan: FeaturePlan) -> list[str]:
    return sorted({view.source.name for view in plan.views})
