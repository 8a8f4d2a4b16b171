"""`charkha incidents`: what went wrong, what is still open, and closing it by hand."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from charkha.cli.data_tables import when
from charkha.cli.options import AsJson, ModelName
from charkha.cli.session import choose_model, opened, opened_to_read, person, session_of

if TYPE_CHECKING:
    from charkha.storage.ledger import Incident

EXAMPLES = {
    "list_incidents": ("charkha incidents list", "charkha incidents likes --all --json"),
    "show": ("charkha incidents show likes-1", "charkha incidents show likes-1 --json"),
    "close": ("charkha incidents close likes-1 --reason 'the feed is back since 9:30'",),
}
Id = Annotated[str, typer.Argument(metavar="ID", help="Of the incident, such as likes-1.")]


class ListUnlessNamed(TyperGroup):
    """A group whose first word may be left out: `charkha incidents likes` lists those of likes. word: that one."""

    word = "list"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the word before what is none of the group's words."""
        known = {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if args and args[0] in known else [self.word, *args])


def list_incidents(
    context: typer.Context,
    *,
    model: ModelName = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that are closed or merged.")] = False,
    json: AsJson = False,
) -> None:
    """List incidents: since when, the cause, who is at fault, and what becomes of them.

    The word list may be left out: charkha incidents MODEL.
    """
    session = session_of(context)
    project = session.project()
    name = None if model is None else choose_model(project, model).name
    with opened_to_read(project) as home:
        found = [each for each in home.ledger.incidents(name) if every or each.status == "open"]
    if json:
        session.print_json([plain(each) for each in found])
    elif not found:
        session.out.print("no incidents" if every else "no incident is open", highlight=False)
    else:
        session.out.print(incident_table(found))


def show(context: typer.Context, id_: Id, *, json: AsJson = False) -> None:
    """Show one incident as it was last diagnosed, and how it came there."""
    from charkha.cli.diagnosis_text import show_diagnosis
    from charkha.monitoring.diagnosis.documents import from_document
    from charkha.monitoring.diagnosis.incidents import INCIDENT_ACTIONS, find

    session = session_of(context)
    with opened_to_read(session.project()) as home:
        incident = find(home.ledger, id_)
        decisions = [each for each in home.ledger.decisions(incident.model) if each.evidence.get("incident") == id_]
    if json:
        session.print_json(plain(incident))
        return
    session.out.print(f"[bold]{escape(incident.id)}[/]  {state_of(incident)}", highlight=False)
    show_diagnosis(session, from_document(incident.diagnosis))
    for each in decisions:
        if each.action in INCIDENT_ACTIONS:
            words = f"{when(each.time_us)}  {each.action.removeprefix('incident_')} by {each.actor}: {each.reason}"
            session.out.print(f"  [dim]{escape(words)}[/]", highlight=False)


def close(
    context: typer.Context,
    id_: Id,
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it is over; kept in the ledger.")],
) -> None:
    """Close an incident by hand. What began before does not open it again for a day; looks go on.

    An incident closes by itself once there was no evidence of it for a day.
    """
    from charkha.cli import status
    from charkha.monitoring.diagnosis.incidents import close as close_incident
    from charkha.monitoring.diagnosis.incidents import find

    session = session_of(context)
    with opened(session.project()) as home:
        incident = find(home.ledger, id_)
        closed = close_incident(home.ledger, incident, person(), reason, status.now())
    if incident.status != "open":
        session.out.print(f"{id_} was closed before: {state_of(closed)}", highlight=False)
    else:
        session.out.print(f"{id_} is closed", highlight=False)


COMMANDS: dict[str, Callable[..., None]] = {"list": list_incidents, "show": show, "close": close}


def plain(incident: "Incident") -> dict[str, Any]:
    """Return an incident for `--json`."""
    from attrs import asdict

    return {"id": incident.id, **asdict(incident, recurse=False)}


def state_of(incident: "Incident") -> str:
    """Return what became of an incident, in words."""
    if incident.status == "merged":
        return f"merged into {incident.model}-{incident.merged_into}"
    if incident.closed_us is None:
        return f"open since {when(incident.opened_us)}"
    return f"closed {when(incident.closed_us)}" + (f" by {incident.closed_by}" if incident.closed_by else "")


def incident_table(found: "list[Incident]") -> Table:
    """Return incidents as a table."""
    table = Table("id", "state", "since", "cause", "at fault", "what", box=None, header_style="dim", pad_edge=False)
    for each in found:
        what = str(each.diagnosis.get("kind", ""))
        told = (each.id, state_of(each), when(each.began_us), each.cause, each.culprit, what)
        table.add_row(*map(escape, told))
    return table
