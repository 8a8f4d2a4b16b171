"""A replay in the terminal: its months, its decisions, and what it all adds up to."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from charkha.operations.replay_summary import DecisionRow, Interval, ReplaySummary

COLOURS = {"promote": "green", "reject": "red", "rollback": "red", "train": "cyan", "shadow": "yellow"}


def print_timeline(console: Console, summary: "ReplaySummary") -> None:
    """Print what a replay showed."""
    title = f"{summary.project}: {summary.model}, {summary.from_time[:10]} to {summary.until_time[:10]}"
    console.print(f"\n[bold]{escape(title)}[/]\n", highlight=False)
    for decision in summary.decisions:
        print_decision(console, decision)
    console.print()
    console.print(month_table(summary))
    console.print(f"\n{totals(summary)}", highlight=False)


def print_decision(console: Console, decision: "DecisionRow") -> None:
    """Print one decision: when, what, which version, why."""
    colour = COLOURS.get(decision.action, "white")
    row = Table.grid(padding=(0, 1))
    row.add_column(width=10, style="dim")
    row.add_column(width=12, style=f"bold {colour}")
    row.add_column()
    row.add_row(decision.time[:10], decision.action, escape(decision.reason))
    console.print(row)


def month_table(summary: "ReplaySummary") -> Table:
    """Return the months: what was served beside what the first champion alone would have got."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("month")
    for column in ("predictions", "labels", f"{summary.metric} served", "never retrained", "gain"):
        table.add_column(column, justify="right")
    table.add_column("versions")
    for month in summary.months:
        table.add_row(
            month.month,
            f"{month.predictions:,}",
            f"{month.labels:,}",
            shown(month.served),
            shown(month.frozen),
            gain(month.served, month.frozen, higher_is_better=summary.higher_is_better),
            " ".join(month.versions),
        )
    return table


def shown(interval: "Interval") -> str:
    """Return a value with half the width of its interval."""
    if interval.value is None:
        return "-"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.4f}"
    return f"{interval.value:.4f} ±{(interval.high - interval.low) / 2:.4f}"


def gain(served: "Interval", frozen: "Interval", *, higher_is_better: bool) -> str:
    """Return by how much what was served is better, in green, or worse, in red."""
    if served.value is None or frozen.value is None:
        return "-"
    better = (served.value - frozen.value) * (1 if higher_is_better else -1)
    if abs(better) < 5e-5:
        return "0"
    return f"[{'green' if better > 0 else 'red'}]{better:+.4f}[/]"


def totals(summary: "ReplaySummary") -> str:
    """Return what a replay adds up to, in two sentences."""
    from charkha.operations.wording import count_of

    skew = "exactly" if summary.max_skew == 0 else f"to {summary.max_skew:.1e} relative"
    return (
        f"{summary.events:,} events, {summary.predictions:,} predictions and {summary.labels:,} labels "
        f"in {summary.seconds:.0f} s; {count_of(summary.retrains, 'retraining')}, "
        f"{count_of(summary.promotions, 'promotion')}, {count_of(summary.rejections, 'rejection')}.\n"
        f"Every served feature was computed again offline: they agree {skew}."
    )
