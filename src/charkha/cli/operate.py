"""`charkha operate`: the loop that watches, trains, promotes and rejects."""

import logging
import threading
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from charkha.cli.session import Session, opened, session_of

if TYPE_CHECKING:
    from charkha.operations.anchoring import Anchoring
    from charkha.operations.notifier import Notifier
    from charkha.operations.operator import Operator
    from charkha.spec.project import Project
    from charkha.storage.home import Home
    from charkha.storage.ledger import Usage

# At the end of one look, webhooks are waited for so long.
WAIT_SECONDS = 10.0
EXAMPLES = {"operate": ("charkha operate", "charkha operate --once")}


def operate(
    context: typer.Context,
    *,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often to look.")] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, do what is due, and end: for a scheduler.")] = False,
) -> None:
    """Run the operator: it looks at what is, decides, does one step, and looks again.

    It joins predictions with their labels, measures drift and performance, trains when that is due by the definition,
    lets new versions run in shadow, and promotes or rejects them. Each decision is written into the ledger with its
    reason. Once an hour it looks for incidents, as charkha diagnose does; no training learns from what is broken.

    It may be stopped or killed at any time: started again, it goes on.
    """
    from charkha.operations.notifier import Notifier

    session = session_of(context)
    project = session.project()
    with opened(project) as home:
        notifier = Notifier(home.ledger, project.webhooks)
        anchoring = anchoring_of(project, home)
        operator = make_operator(project, home, notifier, anchoring)
        if once:
            tick_once(session, project, operator)
            notifier.wait(WAIT_SECONDS)
            if anchoring is not None:
                anchoring.wait(WAIT_SECONDS)
            return
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        session.err.print(f"watching over {', '.join(project.models)} every {every:g} s; stop with Ctrl-C")
        operator.run(every)


def anchoring_of(project: "Project", home: "Home") -> "Anchoring | None":
    """Return what anchors a project's ledger; None where its settings name no place."""
    from charkha.operations.anchoring import Anchoring

    return None if project.anchors is None else Anchoring(home.ledger, project.name, project.anchors)


def make_operator(
    project: "Project", home: "Home", notifier: "Notifier", anchoring: "Anchoring | None" = None
) -> "Operator":
    """Return the operator of a project, which trains and diagnoses in child processes within the models' budgets."""
    from charkha.clock import SystemClock
    from charkha.operations.diagnosis_child import diagnose_in_child
    from charkha.operations.incident_watch import IncidentWatch
    from charkha.operations.metering import OperatorMeter
    from charkha.operations.operator import Operator
    from charkha.operations.training import train_with_drills
    from charkha.training.tracking import MlflowTracker

    clock, tracker = SystemClock(), MlflowTracker(project.home)

    def on_usage(usage: "Usage") -> None:
        home.ledger.record_usage([usage])

    watch = IncidentWatch(
        home.ledger,
        lambda name, now_us: diagnose_in_child(project, project.models[name], now_us, on_usage=on_usage),
        notifier,
    )
    return Operator(
        project,
        home,
        clock,
        lambda order: train_with_drills(order, project, clock, tracker, on_usage=on_usage),
        tracker,
        incidents=watch,
        anchoring=anchoring,
        meter=OperatorMeter(home.ledger, clock),
    )


def tick_once(session: Session, project: "Project", operator: "Operator") -> None:
    """Let the operator do what is due now, and print what it decided; nothing while another one is on duty."""
    from charkha.operations.duty import on_duty

    at_once = threading.Event()
    at_once.set()
    with on_duty(project.home, at_once, 0.0) as duty:
        if duty:
            _tick_models(session, project, operator)
        else:
            session.out.print("another operator is on duty in this home: nothing done", highlight=False)


def _tick_models(session: Session, project: "Project", operator: "Operator") -> None:
    for name in project.models:
        decisions = operator.tick(name)
        for decision in decisions:
            session.out.print(f"{name}: [bold]{decision.action}[/], {escape(decision.reason)}", highlight=False)
        if not decisions:
            session.out.print(f"{name}: nothing to do", highlight=False)
