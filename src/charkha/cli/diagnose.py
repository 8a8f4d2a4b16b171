"""`charkha diagnose`: what broke, where, since when, and what to do about it; or that nothing did."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from charkha.cli import status
from charkha.cli.options import AsJson, HealthyBefore, ModelName, Recomputed
from charkha.cli.pages import require_folder, write_page
from charkha.cli.session import Session, choose_model, opened, session_of

if TYPE_CHECKING:
    from charkha.monitoring.diagnosis.case import Case
    from charkha.monitoring.diagnosis.incident import Diagnosis
    from charkha.operations.case import Question
    from charkha.operations.notifier import Notifier
    from charkha.spec.model import Model
    from charkha.spec.project import Project
    from charkha.storage.home import Home
    from charkha.storage.ledger import Incident

EXAMPLES = {
    "diagnose": (
        "charkha diagnose",
        "charkha diagnose likes --window 2d --report likes.html --postmortem likes.md",
        "charkha diagnose likes --until 2013-09-01 --json | jq '{headline, began, remedy}'",
    )
}
FOUND = 3
WAIT_SECONDS = 10.0
# For a webhook that did not answer of late: enough for one that is there again.
SILENT_SECONDS = 0.5


def diagnose(
    context: typer.Context,
    *,
    model: ModelName = None,
    window: Annotated[
        str | None, typer.Option(metavar="DURATION", help=r"How much is looked at, up to its end. \[default: 7d]")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Look at what is since then, instead.")] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Look back at a time that ends then; nothing is recorded.")
    ] = None,
    healthy: HealthyBefore = "28d",
    sample: Recomputed = 2_000,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write a page with plots: one HTML file.")
    ] = None,
    postmortem: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the draft of a post-mortem in Markdown.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Look at what a model served: is something wrong, what is at fault, since when, and what is to be done?

    What is found is an incident in the ledger, opened once and brought up to date by later looks; webhooks are told.
    It needs predictions of at least a week before the window to compare with. Servers may run.

    Exits with 0 when nothing is wrong, or a shift harms nobody; with 3 when something is.
    """
    from attrs import evolve

    from charkha.monitoring.diagnosis.incidents import observe

    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    require_folder("--report", report)
    require_folder("--postmortem", postmortem)
    with opened(project) as home:
        question = question_of(home, window=window, since=since, until=until, healthy=healthy, sample=sample)
        case, found = look(session, project, chosen, home, evolve(question, profiles=True))
        standing = [] if until else observe(home.ledger, found)
        with telling(session, project, home):
            show(session, case, found, standing, json=json)
            written(case, found, report, postmortem)
    raise typer.Exit(FOUND if found.is_incident else 0)


def diagnoser() -> "Callable[[Case], Diagnosis]":
    """Return what makes a diagnosis of a case."""
    from charkha.monitoring.diagnosis.diagnose import diagnose as made

    return made


def question_of(
    home: "Home", *, window: str | None, since: str | None, until: str | None, healthy: str, sample: int
) -> "Question":
    """Return what is to be looked at. Raises BadParameter."""
    from charkha.operations.case import WINDOW_US, Question

    if window is not None and since is not None:
        raise typer.BadParameter("expected one of --since and --window, got both.", param_hint="--since")
    latest_us = status.end_of_served(home)
    now_us = latest_us if until is None else min(latest_us, _time_us(until, "--until"))
    if since is None:
        window_us = WINDOW_US if window is None else _length_us(window, "--window")
    else:
        window_us = now_us - _time_us(since, "--since")
        if window_us <= 0:
            raise typer.BadParameter("expected a time before the end of what is looked at.", param_hint="--since")
    return Question(now_us=now_us, window_us=window_us, healthy_us=_length_us(healthy, "--healthy"), sample=sample)


def _time_us(text: str, option: str) -> int:
    from charkha.clock import parse_time

    try:
        return parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _length_us(text: str, option: str) -> int:
    from charkha.spec.durations import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint=option) from None


def look(
    session: Session, project: "Project", model: "Model", home: "Home", question: "Question"
) -> "tuple[Case, Diagnosis]":
    """Return a case and its diagnosis, showing what is being done."""
    from charkha.cli.progress import steps
    from charkha.engines.local import LocalEngine
    from charkha.monitoring.diagnosis.money import priced
    from charkha.operations.case import case_of

    with steps(session.err) as on_step:
        case = case_of(project, model, home, question, engine=LocalEngine(), on_step=on_step)
        total, looked = case.traffic.total, case.traffic.predictions.height
        on_step(f"looking at {looked:,} {f'of {total:,} ' if total else ''}predictions")
        return case, priced(diagnoser()(case), case, model)


def sampled(case: "Case") -> dict[str, int] | None:
    """Return how many predictions there were and how many of them were looked at; None where all were."""
    traffic = case.traffic
    return None if traffic.total is None else {"predictions": traffic.total, "looked_at": traffic.predictions.height}


@contextmanager
def telling(session: Session, project: "Project", home: "Home") -> Iterator[None]:
    """Tell the webhooks what they were not told yet, while something else is done; then wait for a little."""
    from charkha.operations.notifier import Notifier

    notifier = Notifier(home.ledger, project.webhooks)
    notifier.tell(status.now())
    try:
        yield
    finally:
        _waited(session, notifier)


def _waited(session: Session, notifier: "Notifier") -> None:
    if not notifier.wait(WAIT_SECONDS, for_silent=SILENT_SECONDS):
        session.err.print("a webhook has not answered yet: it is told at the next look", highlight=False)
    for trouble in notifier.troubles:
        session.err.print(escape(trouble), highlight=False)


def show(session: Session, case: "Case", found: "Diagnosis", standing: "list[Incident]", *, json: bool) -> None:
    """Print a diagnosis, as text or as JSON, with the incidents that are open."""
    if json:
        session.print_json({**plain(found, standing), "sampled": sampled(case)})
    else:
        from charkha.cli.diagnosis_text import show_diagnosis

        show_diagnosis(session, found, standing)
        if told := sampled(case):
            words = (
                f"of {told['predictions']:,} predictions, a sample of {told['looked_at']:,} looked at: numbers of rows"
            )
            session.out.print(f"  [dim]{'sampled':<11}[/]{words} are of the sample", highlight=False, soft_wrap=True)


def written(case: "Case", found: "Diagnosis", report: Path | None, postmortem: Path | None) -> None:
    """Write the files that were asked for. Raises NotWritten."""
    from charkha.web.incident_page import render_incident
    from charkha.web.postmortem import render_postmortem

    write_page(postmortem, lambda: render_postmortem(found, case.traffic.changes))
    write_page(report, lambda: render_incident(case, found))


def plain(found: "Diagnosis", standing: "list[Incident]") -> dict[str, Any]:
    """Return a diagnosis for `--json`, with the ids of the incidents that are open."""
    from charkha.monitoring.diagnosis.documents import as_document

    return {**as_document(found), "incidents": [each.id for each in standing]}
