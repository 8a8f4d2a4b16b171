"""Bulk scoring from files to files: parts that any death leaves whole, and that the same call goes on with."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import polars as pl
from attrs import evolve, field, frozen

from charkha.bundles.bundle import Bundle
from charkha.bundles.store import BundleStore
from charkha.clock import Clock, to_iso
from charkha.engines.engine import Engine
from charkha.engines.local import LocalEngine
from charkha.features.backfill import digest_of, reads_a_query
from charkha.features.feed import Feed
from charkha.features.reading import Doing, Readings, Sources
from charkha.serving.bulk.answers import Offline, Online, answer_schema
from charkha.serving.bulk.explained import Explain
from charkha.serving.bulk.files import RowFiles, ScoringRefused
from charkha.serving.bulk.rows import Problems, RowReader, spread, without
from charkha.serving.lineup import usable_bundle
from charkha.spec.fields import TIME
from charkha.spec.model import Model
from charkha.spec.project import Project
from charkha.storage.home import Home
from charkha.storage.parts import Origin, Parts, is_whole, opened_parts, write_part

ROWS_AT_ONCE = 1 << 19
# Whoever reads the folder as a table passes over names that begin so.
MANIFEST = "_scoring.json"
SAME = "its input, version, time, reasons, bad rows or rows at once, or the files that its features come from,"
_SHOWN = 5

OnProgress = Callable[[int, int, str], None]
BadRows = Literal["refuse", "null"]


class BadRowsFound(ScoringRefused):
    """Rows that a server would have refused; no row was scored."""


class ScoredAlready(ScoringRefused):
    """Rows without a time, all of whose answers are there already: those of another moment."""

    def __init__(self, folder: Path, at_us: int) -> None:
        super().__init__(
            f"expected a folder for answers of now, got {folder}, where all rows were scored by {to_iso(at_us)}: give "
            "another --output, or --anew to score them again"
        )


class _Answering(Protocol):
    def answers(self, rows: pl.DataFrame, doing: Doing) -> pl.DataFrame: ...


@frozen(eq=False, kw_only=True)
class Scoring:
    """What is to be scored, by which version of a model.

    at: the column with each row's time. as_of_us: the time of all rows, where there is no such column. Without either,
    rows are answered at the moment when their turn comes, from the online state. bad_rows: what becomes of rows that a
    server would refuse. explain: which reasons are asked for, if any. anew: keep no part that is there.
    engine: on whose threads.
    """

    project: Project
    home: Home
    clock: Clock
    model: Model
    version: str
    files: RowFiles
    at: str | None = None
    as_of_us: int | None = None
    bad_rows: BadRows = "refuse"
    explain: Explain | None = None
    rows_at_once: int = ROWS_AT_ONCE
    anew: bool = False
    engine: Engine = field(factory=LocalEngine)

    @property
    def sources(self) -> Sources:
        """Where the features' rows come from."""
        return Sources(self.project.root, self.project.sources, self.home.log)

    def is_of_the_moment(self, bundle: Bundle) -> bool:
        """Say whether the online state answers: where rows have no time, and the version reads any state."""
        return self.at is None and self.as_of_us is None and bool(bundle.plan.views)

    def time(self) -> pl.Expr:
        """Return the time of rows that the online state does not answer."""
        if self.at is not None:
            return pl.col(self.at)
        return pl.lit(self.clock.now() if self.as_of_us is None else self.as_of_us, pl.Int64()).cast(TIME)


def score_files(
    scoring: Scoring, folder: Path, on_progress: OnProgress = lambda done, total, doing: None
) -> list[Path]:
    """Write the input's columns and their answers into Parquet files in a folder; return them in the rows' order.

    Parts that are there already, whole, are kept: call it again after a crash, and it goes on. on_progress: told how
    many rows are done, how many there are, and what is going on. Raises ScoringRefused, PartsRefused and DataError,
    NotExplainable, and what a bundle raises that cannot be used.
    """
    bundles = BundleStore(scoring.home.bundles)
    bundle = usable_bundle(scoring.model, scoring.version, bundles)
    if scoring.explain is not None:
        bundle.explainer  # noqa: B018  # raises before anything is scored
    reader = RowReader.of(scoring.model, scoring.files, scoring.at)
    _refuse_clashes(scoring)
    _refuse_unknown_sources(scoring, bundle)
    origin = Origin(_digest(scoring, bundle, bundles), scoring.files.height, scoring.rows_at_once)
    with opened_parts(folder, origin, MANIFEST, SAME) as parts:
        if scoring.anew or (not scoring.is_of_the_moment(bundle) and reads_a_query(bundle.plan, scoring.sources)):
            parts.begin_anew()
        _refuse_other_moments(scoring, folder, parts)
        _write_parts(scoring, bundle, reader, parts, on_progress)
        return [path for path, _, _ in parts.spans()]


