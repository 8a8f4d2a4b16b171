"""`charkha operate`: the loop that watches, trains, promotes and rejects."""

import logging
import threading
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import frozen
from rich.markup import escape

from charkha.cli.session import Session, choose_model, opened, session_of

if TYPE_CHECKING:
    from charkha.operations.anchoring import Anchoring
    from charkha.operations.lease import Leadership
    from charkha.operations.notifier import Notifier
    from charkha.operations.operator import Operator
    from charkha.spec.project import Project
    from charkha.storage.home import Home
    from charkha.storage.ledger import Usage
    from charkha.training.pipeline import Candidate, Order

# At the end of one look, webhooks are waited for so long.
WAIT_SECONDS = 10.0
EXAMPLES = {
    "operate": ("charkha operate", "charkha operate --once", "charkha operate likes --once --steps training --wait 600")
}


class Steps(StrEnum):
    """Which steps one look carries out."""

    training = "training"
    rollout = "rollout"


def operate(
    context: typer.Context,
    *,
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="Only this one, with --once.")] = None,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often to look.")] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, do what is due, and end: for a scheduler.")] = False,
    steps: Annotated[
        Steps | None, typer.Option(help="With --once: end before the first step that is of the other kind.")
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="With --once: wait so long while another operator leads.")
    ] = 0.0,
) -> None:
    """Run the operator: it looks at what is, decides, does one step, and looks again.

    It joins predictions with their labels, measures drift and performance, trains when that is due by the definition,
    lets new versions run in shadow, and promotes or rejects them. Each decision is written into the ledger with its
    reason. Once an hour it looks for incidents, as charkha diagnose does; no training learns from what is broken.

    It may be stopped or killed at any time: started again, it goes on. Of several one leads, and the others stand by.

    With --once, exits with 1 when a training failed, or another operator still led when --wait was over.
    """
    from charkha.operations.notifier import Notifier

    session = session_of(context)
    project = session.project()
    if not once and (model, steps) != (None, None):
        raise typer.BadParameter("expected --once with a MODEL or --steps: the loop is for all.", param_hint="--once")
    names = list(project.models) if model is None else [choose_model(project, model).name]
    with opened(project) as home:
        notifier = Notifier(home.ledger, project.webhooks)
        anchoring = anchoring_of(project, home)
        if once:
            well = tick_once(session, project, home, notifier, Once(tuple(names), steps, wait, anchoring))
            notifier.wait(WAIT_SECONDS)
            if anchoring is not None:
                anchoring.wait(WAIT_SECONDS)
            raise typer.Exit(0 if well else 1)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        session.err.print(f"watching over {', '.join(project.models)} every {every:g} s; stop with Ctrl-C")
        operator, _ = make_operator(project, home, notifier, anchoring)
        operator.run(every)


def anchoring_of(project: "Project", home: "Home") -> "Anchoring | None":
    """Return what anchors a project's ledger; None where its settings name no place."""
    from charkha.operations.anchoring import Anchoring

    return None if project.anchors is None else Anchoring(home.ledger, project.name, project.anchors)


def make_operator(
    project: "Project",
    home: "Home",
    notifier: "Notifier",
    anchoring: "Anchoring | None" = None,
    *,
    waiting: bool = False,
) -> "tuple[Operator, Leadership]":
    """Return the operator of a project, and its lead, without which it is not to be used.

    It trains and diagnoses in child processes within the models' budgets, and goes on while they train; waiting: it
    waits for them.
    """
    from charkha.clock import SystemClock
    from charkha.operations.diagnosis_child import diagnose_in_child
    from charkha.operations.incident_watch import IncidentWatch
    from charkha.operations.lease import Leadership
    from charkha.operations.metering import OperatorMeter
    from charkha.operations.operator import Operator
    from charkha.operations.training import desk_of, train_with_drills
    from charkha.training.tracking import MlflowTracker

    clock, tracker = SystemClock(), MlflowTracker(project.home)
    leadership = Leadership(home.ledger, clock)
    mine = leadership.fenced(home)

    def on_usage(usage: "Usage") -> None:
        home.ledger.record_usage([usage])

    watch = IncidentWatch(
        mine.ledger,
        lambda name, now_us: diagnose_in_child(project, project.models[name], now_us, on_usage=on_usage),
        notifier,
    )
    desk = None if waiting else desk_of(project, mine.ledger, clock, tracker, leadership, on_usage=on_usage)

    def train(order: "Order") -> "Candidate":
        return train_with_drills(order, project, clock, tracker, term=leadership.term, on_usage=on_usage)

    made = Operator(
        project,
        mine,
        clock,
        desk.train if desk else train,
        tracker,
        incidents=watch,
        leadership=leadership,
        desk=desk,
        anchoring=anchoring,
        meter=OperatorMeter(home.ledger, clock),
    )
    return made, leadership


@frozen
class Once:
    """One look: at which models, at which steps, and how many seconds to wait for the lead."""

    models: tuple[str, ...]
    steps: Steps | None
    wait_seconds: float
    anchoring: "Anchoring | None" = None


def tick_once(session: Session, project: "Project", home: "Home", notifier: "Notifier", once: Once) -> bool:
    """Let the operator do what is due now, and print what it decided; nothing while another one leads.

    Returns whether it got its turn, if it waited for it, and no training failed.
    """
    operator, leadership = make_operator(project, home, notifier, once.anchoring, waiting=True)
    with leadership.held(threading.Event(), once.wait_seconds) as leads:
        if not leads:
            session.out.print("another operator leads in this home: nothing done", highlight=False)
            return not once.wait_seconds
        well = [_tick_model(session, home, operator, name, once.steps) for name in once.models]
        return all(well)


def _tick_model(session: Session, home: "Home", operator: "Operator", name: str, steps: Steps | None) -> bool:
    from charkha.operations.runs.kinds import is_of

    failed = {run.key for run in home.ledger.runs(name) if run.status == "failed"}
    decisions = operator.tick_while(name, lambda step: steps is None or is_of(step, steps.value))
    for decision in decisions:
        session.out.print(f"{name}: [bold]{decision.action}[/], {escape(decision.reason)}", highlight=False)
    if not decisions:
        session.out.print(f"{name}: nothing to do", highlight=False)
    unwell = [run for run in home.ledger.runs(name) if run.status in ("failed", "running") and run.key not in failed]
    for run in unwell:
        words = "failed" if run.status == "failed" else "has not ended"
        session.err.print(f"{name}: {run.key} {words}: charkha runs show {run.key}", highlight=False)
    return not unwell
