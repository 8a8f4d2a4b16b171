"""`charkha explain` and `charkha replay-decision`: one decision of the ledger, told and made again."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from charkha.cli.data_tables import when
from charkha.cli.options import AsJson
from charkha.cli.session import Session, opened_to_read, session_of

if TYPE_CHECKING:
    from charkha.operations.hindsight.explain import Explanation, Link
    from charkha.operations.hindsight.otherwise import Otherwise
    from charkha.operations.hindsight.rerun import Rerun
    from charkha.spec.model import Model
    from charkha.spec.project import Project
    from charkha.storage.home import Home
    from charkha.storage.ledger import Decision

EXAMPLES = {
    "explain": ("charkha explain 12", "charkha explain likes/promote/v3/4 --json"),
    "replay_decision": ("charkha replay-decision 12", "charkha replay-decision likes/train/2 --json"),
}
# More have no number that a ledger counts to: such a name is no decision's.
MOST_DIGITS = 18
Wanted = Annotated[str, typer.Argument(metavar="DECISION", help="Its number in charkha history, or its key.")]


def explain(context: typer.Context, decision: Wanted, *, json: AsJson = False) -> None:
    """Tell a decision: in words, its evidence, what led to it, what followed, and what would have been otherwise.

    The last is an estimate: the other version, whose bundle is kept, is scored on the logged features of the labelled
    predictions since. Where nothing can be measured, the reason is told.
    """
    from charkha.cli.status import end_of_served
    from charkha.operations.hindsight.explain import explain as explain_decision

    session = session_of(context)
    project = session.project()
    with opened_to_read(project) as home:
        found, model = find(project, home, decision)
        told = explain_decision(home, model, found, max(end_of_served(home), found.time_us))
    if json:
        session.print_json(told)
    else:
        show(session, told)


def replay_decision(context: typer.Context, decision: Wanted, *, json: AsJson = False) -> None:
    """Decide again what the operator decided, on what was known then, and compare.

    The definition and the rules are those of now; what is no longer kept as it was is said. Changes nothing.

    Exits with 1 when the rules come to another step.
    """
    from charkha.cli.status import end_of_served
    from charkha.operations.hindsight.rerun import rerun

    session = session_of(context)
    project = session.project()
    with opened_to_read(project) as home:
        found, _ = find(project, home, decision)
        again = rerun(project, home, found, max(end_of_served(home), found.time_us))
    if json:
        session.print_json(again)
    else:
        show_again(session, again)
    raise typer.Exit(1 if again.verdict == "differs" else 0)


def find(project: "Project", home: "Home", name: str) -> "tuple[Decision, Model]":
    """Return a decision and its model. Raises UnknownDecision, and BadParameter for a model that is gone."""
    numbered = name.isascii() and name.isdigit() and len(name) <= MOST_DIGITS
    found = home.ledger.decision(int(name) if numbered else name)
    if found.model not in project.models:
        known = ", ".join(project.models)
        said = f"expected a decision about one of the project's models ({known}), it is about {found.model!r}."
        raise typer.BadParameter(said, param_hint="DECISION")
    return found, project.models[found.model]


def show(session: Session, told: "Explanation") -> None:
    """Print an explanation."""
    decision = told.decision
    session.out.print(f"[bold]decision {decision.sequence}[/]  {escape(decision.key)}", highlight=False)
    session.out.print(escape(told.words), highlight=False)
    if told.evidence:
        table = Table("evidence", "", box=None, header_style="dim", pad_edge=False)
        for name, value in told.evidence:
            table.add_row(escape(name), escape(value))
        session.out.print(table)
    _show_links(session, "what led to it", told.before)
    _show_links(session, "what followed", told.after)
    if told.left_out:
        session.out.print(f"[dim]and {told.left_out} more: charkha history {escape(decision.model)}[/]")
    for line in otherwise_lines(told.otherwise):
        session.out.print(line, highlight=False)


def _show_links(session: Session, title: str, links: "tuple[Link, ...]") -> None:
    if not links:
        session.out.print(f"[dim]{title}: nothing[/]", highlight=False)
        return
    table = Table(title, "", "", box=None, header_style="dim", pad_edge=False)
    for link in links:
        name = f"decision {link.number}" if link.number is not None else f"{link.kind} {link.name}"
        table.add_row(when(link.time_us), escape(name), escape(link.words))
    session.out.print(table)


def otherwise_lines(found: "Otherwise") -> list[str]:
    """Return what would have happened otherwise, in words."""
    from charkha.operations.wording import count_of, digits_for, figure, metric_name, with_interval

    lines = [f"[dim]otherwise[/]  {escape(found.question)}:"]
    if not found.measured or found.instead is None or found.actual is None or found.loss is None:
        return [*lines, f"  not measurable: {escape(found.reason)}"]
    digits = digits_for(found.difference or found.instead)
    means = f"{figure(found.instead.value, digits)} in place of {figure(found.actual.value, digits)}"
    labels = count_of(found.labels, "matured label")
    lines.append(f"  an estimate: {metric_name(found.loss)} {means} on {labels} since")
    if found.difference is not None:
        worse = "worse" if found.difference.value > 0 else "better"
        lines.append(f"  {worse} by {with_interval(found.difference, digits, signed=True)}, paired by day")
    if found.decided_otherwise is not None:
        lines.append(f"  {found.decided_otherwise:,} of {found.labels:,} would have been decided otherwise")
    return [*lines, f"  [dim]{escape(found.reason)}[/]"]


_VERDICTS = {
    "equal": "[green]equal[/]: the rules come to the same step, on the same figures",
    "same_step": "[green]the same step[/], on other figures",
    "differs": "[red]differs[/]: the rules come to another step",
    "unseen": "[yellow]cannot be told[/]: the rules come to another step, but what was known then is not all kept",
    "not_by_rule": "not by a rule of the operator: there is nothing to make again",
}


def show_again(session: Session, again: "Rerun") -> None:
    """Print what the rules say now of a decision."""
    decision = again.decision
    session.out.print(f"[bold]decision {decision.sequence}[/]  {escape(decision.key)}: {_VERDICTS[again.verdict]}")
    session.out.print(f"  then  {escape(decision.action)}: {escape(decision.reason)}", highlight=False)
    if again.verdict not in ("equal", "not_by_rule"):
        now = "nothing" if again.again is None else f"{again.again.action}: {again.again.reason}"
        session.out.print(f"  now   {escape(now)}", highlight=False)
    for each in again.differing:
        values = f"{_told(each.then)} then, {_told(each.now)} now"
        session.out.print(f"  {escape(each.name)}: {escape(values)}", highlight=False)
    for words in again.unseen:
        session.out.print(f"  [dim]not as it was: {escape(words)}[/]", highlight=False)


def _told(value: Any) -> str:
    return "–" if value is None else str(value)
