"""`charkha features backfill` and `materialise`: features for many past questions, and the state to serve from."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import asdict
from rich.markup import escape

from charkha.cli.options import AsJson, ModelName
from charkha.cli.progress import parts, stoppable
from charkha.cli.session import Session, choose_model, opened, session_of

if TYPE_CHECKING:
    from charkha.features.building import Followed

EXAMPLES = {
    "backfill": (
        "charkha features backfill likes --questions questions.parquet --output out",
        "charkha features backfill --questions questions.parquet --output out --rows-at-once 200000",
    ),
    "materialise": (
        "charkha features materialise",
        "charkha features materialise --anew",
        "charkha --home /tmp/then features materialise --as-of 2013-08-22",
    ),
}


def backfill(
    context: typer.Context,
    *,
    model: ModelName = None,
    questions: Annotated[
        Path,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Parquet: the request's fields and the time."),
    ],
    output: Annotated[Path, typer.Option(file_okay=False, metavar="DIR", help="Where the parts are written.")],
    rows_at_once: Annotated[
        int, typer.Option(min=1, metavar="N", help="Questions in a part: fewer take less memory, and more time.")
    ] = 1 << 20,
    json: AsJson = False,
) -> None:
    """Compute a model's features for any number of past questions, from files to files.

    Each question is answered as it would have been served at its time, named as the label's at= column. Rows of the
    sources' files and of the log count from when they were known. Memory stays at about 1.5 GiB: a source of more rows
    than fit is cut into files in the output's folder first, which are gone at the end.

    Stopped or killed, the same command goes on where it was; parts that are there already are kept.
    """
    from charkha.features.backfill import backfill as write_parts
    from charkha.features.plan import plan_features
    from charkha.features.reading import Sources

    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    remains = "the parts that are there stay, and the same command goes on with the others"
    with stoppable(session.err, remains), opened(project) as home, parts(session.err) as on_progress:
        sources = Sources(project.root, project.sources, home.log)
        plan = plan_features(chosen)
        written = write_parts(plan, questions, sources, output, rows_at_once=rows_at_once, on_progress=on_progress)
    if json:
        session.print_json({"parts": [str(path) for path in written], "features": plan.names})
    else:
        count = f"{len(written)} part{'' if len(written) == 1 else 's'}"
        session.out.print(f"{len(plan.names)} features in {count}: {output}", highlight=False, soft_wrap=True)


def materialise(
    context: typer.Context,
    *,
    anew: Annotated[
        bool, typer.Option("--anew", help="Drop the state first, and build all of it from the files and the log.")
    ] = False,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="Only what was known by then, such as 2013-08-22; else by now."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Bring the online state up to what the sources' files are now, and build that of every view that has none yet.

    charkha serve does so at its start; run it, by cron say, whenever files have come. New rows are applied; where they
    became known before rows that the state has, a file changed, or the source is declared otherwise, the state of that
    source is built anew. Servers go on with what was until it is done; pushes wait.

    The state is derived: with --anew all of it is dropped and built again. With --as-of it is what it was at that time,
    unless rows were pushed since: those are in the log, from which the state goes on.
    """
    from charkha.cli.data import moment
    from charkha.clock import SystemClock
    from charkha.features.feed import Feed

    session = session_of(context)
    project, time_us = session.project(), moment(as_of)
    if time_us > SystemClock().now():
        raise typer.BadParameter(f"expected a time that has come, got {as_of}.", param_hint="--as-of")
    remains = "the state is as it was for the source that was being built; the same command goes on"
    with stoppable(session.err, remains), opened(project) as home, parts(session.err) as on_progress:
        feed = Feed(project.sources, project.views, home.log, home.online, SystemClock())
        until_us = None if as_of is None else time_us
        followed = [] if anew else feed.follow(project.root, until_us, partial(on_progress, 0, 0))
        built = feed.materialise(
            project.root,
            time_us,
            on_progress=on_progress,
            anew=anew,
            exactly=as_of is not None,
        )
    if json:
        session.print_json({"built": built, "sources": [asdict(each) for each in followed]})
    else:
        _say(session, built, followed)
    raise typer.Exit(1 if any(each.problem for each in followed) else 0)


def _say(session: Session, built: int, followed: "list[Followed]") -> None:
    for each in followed:
        done = f"built anew: {each.anew}" if each.anew else f"{each.rows:,} new rows of its files applied"
        session.out.print(f"{each.source}: {escape(each.problem or done)}", highlight=False, soft_wrap=True)
    if built or not followed:
        state = f"built the state of {built} view{'' if built == 1 else 's'}" if built else "the state is there already"
        session.out.print(state, highlight=False)


COMMANDS: dict[str, Callable[..., None]] = {"backfill": backfill, "materialise": materialise}
