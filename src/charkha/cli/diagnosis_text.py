"""A diagnosis on the terminal: what a person wants to read at 2 a.m., in that order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from charkha.cli.session import Session

if TYPE_CHECKING:
    from charkha.monitoring.diagnosis.incident import Diagnosis
    from charkha.storage.ledger import Incident

SHOWN_SIGNALS = 8


def show_diagnosis(session: Session, found: "Diagnosis", standing: "Sequence[Incident]" = ()) -> None:
    """Print a diagnosis: the verdict, the facts in a line each, the evidence, and what was ruled out."""
    from charkha.monitoring.diagnosis.wording import facts

    colour = "red" if found.is_incident else "green"
    session.out.print(f"[bold]{found.model}[/]: [{colour}]{escape(found.headline)}[/]", highlight=False)
    for word, text in facts(found):
        session.out.print(f"  [dim]{word:<11}[/]{escape(text)}", highlight=False, soft_wrap=True)
    if found.evidence:
        session.out.print(evidence_table(found))
    for rival in found.rivals:
        why = f"ruled out: {rival.against}" if rival.against else "stands as well"
        session.out.print(f"  [dim]not[/] {escape(rival.kind)} ({rival.cause}), {escape(why)}", highlight=False)
    if standing:
        ids = ", ".join(each.id for each in standing)
        session.out.print(
            f"open: {escape(ids)}; more: charkha incidents show {escape(standing[0].id)}", highlight=False
        )


def evidence_table(found: "Diagnosis") -> Table:
    """Return the strongest evidence as a table."""
    from charkha.monitoring.diagnosis.wording import figure, moment, strength

    table = Table(
        "check", "of", "usually", "now", "rows", "since", "log e", box=None, header_style="dim", pad_edge=False
    )
    for each in found.evidence[:SHOWN_SIGNALS]:
        figures = (figure(each.usual), f"{figure(each.now)} {each.unit}", f"{each.rows:,}", moment(each.began_us))
        table.add_row(each.check, escape(each.subject or found.model), *map(escape, figures), strength(each))
    return table
