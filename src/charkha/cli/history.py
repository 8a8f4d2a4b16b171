"""`charkha history`: what was decided, by whom and why; what was in production at a time; and whether anybody changed
it afterwards."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from charkha.cli.options import AsJson
from charkha.cli.pages import require_folder
from charkha.cli.session import Session, choose_model, opened_to_read, session_of

if TYPE_CHECKING:
    from charkha.spec.project import Project
    from charkha.storage.home import Home
    from charkha.storage.ledger import Decision
    from charkha.storage.ledger.anchors import Anchor

EXAMPLES = {
    "history": (
        "charkha history",
        "charkha history likes --limit 5 --json",
        "charkha history likes --at 2026-03-01",
        "charkha history --export decisions.jsonl",
        "charkha history --verify",
        "charkha history --verify decisions.jsonl --anchors anchors.jsonl",
    )
}
Wanted = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL", help="Which model; all of them unless given. With --verify, an exported file in its place."
    ),
]


def history(
    context: typer.Context,
    *,
    model: Wanted = None,
    limit: Annotated[int, typer.Option(min=1, help="How many decisions to show, the newest.")] = 20,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Show what was in production then, and what put it there.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check the chain of hashes over all decisions.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write all decisions with their hashes, one JSON a line."),
    ] = None,
    anchors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, exists=True, help="With --verify: what charkha anchor wrote, to hold it to."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show the decisions in the ledger: what was done, by whom, why, and on which evidence.

    Each decision holds the hash of the one before it, so that none can be changed or taken out unseen; --verify also
    compares what stands in production with what was decided. That the whole
    was not written anew, anchors tell (charkha anchor): --verify holds the chain to the file that the project's
    settings name, and to one that is given.

    Exits with 1 when --verify finds that the chain is broken, that something else serves than was decided, or that the
    declared file of anchors lacks one that was written to it.
    """
    session = session_of(context)
    require_folder("--export", export)
    if verify and model is not None and Path(model).is_file():
        print_verified_file(session, Path(model), anchors, json=json)
        return
    project = session.project()
    name = None if model is None else choose_model(project, model).name
    with opened_to_read(project) as home:
        if verify:
            print_verified(session, project, home, anchors, json=json)
        elif export is not None:
            print_exported(session, home, export)
        elif at is not None:
            from charkha.cli.history_at import print_standing

            print_standing(session, project, home, name, at, json=json)
        else:
            decisions = home.ledger.decisions(name)[-limit:]
            print_decisions(session, decisions, json=json)


def print_verified(session: Session, project: "Project", home: "Home", anchors: Path | None, *, json: bool) -> None:
    """Print that the chain holds, and to how many anchors it was held.

    Raises BrokenChain, ChangedDeployment, BrokenAnchor and AnchorsGone.
    """
    from charkha.governance.audit import verify_ledger
    from charkha.operations.anchoring import require_anchored
    from charkha.storage.ledger.anchors import read_anchors

    declared = project.anchors.file if project.anchors else None
    files = {path.resolve() for path in (declared, anchors) if path is not None and path.exists()}
    found = [each for path in sorted(files) for each in read_anchors(path, project.name)]
    number = verify_ledger(home.ledger, found)
    written = declared is not None and require_anchored(home.ledger, declared, found)
    _say_verified(session, number, found, home.ledger.uncovered_generations(), json=json)
    if declared is not None and not written and not declared.exists():
        said = f"{declared} is declared, and was never written to: nothing was anchored there yet (charkha anchor)"
        session.err.print(escape(said), highlight=False, soft_wrap=True)


def print_verified_file(session: Session, file: Path, anchors: Path | None, *, json: bool) -> None:
    """Print that an exported chain holds, with no database and no project. Raises as `print_verified`."""
    from charkha.governance.audit import verify_export
    from charkha.storage.ledger.anchors import read_anchors

    found = [] if anchors is None else read_anchors(anchors, None)
    with file.open(encoding="utf-8") as lines:
        number = verify_export(lines, found)
    _say_verified(session, number, found, None, json=json)


def _say_verified(session: Session, number: int, anchors: "list[Anchor]", uncovered: int | None, *, json: bool) -> None:
    held = [each for each in anchors if each.sequence <= number]
    beyond = max((each.sequence for each in anchors if each.sequence > number), default=None)
    if json:
        told = {"decisions": number, "intact": True, "anchors": len(held), "anchored_beyond": beyond}
        if uncovered is not None:
            told["uncovered_generations"] = uncovered
        session.print_json(told)
        return
    words = f"{number} decisions, and the chain of their hashes is intact"
    if uncovered is not None:
        words += "; what they put into production stands"
    if held:
        newest = max(held, key=lambda each: each.sequence)
        words += f"; it has all that was anchored ({len(held)}, the newest at decision {newest.sequence})"
    session.out.print(words, highlight=False)
    if uncovered:
        session.out.print(
            f"{uncovered} generations were decided before the chain covered which versions they put into production"
        )
    if beyond is not None:
        session.out.print(f"the ledger was anchored at decision {beyond}, up to which this copy does not reach")


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
    from charkha.operations.two_persons import BREAK_GLASS

    table = Table("#", "time", "model", "who", "what", "why", box=None, header_style="dim", pad_edge=False)
    for decision in decisions:
        time = to_iso(decision.time_us)[:16].replace("T", " ")
        who, why = escape(decision.actor), escape(decision.reason)
        what = f"[bold]{decision.action}[/]"
        if BREAK_GLASS in decision.evidence:
            what += " [red](break-glass)[/]"
        table.add_row(str(decision.sequence), time, decision.model, who, what, why)
    return table
