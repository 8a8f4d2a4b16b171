"""Drills on the terminal: one line for each incident, what could not be told and why, and the sum of it."""

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from charkha.cli.session import Session

if TYPE_CHECKING:
    from charkha.operations.drills.drilled import Drilled, Power


def show_power(session: Session, power: "Power", *, sizes: bool) -> None:
    """Print what drills showed. sizes: whether the smallest size that would be seen was looked for."""
    from charkha.monitoring.diagnosis.wording import moment

    span = f"{moment(power.watched.since_us)} to {moment(power.watched.until_us)}"
    session.out.print(f"[bold]{power.model}[/]: {power.predictions:,} predictions of {span}", highlight=False)
    session.out.print(table_of(power, sizes=sizes))
    for each in power.drilled:
        if each.verdict == "left_out":
            session.out.print(f"[dim]{each.kind} is left out:[/] {escape(each.reason)}", highlight=False)
    session.out.print(summary_of(power), highlight=False)


def table_of(power: "Power", *, sizes: bool) -> Table:
    """Return the drills that were made, each with how it ended."""
    columns = ["incident", "of", "outcome", "after", "named", *(["smallest seen"] if sizes else [])]
    table = Table(*columns, box=None, header_style="dim", pad_edge=False)
    for each in power.drilled:
        if each.verdict != "left_out":
            cells = [each.kind, escape(each.subject or power.model), outcome(each), after(each), escape(named(each))]
            table.add_row(*cells, *([escape(smallest(each))] if sizes else []))
    return table


def outcome(drilled: "Drilled") -> str:
    """Return how a drill ended, in the colour of it."""
    colour = "green" if drilled.survived else "red" if drilled.judged else "yellow"
    return f"[{colour}]{drilled.verdict.replace('_', ' ')}[/]"


def after(drilled: "Drilled") -> str:
    """Return how long it took to be found."""
    from charkha.spec.durations import DAY_US, HOUR_US

    delay_us = drilled.delay_us
    if delay_us is None:
        return ""
    if delay_us >= 2 * DAY_US:
        return f"{delay_us / DAY_US:.1f} d"
    return f"{delay_us / HOUR_US:.1f} h"


def named(drilled: "Drilled") -> str:
    """Return under which name it was found; a culprit that is another one is said."""
    if drilled.found is None:
        return ""
    wrong = " (another culprit)" if drilled.right_culprit is False else ""
    return f"{drilled.found.headline}{wrong}"


def smallest(drilled: "Drilled") -> str:
    """Return the smallest size that would be seen, beside the usual one; nothing where there are no others."""
    from charkha.operations.drills.sizes import FIXED

    if drilled.smallest is not None:
        usual = "" if drilled.smallest == drilled.size else f" (of {drilled.size:g})"
        return f"{drilled.smallest:.3g}{usual} {drilled.unit.partition(';')[0]}"
    return "none" if drilled.verdict in ("missed", "late") and drilled.unit not in FIXED else ""


def summary_of(power: "Power") -> str:
    """Return in a line or two how many went as they should, and what the others mean."""
    from charkha.operations.drills.drilled import MEANINGS, SURVIVED
    from charkha.operations.wording import count_of

    good, judged = len(power.survived), len(power.judged)
    if not judged:
        lines = ["[yellow]nothing could be told[/]"]
    else:
        lines = [f"[{'green' if good == judged else 'red'}]as it should in {good} of {count_of(judged, 'drill')}[/]"]
    for verdict, count in power.counts.items():
        if verdict not in SURVIVED and verdict != "left_out":
            lines.append(f"  {verdict.replace('_', ' ')} {count}: {escape(MEANINGS[verdict])}")
    return "\n".join(lines)
