"""`charkha score`: the server's numbers for files of rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charkha.cli.options import AsJson, ModelName
from charkha.cli.progress import parts
from charkha.cli.session import choose_model, opened, session_of

if TYPE_CHECKING:
    from charkha.serving.bulk.files import RowFiles
    from charkha.spec.model import Model
    from charkha.storage.home import Home

EXAMPLES = {
    "score": (
        "charkha score likes --input pairs.parquet --output scores",
        "charkha score likes --input 'pairs/*.csv' --as-of 2013-08-25 --output scores",
        "charkha score likes --input pairs.parquet --at asked_at --version v3 --output scores-v3",
        "charkha score likes --input pairs.parquet --explain 3 --output scores",
        "charkha score --input pairs.csv --bad-rows null --output scores --json",
    )
}


class ChampionKilled(Exception):
    """A champion that is killed, and so scores nothing unless it is named."""

    def __init__(self, model: str, version: str, reason: str) -> None:
        super().__init__(
            f"model '{model}' is killed: {reason}. Score with a version that you name, such as --version {version}, or "
            f"let the model answer again: charkha revive {model}"
        )


def score(
    context: typer.Context,
    *,
    model: ModelName = None,
    given: Annotated[
        list[str],
        typer.Option("--input", "-i", metavar="FILES", help="Parquet, CSV or Arrow: file, folder or glob. May repeat."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", file_okay=False, metavar="DIR", help="Where the parts go.")],
    version: Annotated[
        str | None, typer.Option("--version", metavar="VERSION", help="Whose scores, such as v3; else the champion's.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="COLUMN", help="The column with each row's time.", show_default=False)
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="TIME", help="One time for rows that have none: 2013-08-25.")
    ] = None,
    bad_rows: Annotated[
        str, typer.Option("--bad-rows", metavar="HOW", help="Of rows a server would refuse: refuse all, or score null.")
    ] = "refuse",
    explain: Annotated[
        int | None,
        typer.Option("--explain", min=1, max=50, metavar="N", help="Say of each row its N strongest reasons as well."),
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Score all rows again, whatever is there.")] = False,
    rows_at_once: Annotated[
        int, typer.Option(min=1, metavar="N", help="Rows in a part: fewer take less memory, and more time.")
    ] = 1 << 19,
    json: AsJson = False,
) -> None:
    """Score files of rows: the numbers that charkha serve would answer, to the bit.

    The input has the model's request fields; its other columns are passed through. The output has all of them, and
    time, score, decision, rules, model and version.

    A row with a time, in the column that --at names or that is called as the label's at=, is answered as it would have
    been then; --as-of is one time for all rows, where they have none of their own. Without a time rows are answered
    now, from the online state.

    Rows that a server would refuse are named, and nothing is scored; with --bad-rows null their score is null, and a
    column says the problem. Nothing is written to the prediction log.

    With --explain a column has the features that moved each score most, and what each added: the server's ?reasons=N.

    Stopped or killed, the same command goes on where it was; parts that are there already are kept. Where all are, rows
    without a time are not passed off as scored now: give another folder, or --anew.
    """
    from charkha.clock import SystemClock
    from charkha.serving.bulk.explained import Explain
    from charkha.serving.bulk.files import row_files
    from charkha.serving.bulk.run import Scoring, score_files
    from charkha.spec.sources import Files

    if bad_rows not in ("refuse", "null"):
        raise typer.BadParameter(f"expected refuse or null, got {bad_rows!r}.", param_hint="--bad-rows")
    if at is not None and as_of is not None:
        raise typer.BadParameter("expected a time from --at or from --as-of, got both.", param_hint="--as-of")
    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    written_as = chosen.label.source.data
    files = row_files(given, Path.cwd(), written_as if isinstance(written_as, Files) else None)
    with opened(project) as home, parts(session.err) as on_progress:
        scoring = Scoring(
            project=project,
            home=home,
            clock=SystemClock(),
            model=chosen,
            version=version_of(home, chosen, version),
            files=files,
            at=time_column(chosen, files, at, as_of),
            as_of_us=None if as_of is None else as_of_us(as_of),
            bad_rows="null" if bad_rows == "null" else "refuse",
            explain=None if explain is None else Explain(explain, chosen.reasons),
            rows_at_once=rows_at_once,
            anew=anew,
        )
        written = score_files(scoring, output, on_progress)
    bad = problems_in(written) if bad_rows == "null" else 0
    if json:
        session.print_json(
            {
                "model": chosen.name,
                "version": scoring.version,
                "rows": files.height,
                "bad_rows": bad,
                "parts": [str(path) for path in written],
            }
        )
    else:
        when = f"each row's {scoring.at}" if scoring.at else as_of or "now"
        scored = f"{files.height - bad:,} rows scored by {chosen.name} {scoring.version} as of {when}"
        without = f", {bad:,} could not be" if bad else ""
        count = f"{len(written):,} part{'' if len(written) == 1 else 's'}"
        session.out.print(f"{scored}{without}, in {count}: {output}", highlight=False, soft_wrap=True)


def version_of(home: "Home", model: "Model", version: str | None) -> str:
    """Return the version that scores. Raises BadParameter, NoChampion, and ChampionKilled where that may not answer."""
    from charkha.cli.deploy import require_version
    from charkha.serving.service import NoChampion

    if version is not None:
        require_version(home, model.name, version)
        return version
    champion, killed = home.ledger.deployment(model.name).champion, home.ledger.killed().get(model.name)
    if champion is None:
        raise NoChampion(model.name)
    if killed is not None:
        raise ChampionKilled(model.name, champion.version, killed.reason)
    return champion.version


def time_column(model: "Model", files: "RowFiles", at: str | None, as_of: str | None) -> str | None:
    """Return the column with the rows' times; None where there is none. Raises BadParameter, also where one time is
    said for rows that have their own: a row from before it would be scored with what was known only later.
    """
    if at is not None and at not in files.schema:
        found = ", ".join(files.schema.names())
        raise typer.BadParameter(f"expected a column of the input ({found}), got {at!r}.", param_hint="--at")
    if at is not None:
        return at
    own = model.label.at if model.label.at in files.schema else None
    if own is not None and as_of is not None:
        raise typer.BadParameter(
            f"expected rows without a time of their own, got the column {own!r}. Leave --as-of away to score each row "
            "as of its own time, or rename the column to score all as of one.",
            param_hint="--as-of",
        )
    return own


def as_of_us(as_of: str) -> int:
    """Return a time that has come, in µs. Raises BadParameter."""
    from charkha.cli.data import moment
    from charkha.clock import SystemClock

    time_us = moment(as_of)
    if time_us > SystemClock().now():
        raise typer.BadParameter(f"expected a time that has come, got {as_of}.", param_hint="--as-of")
    return time_us


def problems_in(written: list[Path]) -> int:
    """Return how many rows of parts could not be scored."""
    import polars as pl

    return int(pl.scan_parquet(written).select(pl.col("problem").is_not_null().sum()).collect().item())
