"""`charkha report drift`: the usual tables of one version: drift, data quality, quality by slice, the target."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from charkha.cli import status
from charkha.cli.options import AsJson, ModelName
from charkha.cli.pages import require_folder, write_page
from charkha.cli.quality_text import show_answers, show_data
from charkha.cli.session import Session, choose_model, opened, session_of

if TYPE_CHECKING:
    from charkha.monitoring.drift_report import DriftReport
    from charkha.spec.model import Model
    from charkha.spec.project import Project
    from charkha.storage.home import Home

EXAMPLES = {
    "drift": (
        "charkha report drift likes",
        "charkha report drift likes --window 7d --html drift.html",
        "charkha report drift likes --json | jq '.features[] | select(.band == \"act\").name'",
    )
}
COLOURS = {"stable": "green", "watch": "yellow", "act": "red", None: "dim"}


class NothingServed(Exception):
    """A version that scored nothing in a time."""

    def __init__(self, model: str, version: str, window: str) -> None:
        super().__init__(
            f"model {model!r}, version {version!r}: expected predictions in the last {window}, found none. A longer "
            "--window looks further back; another --version may have served"
        )


def drift(
    context: typer.Context,
    *,
    model: ModelName = None,
    window: Annotated[
        str | None, typer.Option(metavar="DURATION", help=r"How much is looked at. \[default: that of ck.Monitors]")
    ] = None,
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Which version; the champion unless given.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write it as one HTML file, with every bin.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Report how far each feature and the score have moved since training, and the quality of data and answers.

    PSI and CSI come with the action bands of banks: below 0.1 stable, up to 0.25 watch, above it act; none with too few
    rows to say so. That something moved does not say that it harms: charkha diagnose does.
    """
    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    require_folder("--html", html)
    with opened(project) as home:
        report = report_of(project, chosen, home, window or chosen.monitors.window, version)
    if json:
        session.print_json(report)
    else:
        show(session, report)
    if html is not None:
        from charkha.web.drift_page import render_drift

        write_page(html, lambda: render_drift(report))


COMMANDS: dict[str, Callable[..., None]] = {"drift": drift}


def report_of(project: "Project", model: "Model", home: "Home", window: str, version: str | None) -> "DriftReport":
    """Return the report of a version; what was logged is collected first. Raises BadParameter and NothingServed."""
    import polars as pl

    from charkha.bundles.store import BundleStore
    from charkha.cli.deploy import require_version
    from charkha.monitoring.collect import collect
    from charkha.monitoring.data_quality import served_rows
    from charkha.monitoring.drift_report import drift_report
    from charkha.monitoring.outcomes import OutcomeReader
    from charkha.monitoring.performance import Span
    from charkha.monitoring.profiles import ProfileReader
    from charkha.monitoring.recorded import arrivals
    from charkha.monitoring.traffic import ARRIVALS
    from charkha.spec.durations import parse_duration

    try:
        length_us = parse_duration(window)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="--window") from None
    if version is not None:
        require_version(home, model.name, version)
    bundles, replayed_us = BundleStore(home.bundles), status.end_of_replay(home)
    collect(home, model, bundles)
    now_us = status.now() if replayed_us is None else replayed_us
    span = Span(max(0, now_us - length_us), now_us + 1)
    manifest = bundles.manifest(model.name, version or _champion(home, model.name))
    profile = ProfileReader(home, model.name, bundles).profile(manifest.version, span.since_us, span.until_us)
    if profile is None:
        raise NothingServed(model.name, manifest.version, window)
    matured_us = now_us - model.label.delay_us
    outcomes = OutcomeReader(home, model).outcomes(span.since_us, max(span.since_us, matured_us), now_us)
    came = [arrivals(source, project.root, home.log, span) for source in model.sources]
    frames = pl.concat([pl.DataFrame(schema=ARRIVALS), *came])
    given = served_rows(home, model, manifest.version, list(manifest.shape.parts), span)
    return drift_report(model, manifest, span, current=profile, outcomes=outcomes, arrivals=frames, given=given)


def _champion(home: "Home", model: str) -> str:
    from charkha.serving.service import NoChampion

    champion = home.ledger.deployment(model).champion
    if champion is None:
        raise NoChampion(model)
    return champion.version


def show(session: Session, report: "DriftReport") -> None:
    """Print a report: the index of each feature with its band and quality, then answers by slice, then the target."""
    session.out.print(f"[bold]{report.model}[/] {report.version}: {report.score.rows:,} predictions", highlight=False)
    session.out.print(feature_table(report))
    show_data(session, report.data)
    if report.quality:
        session.out.print(quality_table(report))
    show_answers(session, report)
    if report.target is not None:
        before, now = report.target
        words = f"target: mean label {now:.4g} over {report.labels:,} labels, {before:.4g} in training"
        session.out.print(words, highlight=False)
    for each in report.sources:
        words = f"source {each.source}: {each.rows:,} rows came, {each.duplicates:,} of them again"
        session.out.print(escape(words), highlight=False)


def feature_table(report: "DriftReport") -> Table:
    """Return the score and the features, those that moved most first."""
    table = Table("feature", "band", box=None, header_style="dim", pad_edge=False)
    for name in ("PSI", "95 %", "null", "was", "stranger", "was", ""):
        table.add_column(name, justify="right")
    for each in (report.score, *report.by_movement):
        index = (
            ("", "")
            if each.index is None
            else (f"{each.index.value:.3f}", f"{each.index.low:.2f} to {each.index.high:.2f}")
        )
        shares = (f"{share:.1%}" for pair in (each.nulls, each.strangers) for share in reversed(pair))
        band = f"[{COLOURS[each.band]}]{each.band_words}[/]"
        table.add_row(escape(each.name), band, *index, *shares, "constant" if each.constant else "")
    return table


def quality_table(report: "DriftReport") -> Table:
    """Return each metric of all rows and of each slice."""
    table = Table("metric", "of", box=None, header_style="dim", pad_edge=False)
    for name in ("value", "95 %", "labels"):
        table.add_column(name, justify="right")
    for each in report.quality:
        found, of_what = each.estimate, f"{each.field}={each.value}" if each.field else "all"
        interval = f"{found.low:.4f} to {found.high:.4f}"
        table.add_row(each.metric, escape(of_what), f"{found.value:.4f}", interval, f"{found.n:,}")
    return table
