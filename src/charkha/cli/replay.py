"""`charkha replay`: history through the code of production, in minutes."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charkha.cli.options import AlsoSince, JsonFile, ModelName
from charkha.cli.pages import require_folder
from charkha.cli.progress import parts
from charkha.cli.session import Session, as_json, choose_model, opened, session_of

if TYPE_CHECKING:
    from charkha.operations.replay import Stage
    from charkha.operations.replay_summary import ReplaySummary
    from charkha.spec.model import Model
    from charkha.spec.project import Project
    from charkha.storage.home import Home
    from charkha.storage.log import Log

EXAMPLES = {
    "replay": (
        "charkha replay",
        "charkha replay likes --from 2013-08-18 --until 2013-08-28 --fresh",
        "charkha --home .charkha/replay history",
    )
}
REPORT = "report.html"
MARK = ".replay"  # in every home of a replay; what lacks it is never deleted


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when, in µs since 1970 UTC."""

    from_us: int
    until_us: int


def replay(
    context: typer.Context,
    *,
    model: ModelName = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="When it begins: the first champion learns from what was known."),
    ] = None,
    since: AlsoSince = None,
    end: Annotated[str | None, typer.Option("--until", metavar="TIME", help="When it ends.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what the replay before this one left.")] = False,
    incidents: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Look for incidents so often as well, such as 7d: some seconds each."),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Replay history as if it were live: train, serve, log, watch and retrain, under a clock that is told the time.

    Events, predictions and labels come when they came; the operator looks once a day. The last third of the history is
    replayed unless you say which part. It ends with a timeline and a report: one HTML file.

    A replay has a home of its own (.charkha/replay) and never touches what really serves.
    """
    from attrs import evolve

    session = session_of(context)
    require_folder("--json", json)
    own = own_home(session)
    project = session.project()
    chosen = choose_model(project, model)
    apart = evolve(project, home=session.home.absolute() if session.home else project.home / "replay", ledger=None)
    with out_of_the_way(apart.home) if fresh else nullcontext():
        claim(apart.home)
        period = period_of(project, chosen, begin or since, end, with_marks_of(own, apart))
    summary = play(session, apart, chosen, period, looks_every_us=_length(incidents))
    report = show(session, summary, apart.home)
    session.out.print(f"report: {report}", highlight=False, soft_wrap=True)
    if json is not None:
        write_json(summary, json)


def clear(home: Path) -> None:
    """Delete what a replay left in its home. Raises BadParameter for a folder that no replay has marked as its own."""
    claim(home)
    shutil.rmtree(home)


@contextmanager
def out_of_the_way(home: Path) -> Iterator[None]:
    """Delete what a replay left in its home, once the block has ended well; else bring it back.

    Raises BadParameter for a folder that no replay has marked as its own.
    """
    claim(home)
    former = home.with_name(f"{home.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    home.rename(former)
    try:
        yield
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        former.rename(home)
        raise
    shutil.rmtree(former)


def is_of_replay(home: Path) -> bool:
    """Say whether a folder is the home of a replay."""
    return (home / MARK).is_file()


def claim(home: Path) -> None:
    """Mark a new or empty folder as a replay's home. Raises BadParameter for a folder that holds anything else."""
    if is_of_replay(home):
        return
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise typer.BadParameter(f"expected the home of a replay, {home} is not one: it is left as it is.")
    home.mkdir(parents=True, exist_ok=True)
    (home / MARK).write_text("This folder is the home of a replay. charkha replay --fresh deletes it.\n", "utf-8")


def own_home(session: Session) -> Path:
    """Return the home of the project itself, also where --home names another."""
    from charkha.spec.project import load_project

    return load_project(session.folder).home


def with_marks_of(own: Path, apart: "Project") -> "Log":
    """Return the log of a replay's home, with the files that were set aside or released in the project's own."""
    from charkha.features.file_marks import file_marks, write_marks
    from charkha.storage.segment_log import SegmentLog

    decided, log = SegmentLog(own / "log"), SegmentLog(apart.home / "log")
    if own != apart.home:
        for source in apart.sources:
            write_marks(log, source, file_marks(decided, source).values())
    return log


