"""`charkha rollout`: the version on its way to be the champion: begun, looked at, approved or ended by hand."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from charkha.cli.deploy import Reason, announce, require_version
from charkha.cli.options import AsJson, ModelName
from charkha.cli.session import Session, choose_model, opened, opened_to_read, person, session_of

EXAMPLES = {
    "start": ('charkha rollout start likes v3 --reason "new films are in it"',),
    "status": ("charkha rollout status likes", "charkha rollout status likes --json | jq .difference"),
    "promote": ('charkha rollout promote likes --reason "the sale begins tonight, and it is better so far"',),
    "abort": ('charkha rollout abort likes --reason "complaints since noon"',),
    "approve": (
        'charkha rollout approve likes --reason "seen with the film team"',
        'charkha rollout approve likes --decline --reason "not before the sale is over"',
    ),
}
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Which model.")]


def start(
    context: typer.Context,
    *,
    model: Model,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version that is to be tried, such as v3.")],
    reason: Reason,
    force: Annotated[bool, typer.Option("--force", help="Also a version whose gates failed.")] = False,
    json: AsJson = False,
) -> None:
    """Begin the rollout of a version of your choice, at the first stage that the model declares.

    The operator takes it from there: shadow, canary, A/B test, champion, each when it is ready. It begins by itself
    with the newest version that passed its gates; this is for another one, or one that was rejected before.
    """
    from charkha.clock import SystemClock
    from charkha.operations.rollout.by_hand import start_rollout

    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    with opened(project) as home:
        require_version(home, chosen.name, version)
        decision = start_rollout(home, SystemClock(), chosen, version, actor=person(), reason=reason, force=force)
    stage = decision.evidence["stage"]
    announce(session, decision, f"the rollout of {version} of {chosen.name} begins: {stage}", json=json)


def status(context: typer.Context, model: ModelName = None, json: AsJson = False) -> None:
    """Show at which stage a rollout is, on which evidence, and what would end it.

    Nothing is changed. What was logged after the operator's last look is not counted yet. Every difference is shown
    with a confidence sequence: it may be looked at as often as you like.
    """
    from charkha.cli.status import end_of_served
    from charkha.monitoring.performance import Span
    from charkha.operations.look import look
    from charkha.operations.rollout.features import feature_changes
    from charkha.operations.rollout.status import status_of

    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    with opened_to_read(project) as home:
        situation = look(chosen, home, end_of_served(home))
        trial = situation.progress.trial if situation.progress else None
        changes = None
        if trial is not None and trial.stage == "shadow":
            pair = (trial.champion, trial.version)
            changes = feature_changes(home, chosen.name, pair, Span(trial.since_us, situation.now_us))
        found = status_of(situation, chosen, home.ledger.decisions(chosen.name), changes)
    if json:
        session.print_json(found)
    else:
        show(session, found)


def promote(context: typer.Context, *, model: Model, reason: Reason, json: AsJson = False) -> None:
    """Make the version on its way the champion now, before its rollout has come to it.

    Where two persons have to agree, whoever trained it or started it cannot.
    """
    from charkha.clock import SystemClock
    from charkha.operations.rollout.by_hand import promote_rollout

    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    with opened(project) as home:
        decision = promote_rollout(home, SystemClock(), chosen, actor=person(), reason=reason)
    announce(session, decision, f"{decision.evidence['version']} is the champion of {chosen.name}", json=json)


def abort(context: typer.Context, *, model: Model, reason: Reason, json: AsJson = False) -> None:
    """Take the version on its way out now, at whichever stage: the champion answers everybody again.

    Every server follows within a quarter of a second. The operator does not try the version again; charkha rollout
    start does.
    """
    from charkha.clock import SystemClock
    from charkha.operations.rollout.by_hand import abort_rollout

    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    with opened(project) as home:
        decision = abort_rollout(home, SystemClock(), chosen, actor=person(), reason=reason)
    words = f"the rollout of {decision.evidence['version']} of {chosen.name} is aborted"
    announce(session, decision, words, json=json)


def approve(
    context: typer.Context,
    *,
    model: Model,
    declined: Annotated[bool, typer.Option("--decline", help="Let it not be done; it is not proposed again.")] = False,
    reason: Reason,
    json: AsJson = False,
) -> None:
    """Approve what the operator proposes for the version on its way, or decline it; as charkha proposals does.

    The operator promotes it at its next look, if it still holds. Declined, the rollout ends.
    """
    from charkha.clock import SystemClock
    from charkha.operations.answering import approve as approve_step
    from charkha.operations.answering import decline, open_proposals
    from charkha.operations.rollout.by_hand import on_its_way

    session = session_of(context)
    project = session.project()
    chosen = choose_model(project, model)
    with opened(project) as home:
        version = on_its_way(home, chosen).version
        asked = [each.key for each in open_proposals(home, chosen.name) if f"/promote/{version}/" in each.key]
        answer = decline if declined else approve_step
        key = asked[0] if asked else f"{chosen.name}/promote/{version}"
        decision = answer(home, SystemClock(), chosen.name, key, actor=person(), reason=reason)
    said = "declined" if declined else "approved"
    announce(session, decision, f"{said}: {decision.evidence['proposes']}", json=json)


COMMANDS: dict[str, Callable[..., None]] = {
    "start": start,
    "status": status,
    "promote": promote,
    "abort": abort,
    "approve": approve,
}


def show(session: Session, found: dict[str, Any]) -> None:
    """Print where a rollout is."""

    def line(word: str, text: str) -> None:
        session.out.print(f"  [dim]{word:<10}[/]{escape(text)}", highlight=False)

    session.out.print(f"[bold]{found['model']}[/]  rollout", highlight=False)
    line("stage", f"{found['stage']} since {found['since']}" if found["version"] else found["stage"])
    if found["version"]:
        line("version", f"{found['version']} beside {found['champion']}, started by {found['started_by']}")
    if found["shadow"]:
        line("shadow", shadow_in_words(found["shadow"]))
    if found["arms"]:
        session.out.print(arm_table(found["arms"], found["metric"]))
    if found["difference"]:
        line("difference", found["difference"]["words"])
        line("planned", f"{found['difference']['of_planned_information']:.0%} of the planned information is there")
    if found["guards"]:
        line("guards", ", ".join(f"{name} {state}" for name, state in found["guards"].items()))
    for ending in found["ends_when"]:
        line("ends", ending)
    for proposal in found["proposals"]:
        line("proposed", f"{proposal['proposes']}: charkha rollout approve {found['model']} --reason …")
    if found["next"]:
        line("next", f"{found['next']['step']}: {found['next']['reason']}")
    if found["last"]:
        last = found["last"]
        line("last", f"{last['version']} {last['outcome']} by {last['by']} at {last['at']}: {last['reason']}")


def shadow_in_words(found: dict[str, Any]) -> str:
    """Return what a shadow showed, in a line."""
    said = [
        f"{found['requests']:,} requests scored",
        f"{found['calls_without_a_score']:,} of {found['calls']:,} calls without a score",
        f"{found['decided_otherwise']:,} of {found['decided']:,} decided otherwise",
    ]
    if found["latency_p95_ms"] is not None:
        said.append(f"p95 {found['latency_p95_ms']:.3g} ms, the champion's {found['champion_latency_p95_ms']:.3g} ms")
    if found["mean_score_difference"] is not None:
        said.append(f"scores differ by {found['mean_score_difference']:.3g} on average")
    if found["features"]:
        said.append(f"features that differ: {', '.join(each['feature'] for each in found['features'])}")
    return "; ".join(said)


def arm_table(arms: list[dict[str, Any]], metric: str) -> Table:
    """Return both arms as a table, the champion first. metric: what is compared.

    Of each its mean, over those of the matured predictions of which it is known.
    """
    from charkha.operations.wording import metric_name

    heads = ("arm", "share", "requests", "entities", "errors", "p95 ms", "matured", metric_name(metric))
    table = Table(*heads, box=None, header_style="dim", pad_edge=False)
    for arm in arms:
        latency = "" if arm["latency_p95_ms"] is None else f"{arm['latency_p95_ms']:.3g}"
        mean = "" if arm["mean"] is None else f"{arm['mean']:.5g}"
        counts = (arm["requests"], arm["entities"], arm["failed_entities"])
        known = f"{arm['labels']:,} of {arm['of_matured_predictions']:,}"
        figures = [f"{arm['share']:.4g}", *(f"{count:,}" for count in counts), latency, known, mean]
        table.add_row(escape(str(arm["version"])), *figures)
    return table
