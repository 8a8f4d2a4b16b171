"""The second chapter of `charkha demo`: a fortnight as it was, and three times more with an incident in it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from charkha.cli.progress import Step, steps
from charkha.cli.session import Session, opened

if TYPE_CHECKING:
    from charkha.monitoring.diagnosis.case import Case
    from charkha.monitoring.diagnosis.incident import DiagnosedCause
    from charkha.operations.drills.acts import Act, Played
    from charkha.spec.model import Model
    from charkha.spec.project import Project

# A fortnight, for what labels tell takes days.
UNTIL, WINDOW, ONSET = "2013-09-23", "14d", "2013-09-11T12:00:00Z"


def acts() -> "tuple[Act, ...]":
    """Return the incidents, in the order in which they are told."""
    from charkha.operations.drills.acts import Act

    return (
        Act(
            name="weather",
            words="The weather feed is frozen: no observation comes any more.",
            kind="late_events",
            subject="observations",
            size=24.0 * 365,
        ),
        Act(
            name="seconds",
            words="United's delays come in seconds instead of minutes.",
            kind="unit_change",
            subject="flights.arr_delay[carrier=UA]",
            size=60.0,
        ),
        Act(
            name="concept",
            words="The world changes, and the data are right: it is now the flights of the morning that are late.",
            kind="concept_sudden",
            subject="schedule.time_of_day",
            size=1.5,
        ),
    )


def tell_incidents(session: Session, project: "Project", model: "Model") -> list[dict[str, Any]]:
    """Look at a fortnight of what was served, as it was and with each incident; print it, and write a page of each.

    Returns the same for `--json`.
    """
    from charkha.cli.diagnosis_text import show_diagnosis
    from charkha.clock import parse_time
    from charkha.monitoring.diagnosis.diagnose import diagnose
    from charkha.operations.drills.acts import played

    session.out.print("\n[bold]A fortnight of September, and three incidents put into it[/]\n", highlight=False)
    with steps(session.err, lines=True) as on_step:
        case = _case(project, model, on_step)
        on_step("looking at it as it was")
        healthy = diagnose(case)
    session.out.print("As it was.", highlight=False)
    show_diagnosis(session, healthy)
    told = [{"act": "none", "headline": healthy.headline, "cause": healthy.cause}]
    for act in acts():
        with steps(session.err, lines=True) as on_step:
            on_step(f"{act.name}: looking every hour")
            result = played(case, act, parse_time(ONSET))
        told.append(tell(session, result, project.home))
    return told


def _case(project: "Project", model: "Model", on_step: Step) -> "Case":
    import polars as pl
    from attrs import evolve

    from charkha.clock import parse_time
    from charkha.engines.local import LocalEngine
    from charkha.operations.case import Question, case_of
    from charkha.spec.durations import parse_duration

    with opened(project) as home:
        question = Question(now_us=parse_time(UNTIL), window_us=parse_duration(WINDOW))
        case = case_of(project, model, home, question, engine=LocalEngine(), on_step=on_step)
    # How long answers took in a replay is of the machine that replays, and of no hour of 2013.
    rows = case.traffic.predictions.with_columns(pl.lit(None, pl.Int64).alias("latency_us"))
    return evolve(case, traffic=evolve(case.traffic, predictions=rows))


def tell(session: Session, result: "Played", home: Path) -> dict[str, Any]:
    """Print what became of an act, and write its page into a home; return the same for `--json`."""
    from charkha.cli.diagnosis_text import show_diagnosis
    from charkha.monitoring.diagnosis.wording import moment
    from charkha.web.incident_page import render_incident

    act, found, page = result.act, result.found, home / f"incident-{result.act.name}.html"
    page.write_text(render_incident(result.case, found), "utf-8")
    session.out.print(f"\n[bold]{escape(act.words)}[/]", highlight=False)
    session.out.print(f"From {moment(result.since_us)} on; {noticed(result)}, looking every hour.", highlight=False)
    show_diagnosis(session, found)
    for word, text in (("retrain?", may_retrain(found.cause)), ("page", str(page))):
        session.out.print(f"  [dim]{word:<11}[/]{escape(text)}", highlight=False, soft_wrap=True)
    return {
        "act": act.name,
        "kind": act.kind,
        "subject": act.subject,
        "began": moment(result.since_us),
        "hours_until_noticed": result.hours,
        "headline": found.headline,
        "cause": found.cause,
        "culprit": dict(found.culprit.named()),
        "remedy": found.remedy.action,
        "page": str(page),
    }


def noticed(result: "Played") -> str:
    """Return in words how long it took until an incident was noticed."""
    if result.hours is None:
        return "not noticed"
    return f"noticed {result.hours:.0f} hour{'' if result.hours == 1 else 's'} later"


def may_retrain(cause: "DiagnosedCause | None") -> str:
    """Return in words whether it helps to train on what came since something with this cause began."""
    from charkha.monitoring.diagnosis.incident import ALLOWED

    if cause is None:
        return "no: nothing was found"
    if "retrain" in ALLOWED[cause]:
        return "yes: the data are right, and what is true has changed; what came since is what to learn from"
    return "no: what would be learnt is the fault, so the operator is not to train on it"
