"""`charkha history`: what was decided, by whom and why; and whether anybody changed it afterwards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from charkha.cli.options import AsJson, ModelName
from charkha.cli.session import Session, choose_model, opened_to_read, session_of

if TYPE_CHECKING:
    from charkha.storage.home import Home
    from charkha.storage.ledger import Decision

EXAMPLES = {
    "history": (
        "charkha history",
        "charkha history likes --limit 5 --json",
        "charkha history --verify",
        "charkha history --export decisions.jsonl",
    )
}


def history(
    context: typer.Context,
    *,
    model: ModelName = None,
    limit: Annotated[int, typer.Option(min=1, help="How many decisions to show, the newest.")] = 20,
    verify: Annotated[bool, typer.Option("--verify", help="Check the chain of hashes over all decisions.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write all decisions with their hashes, one JSON a line."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show the decisions in the ledger: what was done, by whom, why, and on which evidence.

    Each decision holds the hash of the one before it, so that none can be changed or taken out unseen.

    Exits with 1 when --verify finds that the chain is broken.
    """
    session = session_of(context)
    project = session.project()
    name = None if model is None else choose_model(project, model).name
    with opened_to_read(project) as home:
        if verify:
            print_verified(session, home.ledger.verify(), json=json)
        elif export is not None:
            print_exported(session, home, export)
        else:
            decisions = home.ledger.decisions(name)[-limit:]
            print_decisions(session, decisions, json=json)


def print_verified(session: Session, number: int, *, json: bool) -> None:
    """Print that the chain holds."""
    if json:
        session.print_json({"decisions": number, "intact": True})
    else:
        session.out.print(f"{number} decisions, and the chain of their hashes is intact", highlight=False)


def print_exported(session: Session, home: "Home", file: Path) -> None:
    """Write all decisions to a file."""
    from charkha.governance.audit import export_ledger

    with file.open("w", encoding="utf-8") as stream:
        number = export_ledger(home.ledger, stream)
    session.out.print(f"{number} decisions written to {file}", highlight=False, soft_wrap=True)


def print_decisions(session: Session, decisions: "list[Decision]", *, json: bool) -> None:
    """Print decisions, the oldest first."""
    if json:
        session.print_json(decisions)
        return
    if not decisions:
        session.out.print("no decisions yet: the first training makes one")
        return
    session.out.print(decision_table(decisions))


def decision_table(decisions: "list[Decision]") -> Table:
    """Return decisions as a table."""
    from charkha.clock import to_iso

    table = Table("#", "time", "model", "who", "what", "why", box=None, header_style="dim", pad_edge=False)
    for decision in decisions:
        time = to_iso(decision.time_us)[:16].replace("T", " ")
        who, why = escape(decision.actor), escape(decision.reason)
        table.add_row(str(decision.sequence), time, decision.model, who, f"[bold]{decision.action}[/]", why)
    return table
