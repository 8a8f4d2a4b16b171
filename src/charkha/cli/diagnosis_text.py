"""A diagnosis on the terminal: what a person wants to read at 2 a.m., in that order."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from charkha.cli.data_tables import when
from charkha.cli.session import Session

if TYPE_CHECKING:
    from charkha.monitoring.diagnosis.incident import Diagnosis, Loss
    from charkha.storage.ledger import Incident

SHOWN_SIGNALS = 8


def show_diagnosis(session: Session, found: "Diagnosis", standing: "Sequence[Incident]" = ()) -> None:
    """Print a diagnosis: the verdict, the facts in a line each, the evidence, and what was ruled out."""
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


def facts(found: "Diagnosis") -> list[tuple[str, str]]:
    """Return what there is to say, each with its word."""
    if found.cause is None:
        return [("looked at", f"{when(found.watched.since_us)} to {when(found.watched.until_us)}")]
    said = [("culprit", found.culprit.words)]
    if found.began_us is not None:
        interval = f"{when(found.earliest_us or found.began_us)} to {when(found.latest_us or found.began_us)}"
        said.append(("since", f"{when(found.began_us)} (95 %: {interval})"))
    if found.until_us is not None:
        said.append(("until", when(found.until_us)))
    said.append(("hits", f"{found.share:.1%} of the traffic"))
    if found.loss is not None:
        said.append(("costs", loss_in_words(found.loss)))
    said.append(("to do", f"{found.remedy.words} [{found.remedy.action}]"))
    said.append(("confidence", f"{found.confidence:.1%}"))
    return said


def loss_in_words(loss: "Loss") -> str:
    """Return what an incident costs in a sentence."""
    how = "estimated" if loss.estimated else "measured"
    said = f"{loss.metric} {loss.now:.4g}, usually {loss.usual:.4g}, {how} over {loss.rows:,} predictions"
    return said if loss.money is None else f"{said}: {loss.money:,.0f} in the unit of the model's costs"


def evidence_table(found: "Diagnosis") -> Table:
    """Return the strongest evidence as a table."""
    table = Table(
        "check", "of", "usually", "now", "rows", "since", "log e", box=None, header_style="dim", pad_edge=False
    )
    for each in found.evidence[:SHOWN_SIGNALS]:
        figures = (figure(each.usual), f"{figure(each.now)} {each.unit}", f"{each.rows:,}", when(each.began_us))
        strength = f"{each.evidence:.1f}" if isfinite(each.evidence) else "exact"
        table.add_row(each.check, escape(each.subject or found.model), *map(escape, figures), strength)
    return table


def figure(value: float) -> str:
    """Return a number of a signal; a dash where there is none."""
    return f"{value:.4g}" if isfinite(value) else "–"