def period_of(
    project: "Project", model: "Model", begin: str | None, end: str | None, log: "Log | None" = None
) -> Period:
    """Return the period that was asked for; where it was not, the last third of the history.

    log: holds which files are set aside, and no rows.
    """
    from charkha.clock import to_iso

    first_us, last_us = (0, 0) if begin and end else history_of(project, model, log)
    from_us = _time("--from", begin) if begin else first_us + (last_us - first_us) * 2 // 3
    until_us = _time("--until", end) if end else last_us + 1
    if until_us <= from_us:
        ends = f"--until {end}" if end else f"{to_iso(until_us)}, when history ends"
        raise typer.BadParameter(f"expected a time before {ends}, got {to_iso(from_us)}.", param_hint="--from")
    return Period(from_us, until_us)


def _time(option: str, text: str) -> int:
    from charkha.clock import parse_time

    try:
        return parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _length(every: str | None) -> int | None:
    from charkha.spec.durations import parse_duration

    try:
        return None if every is None else parse_duration(every)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="--incidents") from None


def history_of(project: "Project", model: "Model", log: "Log | None") -> tuple[int, int]:
    """Return the times in µs of the first prediction to ask for and of the last label to become known."""
    from charkha.features.rows import read_rows
    from charkha.features.spine import label_spine

    spine = label_spine(model.label, model.request, read_rows(model.label.source, project.root, log))
    first, last = spine["_at_us"].min(), spine["_label_known_us"].max()
    if not isinstance(first, int) or not isinstance(last, int):
        raise typer.BadParameter("there is no history with labels to replay: say --from and --until.")
    return first, last


def play(
    session: Session, project: "Project", model: "Model", period: Period, *, looks_every_us: int | None = None
) -> "ReplaySummary":
    """Replay in the project's home, and return what it showed. looks_every_us: as of `set_up`."""
    from charkha.engines.local import LocalEngine
    from charkha.operations.replay import replay as run_replay
    from charkha.operations.summary import Span, summarise

    started = time.perf_counter()
    claim(project.home)
    with opened(project) as home:
        stage = set_up(project, model, home, period.from_us, looks_every_us=looks_every_us)
        with parts(session.err, lines=True) as on_progress:
            counts = run_replay(stage, period.until_us, on_progress)
            on_progress(0, 0, "recomputing every served feature")
            span = Span(
                from_us=period.from_us,
                until_us=period.until_us,
                seconds=time.perf_counter() - started,
                counts=counts,
            )
            return summarise(stage, span, LocalEngine())


def set_up(
    project: "Project", model: "Model", home: "Home", from_us: int, *, looks_every_us: int | None = None
) -> "Stage":
    """Return a stage with an operator that trains in this process: a replay's time stands still meanwhile.

    looks_every_us: how often it looks for incidents; never unless given, for each look costs seconds.
    """
    from charkha.clock import SimulatedClock
    from charkha.engines.local import LocalEngine
    from charkha.operations.diagnosis_child import look_here
    from charkha.operations.drills.gate import drilling
    from charkha.operations.incident_watch import IncidentWatch
    from charkha.operations.operator import Operator
    from charkha.operations.replay import Stage
    from charkha.training.pipeline import train
    from charkha.training.tracking import MlflowTracker

    clock, engine, tracker = SimulatedClock(from_us), LocalEngine(), MlflowTracker(home.folder)
    watch = None
    if looks_every_us is not None:
        watch = IncidentWatch(
            home.ledger, lambda name, now_us: look_here(project, home, name, now_us), every_us=looks_every_us
        )
    operator = Operator(
        project,
        home,
        clock,
        lambda order: train(
            order, home, clock, engine, tracker, drill=drilling(project, order.model, home, clock.now(), engine)
        ),
        tracker,
        daily_skew=False,
        keeps_log=False,
        incidents=watch,
    )
    return Stage(project, home, model, clock, operator)


def show(session: Session, summary: "ReplaySummary", home: Path) -> Path:
    """Print the timeline, write the report into the home, and return where it is."""
    from charkha.web.report import render_report
    from charkha.web.timeline import render_timeline

    session.out.print(render_timeline(summary))
    file = home / REPORT
    file.write_text(render_report(summary), "utf-8")
    return file


def write_json(value: object, file: str) -> None:
    """Write a value as JSON to a file, or to standard output for "-"."""
    if file == "-":
        print(as_json(value), end="")
    else:
        Path(file).write_text(as_json(value), "utf-8")
