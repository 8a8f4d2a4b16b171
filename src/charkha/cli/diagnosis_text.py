"""A diagnosis on the terminal: what a person wants to read at 2 a.m., in that order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from charkha.cli.session import Session

if TYPE_CHECKING:
    from charkha.monitoring.diagnosis.incident import Diagnosis, Hypothesis
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
    for rivals in alike(found.rivals):
        first, more = rivals[0], len(rivals) - 1
        why = f"ruled out: {first.against}" if first.against else "stands as well"
        others = f", nor {more} more such" if more else ""
        told = f"{escape(first.kind)} ({first.cause}){others}, {escape(why)}"
        session.out.print(f"  [dim]not[/] {told}", highlight=False, soft_wrap=True)
    if standing:
        ids = ", ".join(each.id for each in standing)
        session.out.print(
            f"open: {escape(ids)}; more: charkha incidents show {escape(standing[0].id)}", highlight=False
        )


def alike(rivals: "Sequence[Hypothesis]") -> "list[list[Hypothesis]]":
    """Return rivals by what they are and what rules them out: a feed that stops makes null whatever it tells."""
    found: dict[tuple[str, str], list[Hypothesis]] = {}
    for rival in rivals:
        found.setdefault((rival.cause, rival.against), []).append(rival)
    return list(found.values())


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
