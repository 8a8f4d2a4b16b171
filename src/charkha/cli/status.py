"""`charkha status`: who serves, how it does, and what the operator would do next."""

from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from charkha.cli.options import AsJson, ModelName
from charkha.cli.session import Session, choose_model, opened_to_read, session_of

if TYPE_CHECKING:
    from charkha.operations.situation import Situation
    from charkha.operations.steps import Step
    from charkha.spec.model import Model
    from charkha.spec.project import Project
    from charkha.storage.home import Home

EXAMPLES = {"status": ("charkha status", "charkha status likes --json | jq '.[0].champion'")}


def status(context: typer.Context, model: ModelName = None, json: AsJson = False) -> None:
    """Show for each model who serves, how it does on the newest labels, and what the operator would do next.

    Nothing is changed. What was logged after the operator's last look is not counted yet. In the home of a replay the
    state is that at its end.
    """
    session = session_of(context)
    project = session.project()
    models = list(project.models.values()) if model is None else [choose_model(project, model)]
    with opened_to_read(project) as home:
        states = [state_of(project, each, home) | {"operator": operator_in_words(home)} for each in models]
    if json:
        session.print_json(states)
        return
    for state in states:
        show(session, state)


def state_of(project: "Project", model: "Model", home: "Home") -> dict[str, Any]:
    """Return what is to be said of a model."""
    from charkha.clock import to_iso
    from charkha.operations.decide import decide
    from charkha.operations.look import champion_since, look
    from charkha.operations.outlook import outlook
    from charkha.operations.runs.listing import as_noted, states_of

    replayed_us = end_of_replay(home)
    runs = home.ledger.runs(model.name)
    situation = as_noted(look(model, home, now() if replayed_us is None else replayed_us), runs)
    deployment, step = situation.deployment, decide(situation, model)
    last = home.ledger.decisions(model.name)[-1:]
    since_us = champion_since(home.ledger.deployments(model.name))
    return {
        "model": model.name,
        "owner": model.owner,
        "as_of": to_iso(situation.now_us),
        "replay": replayed_us is not None,
        "generation": deployment.generation,
        "since": to_iso(since_us) if deployment.generation else None,
        "champion": deployment.champion.version if deployment.champion else None,
        "killed": killed_in_words(home, model.name),
        "shares": {assignment.version: assignment.share for assignment in deployment.serving},
        "shadows": [assignment.version for assignment in deployment.shadows],
        "waiting": [waiting.version for waiting in situation.waiting if waiting.passed],
        "versions": list(situation.versions),
        "metric": model.metrics[0],
        "tested": situation.reference,
        "served": served(situation),
        "findings": [finding.message for finding in situation.findings if finding.significant],
        "incidents": [each.id for each in situation.incidents if each.status == "open"],
        "running": [f"{each.run.key}: {each.in_words}" for each in states_of(home.ledger, model.name) if each.is_open],
        "last_decision": last[0] if last else None,
        "next": next_of(step),
        "outlook": None if step else outlook(situation, model),
    }


def killed_in_words(home: "Home", model: str) -> str | None:
    """Return since when, by whom and why a model is on its fallback; None while it answers."""
    from charkha.clock import to_iso

    decision = home.ledger.killed().get(model)
    return None if decision is None else f"since {to_iso(decision.time_us)} by {decision.actor}: {decision.reason}"


def now() -> int:
    """Return the time (µs)."""
    from charkha.clock import SystemClock

    return SystemClock().now()


def operator_in_words(home: "Home") -> str | None:
    """Return who leads, and since when; None while no operator does."""
    from charkha.clock import to_iso
    from charkha.operations.lease import leader_of

    leader = leader_of(home.ledger, now())
    return None if leader is None else f"{leader.process} leads since {to_iso(leader.since_us)}, term {leader.term}"


def end_of_replay(home: "Home") -> int | None:
    """Return when the newest of what a replay did happened (µs); None for a home that no replay has made.

    What a person decides there later has the time of then, and ends nothing.
    """
    from charkha.cli.replay import is_of_replay
    from charkha.features.progress import newest_known
    from charkha.monitoring.diagnosis.incidents import ACTOR
    from charkha.operations.rollout.trial import OPERATOR

    if not is_of_replay(home.folder):
        return None
    with home.online.read() as state:
        by_itself = (each.time_us for each in home.ledger.decisions() if each.actor in (ACTOR, OPERATOR))
        return max([newest_known(state), *by_itself])


def end_of_served(home: "Home") -> int:
    """Return until when a home has served (µs): now, or when the replay that made it ends."""
    replayed_us = end_of_replay(home)
    return now() if replayed_us is None else replayed_us + 1


def served(situation: "Situation") -> dict[str, Any] | None:
    """Return the champion's performance on the matured labels of the monitors' window."""
    health = situation.health
    if health is None or health.estimate is None:
        return None
    return {"labels": health.labels, "value": health.estimate}


def next_of(step: "Step | None") -> dict[str, str] | None:
    """Return what the operator would do, and why."""
    from charkha.operations.wording import step_in_words

    return None if step is None else {"step": step_in_words(step), "reason": step.reason}


def show(session: Session, state: dict[str, Any]) -> None:
    """Print the state of one model in a few lines."""
    from charkha.cli.beside import shares_in_words
    from charkha.operations.wording import metric_name

    def line(word: str, text: str) -> None:
        session.out.print(f"  [dim]{word:<10}[/]{escape(text)}", highlight=False)

    session.out.print(f"[bold]{state['model']}[/]  {escape(state['owner'])}", highlight=False)
    if state["replay"]:
        line("as of", f"{state['as_of']}, when the replay ends")
    else:
        line("operator", state["operator"] or "none leads: charkha operate")
    line("champion", f"{state['champion']} since {state['since']}" if state["champion"] else "none: charkha train")
    if state["killed"]:
        line("killed", state["killed"])
    if len(state["shares"]) > 1:
        line("shares", shares_in_words(state["shares"]))
    for word in ("shadows", "waiting"):
        if state[word]:
            line(word, ", ".join(state[word]))
    metric = metric_name(state["metric"])
    if state["tested"]:
        line("tested", f"{metric} {interval(state['tested'])}")
    if state["served"]:
        line("served", f"{metric} {interval(state['served']['value'])}, {state['served']['labels']:,} labels")
    for finding in state["findings"]:
        line("finding", finding)
    for run in state["running"]:
        line("running", run)
    if state["incidents"]:
        line("incidents", f"{', '.join(state['incidents'])} open: charkha incidents {state['model']}")
    if state["last_decision"]:
        line("last", f"{state['last_decision'].action.replace('_', ' ')}: {state['last_decision'].reason}")
    line("next", f"{state['next']['step']}: {state['next']['reason']}" if state["next"] else state["outlook"])


def interval(measured: Any) -> str:
    """Return an estimate as text."""
    return f"{measured.value:.4f} ({measured.low:.4f} to {measured.high:.4f})"
