"""The timeline of a replay in the terminal: its months, its decisions, and what it comes to, within 100 columns.

To be read at a glance: beginnings of shadows are left out and long reasons cut; the report and the ledger have all.
"""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from charkha.operations.replay_summary import DecisionRow, MonthRow, ReplaySummary
from charkha.operations.wording import metric_name
from charkha.web.figures import date_text, decimals_for, metric_text, month_name, seconds_text, size_text
from charkha.web.headline import headline, month_gain
from charkha.web.scales import Scale

WIDTH = 100
BAR = 18
LONGEST_REASON = 150
EIGHTHS = " ▏▎▍▌▋▊▉█"
STYLES = {
    "train": "cyan",
    "train_failed": "red",
    "train_waits": "yellow",
    "shadow": "blue",
    "promote": "bold green",
    "reject": "red",
    "rollback": "yellow",
    "canary": "blue",
    "ab_test": "blue",
    "retract": "red",
    "propose": "yellow",
}


def render_timeline(summary: ReplaySummary) -> RenderableType:
    """Return what a replay showed, for `rich` to print."""
    parts: list[RenderableType] = [_title(summary)]
    if summary.months:
        parts += [Text(), _months(summary)]
    if summary.decisions:
        parts += [Text(), _decisions(summary)]
    return Group(*parts, Text(), _result(summary))


def _title(summary: ReplaySummary) -> Text:
    title = Text(summary.model, "bold")
    title.append(f"  {date_text(summary.from_time)} to {date_text(summary.until_time)}", "not bold")
    title.append(
        f"  {summary.events:,} events and {summary.predictions:,} predictions in {seconds_text(summary.seconds)}",
        "not bold dim",
    )
    return title


def _months(summary: ReplaySummary) -> Table:
    table = Table(box=None, pad_edge=False, width=WIDTH, header_style="dim")
    table.add_column("month", no_wrap=True)
    table.add_column("predictions", justify="right", no_wrap=True)
    table.add_column(f"served {metric_name(summary.metric)}", no_wrap=True)
    table.add_column("never retrained", no_wrap=True)
    table.add_column("gain", justify="right", no_wrap=True)
    table.add_column("answered by", ratio=1)
    scale = _bar_scale(summary)
    decimals = decimals_for([month.served.value for month in summary.months])
    for month in summary.months:
        table.add_row(*_month_cells(month, scale, decimals, higher_is_better=summary.higher_is_better))
    return table


def _month_cells(month: MonthRow, scale: Scale, decimals: int, *, higher_is_better: bool) -> list[Text]:
    gain = month_gain(month, higher_is_better=higher_is_better)
    style = "" if gain is None or round(gain, decimals) == 0 else "green" if gain > 0 else "red"
    return [
        Text(month_name(month.month)),
        Text(f"{month.predictions:,}"),
        _value_and_bar(month.served.value, scale, decimals, "blue"),
        _value_and_bar(month.frozen.value, scale, decimals, "yellow"),
        Text(metric_text(gain, decimals, signed=True), style),
        Text(" → ".join(month.versions)),
    ]


def _value_and_bar(value: float | None, scale: Scale, decimals: int, style: str) -> Text:
    text = Text(metric_text(value, decimals))
    return text if value is None else text.append(" ").append(bar(scale(value)), style)


def _bar_scale(summary: ReplaySummary) -> Scale:
    """Return a scale on which the differences between months are seen: the smallest value still has a short bar."""
    intervals = [interval for month in summary.months for interval in (month.served, month.frozen)]
    values = [interval.value for interval in intervals if interval.value is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    return Scale(low - (high - low) / 4, high, 0.0, BAR)


def bar(length: float) -> str:
    """Return a bar of that many characters, to an eighth."""
    whole, eighths = divmod(round(length * 8), 8)
    return "█" * whole + (EIGHTHS[eighths] if eighths else "")


def _decisions(summary: ReplaySummary) -> Table:
    table = Table(box=None, pad_edge=False, width=WIDTH, header_style="dim", show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for decision in summary.decisions:
        if decision.action == "shadow":
            continue
        table.add_row(*_decision_cells(decision))
    return table


def _decision_cells(decision: DecisionRow) -> list[Text]:
    return [
        Text(date_text(decision.time)),
        Text(decision.action.replace("_", " "), STYLES.get(decision.action, "")),
        Text(decision.version or ""),
        Text(shorten(decision.reason, LONGEST_REASON)),
    ]


def shorten(text: str, longest: int) -> str:
    """Return text of at most `longest` characters, cut between words where there are any, with "…" for the rest."""
    if len(text) <= longest:
        return text
    kept = text[: longest - 1]
    return (kept.rsplit(" ", 1)[0] if " " in kept else kept).rstrip(" ,;:.") + "…"


def _result(summary: ReplaySummary) -> Text:
    """Return the last lines: how the year went, and that served equals recomputed."""
    result, decimals = headline(summary), decimals_for([month.served.value for month in summary.months])
    text = Text(
        f"{summary.retrains} retrained, {summary.promotions} promoted, {summary.rejections} rejected. "
        f"Served and recomputed features differ by {size_text(summary.max_skew)} at most.\n"
    )
    if result.gain is None:
        return text.append("No month has enough labels to say how the model did.")
    text.append(f"Served {metric_name(summary.metric)} {metric_text(result.served, decimals)}, never retrained ")
    text.append(f"{metric_text(result.frozen, decimals)}: ")
    gain = metric_text(result.gain, decimals, signed=True)
    return text.append(gain, "bold green" if result.gain > 0 else "bold red").append(
        f" (mean of the months, better in {result.better}, worse in {result.worse})."
    )