def _refuse_other_moments(scoring: Scoring, folder: Path, parts: Parts) -> None:
    """Raise ScoredAlready where no row is left to be scored and rows have no time: their answers are older ones."""
    spans = list(parts.spans())
    of_now = scoring.at is None and scoring.as_of_us is None
    if spans and of_now and all(is_whole(path, rows) for path, _, rows in spans):
        raise ScoredAlready(folder, max(path.stat().st_mtime_ns for path, _, _ in spans) // 1000)


def _write_parts(scoring: Scoring, bundle: Bundle, reader: RowReader, parts: Parts, on_progress: OnProgress) -> None:
    spans = list(parts.spans())
    waiting = [(number, *span) for number, span in enumerate(spans, 1) if not is_whole(span[0], span[2])]
    if waiting:
        files = scoring.files.seekable(parts.workplace / "input.arrow")
        if scoring.bad_rows == "refuse" and len(waiting) == len(spans):
            _refuse_bad_rows(files, reader, parts)
        answering = _answering(scoring, bundle, parts, lambda what: on_progress(0, files.height, what))
    for number, path, low, rows in waiting:

        def doing(what: str, low: int = low, number: int = number) -> None:
            on_progress(low, scoring.files.height, f"part {number:,} of {len(spans):,}: {what}")

        doing("reading")
        asked, problems = reader.read(files.rows(low, rows))
        found = spread(answering.answers(without(asked, problems), doing), asked.height, problems)
        write_part(path, _part(scoring, asked, found, problems))
    on_progress(scoring.files.height, scoring.files.height, "done")


def _answering(scoring: Scoring, bundle: Bundle, parts: Parts, doing: Doing) -> _Answering:
    plan = bundle.plan_with_rules
    if not scoring.is_of_the_moment(bundle):
        plan = evolve(plan, names=(*plan.names, *bundle.conditions))
        readings = Readings(scoring.sources, plan.views, parts.workplace, scoring.engine)
        return Offline(bundle, plan, scoring.time, readings, scoring.engine, scoring.explain)
    doing("bringing the online state up to date")
    project, home = scoring.project, scoring.home
    feed = Feed(project.sources, project.views, home.log, home.online, scoring.clock)
    feed.follow(project.root)
    feed.materialise(project.root, scoring.clock.now(), views=plan.views)
    return Online(bundle, plan, home.online, scoring.clock, scoring.engine, scoring.explain)


def _part(scoring: Scoring, asked: pl.DataFrame, found: pl.DataFrame, problems: Problems) -> pl.DataFrame:
    part = asked.with_columns(*found.get_columns(), model=pl.lit(scoring.model.name), version=pl.lit(scoring.version))
    if scoring.bad_rows == "refuse":
        return part
    said = pl.Series([problems.get(row) for row in range(part.height)], dtype=pl.String()) if problems else None
    return part.with_columns(problem=pl.lit(None, pl.String()) if said is None else said)


def _refuse_bad_rows(files: RowFiles, reader: RowReader, parts: Parts) -> None:
    """Raise BadRowsFound where a row is no request, before any is scored."""
    count, first = 0, dict[int, str]()
    for _, low, rows in parts.spans() if reader.checks else ():
        _, problems = reader.read(files.rows(low, rows, list(reader.typed)))
        count += len(problems)
        first |= {low + row: problems[row] for row in sorted(problems)[: _SHOWN - len(first)]}
    if count:
        shown = "; ".join(f"{files.place(row)}: {problem}" for row, problem in first.items())
        more = f"; and {count - len(first):,} more" if count > len(first) else ""
        raise BadRowsFound(
            f"{count:,} of {files.height:,} rows cannot be scored, for a server would refuse them. {shown}{more}. Mend "
            "them, or have them scored as null: --bad-rows null"
        )


def _refuse_clashes(scoring: Scoring) -> None:
    """Raise ScoringRefused where a column of the input is called as one of the answers."""
    added = [*answer_schema(scoring.explain), "model", "version", *(["problem"] if scoring.bad_rows == "null" else [])]
    clashes = [name for name in added if name in scoring.files.schema and not name == scoring.at == "time"]
    if clashes:
        raise ScoringRefused(f"expected no columns called as the answers' are, got {clashes}. Rename them in the input")


def _refuse_unknown_sources(scoring: Scoring, bundle: Bundle) -> None:
    """Raise ScoringRefused where a version reads what the definition no longer has."""
    missing = sorted({view.source.name for view in bundle.plan.views} - scoring.project.sources.keys())
    if missing:
        raise ScoringRefused(
            f"version {scoring.version!r} of model {scoring.model.name!r} reads the sources {missing}, which the "
            "definition has not. Declare them again, or score with another version"
        )


def _digest(scoring: Scoring, bundle: Bundle, bundles: BundleStore) -> str:
    """Return a digest of what the answers depend on.

    Not the log's end: what is pushed becomes known then, and changes no answer of before.
    """
    version = bundles.digest(scoring.model.name, scoring.version)
    time = [scoring.at, scoring.as_of_us, scoring.is_of_the_moment(bundle)]
    rows = [scoring.files.stamps(), repr(scoring.files.declared), scoring.bad_rows]
    besides = [scoring.model.name, version, rows, time]
    if scoring.explain is not None:
        besides.append([scoring.explain.most, sorted(scoring.explain.texts.items())])
    if not scoring.is_of_the_moment(bundle):
        return digest_of(bundle.plan, scoring.sources, besides)
    return hashlib.blake2b(msgspec.json.encode(besides), digest_size=16).hexdigest()
