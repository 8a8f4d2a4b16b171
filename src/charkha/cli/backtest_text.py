"""A backtest on the terminal: policies side by side and month by month, why they retrained, and what was found."""

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from charkha.cli.session import Session

if TYPE_CHECKING:
    from charkha.operations.backtest.results import Backtest, Tried

# A schedule's retrainings say nothing that its name does not say.
SHOWN_WHY = 12


def show_backtest(session: Session, shown: "Backtest") -> None:
    """Print a backtest."""
    from charkha.operations.wording import metric_name

    out = session.out
    better = "higher" if shown.higher_is_better else "lower"
    out.print(
        f"[bold]{shown.model}[/]: {shown.predictions:,} predictions, {shown.labels:,} labels, {shown.since[:10]} to "
        f"{shown.until[:10]}; {metric_name(shown.metric)}, {better} is better",
        highlight=False,
    )
    for words in shown.put_in:
        out.print(f"[dim]put in:[/] {escape(words)}", highlight=False)
    out.print(policies_table(shown))
    out.print(months_table(shown))
    for tried in shown.tried:
        show_reasons(session, shown, tried)
    out.print(escape(advice(shown)), highlight=False)


def policies_table(shown: "Backtest") -> Table:
    """Return one line for each policy: what it gave, and what it cost."""
    windows = len({each.window for each in shown.tried}) > 1
    table = Table("policy", *(["window"] if windows else []), box=None, header_style="dim", pad_edge=False)
    priced = any(each.money is not None for each in shown.tried)
    columns = ("metric", "short of best", "retrainings", "promoted", "waits", "incidents", "CPU s")
    for name in (*columns, *(["cost"] if priced else [])):
        table.add_column(name, justify="right")
    best = shown.best
    for each in shown.tried:
        short = shown.shortfall(each, best) if best else None
        cells = [
            "–" if each.overall is None else f"{each.overall:.4f}",
            "–" if short is None else f"{short:.2%}",
            f"{len(each.trained)}",
            f"{each.promotions}",
            f"{each.held}",
            f"{len(each.incidents)}",
            f"{each.train_cpu_seconds + each.look_cpu_seconds:.1f}",
        ]
        name = f"[green]{escape(each.policy)}[/]" if each is best else escape(each.policy)
        money = ["–" if each.money is None else f"{each.money:.2f}"] if priced else []
        table.add_row(name, *([escape(each.window)] if windows else []), *cells, *money)
    return table


def months_table(shown: "Backtest") -> Table:
    """Return the metric of each month, a column for each policy."""
    table = Table("month", box=None, header_style="dim", pad_edge=False)
    table.add_column("labels", justify="right")
    for name in names(shown):
        table.add_column(escape(name), justify="right")
    months = sorted({month.month for each in shown.tried for month in each.months})
    for name in months:
        found = [next((month for month in each.months if month.month == name), None) for each in shown.tried]
        labels = max((month.metric.n for month in found if month), default=0)
        values = [None if month is None else month.metric.value for month in found]
        table.add_row(name, f"{labels:,}", *("–" if value is None else f"{value:.4f}" for value in values))
    return table


def names(shown: "Backtest") -> list[str]:
    """Return what each policy is called: with its window where there are several."""
    windows = len({each.window for each in shown.tried}) > 1
    return [f"{each.policy} {each.window}" if windows else each.policy for each in shown.tried]


def show_reasons(session: Session, shown: "Backtest", tried: "Tried") -> None:
    """Print when and why a policy retrained, where the calendar is not the reason, and the incidents it found."""
    name = names(shown)[shown.tried.index(tried)]
    if not tried.fixed:
        for each in tried.retrainings[:SHOWN_WHY]:
            words = f"{each.time[:10]} {name} retrained: {each.why} ({each.outcome}: {each.detail})"
            session.out.print(escape(words), highlight=False)
        if len(tried.retrainings) > SHOWN_WHY:
            more = len(tried.retrainings) - SHOWN_WHY
            session.out.print(f"and {more} more: --json and --html have all", highlight=False)
    for incident in tried.incidents[:SHOWN_WHY]:
        until = incident.closed[:10] if incident.closed else "the end"
        words = f"{incident.opened[:10]} to {until} {name} found {incident.cause}: {incident.what}; {incident.answer}"
        session.out.print(escape(words), highlight=False)


def advice(shown: "Backtest") -> str:
    """Return what follows: the best, and the one that gives nearly as much for less."""
    best, frugal = shown.best, shown.frugal
    if best is None or frugal is None:
        return "no month has labels enough to say how any policy did"
    called = dict(zip(map(id, shown.tried), names(shown), strict=True))
    words = f"best: {called[id(best)]}, {best.overall:.4f} with {len(best.trained)} retrainings"
    if frugal is best:
        return f"{words}; none within 1 % of it retrains less"
    return f"{words}; within 1 % of it with fewest: {called[id(frugal)]}, {len(frugal.trained)} retrainings"
