"""The plot of a backtest: the metric by month, a line for each policy, and below when each retrained.

Pure geometry: the template draws it. All positions are in the units of the drawing's own view box.
"""

from attrs import frozen

from charkha.operations.backtest.results import Backtest, Tried
from charkha.web.figures import date_text, decimals_for, metric_text, moment, month_end, month_name, month_start
from charkha.web.lanes import Period
from charkha.web.month_chart import Tick
from charkha.web.scales import Scale, line_path, nice_ticks

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 1080, 150, 1050, 22, 300
LANE_TOP, LANE = 352, 26
# Told apart on light and on dark paper, also by those who see red and green alike (after Okabe and Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f")


@frozen
class Dot:
    """A measured month, or a retraining: where, what it says, and whether its version came to serve."""

    x: float
    y: float
    title: str
    served: bool = True


@frozen
class PolicyLine:
    """A policy: its colour, its line as path data, the months on it, and its retrainings in a lane of their own."""

    name: str
    colour: str
    line: str
    dots: tuple[Dot, ...]
    lane_y: float
    retrained: tuple[Dot, ...]


@frozen
class PolicyChart:
    """All that is drawn."""

    height: float
    lines: tuple[PolicyLine, ...]
    months: tuple[Tick, ...]
    values: tuple[Tick, ...]


def policy_chart(shown: Backtest, names: tuple[str, ...]) -> PolicyChart | None:
    """Return the plot of a backtest; None where no month has a value. names: of its policies, in their order."""
    values = [month.metric.value for each in shown.tried for month in each.months if month.metric.value is not None]
    if not values:
        return None
    months = sorted({month.month for each in shown.tried for month in each.months})
    start, end = month_start(months[0]), month_end(months[-1])
    period = Period(start, end, Scale(start.timestamp(), end.timestamp(), LEFT, RIGHT))
    ticks = nice_ticks(min(values), max(values))
    up, decimals = Scale(ticks[0], ticks[-1], BOTTOM, TOP), decimals_for(ticks)
    return PolicyChart(
        height=LANE_TOP + LANE * len(shown.tried) + 6,
        lines=tuple(
            _line(each, name, period, up, decimals=decimals, number=number)
            for number, (each, name) in enumerate(zip(shown.tried, names, strict=True))
        ),
        months=tuple(Tick(_middle(period, name), _short(name)) for name in _told_apart(months)),
        values=tuple(Tick(up(value), metric_text(value, decimals)) for value in ticks),
    )


def _line(tried: Tried, name: str, period: Period, up: Scale, *, decimals: int, number: int) -> PolicyLine:
    dots = [
        Dot(
            _middle(period, month.month),
            up(month.metric.value),
            f"{month_name(month.month)}, {name}: {metric_text(month.metric.value, decimals)}, "
            f"{month.metric.n:,} labels",
        )
        for month in tried.months
        if month.metric.value is not None
    ]
    lane_y = LANE_TOP + LANE * number + LANE / 2
    return PolicyLine(
        name=name,
        colour=COLOURS[number % len(COLOURS)],
        line=line_path([(dot.x, dot.y) for dot in dots]),
        dots=tuple(dots),
        lane_y=lane_y,
        retrained=tuple(
            Dot(
                period.x(moment(each.time)),
                lane_y,
                f"{date_text(each.time)}, {name}: {each.outcome}. {each.why}",
                served=each.outcome == "promoted",
            )
            for each in tried.retrainings
        ),
    )


def _middle(period: Period, month: str) -> float:
    return round((period.x(month_start(month)) + period.x(month_end(month))) / 2, 1)


def _short(month: str) -> str:
    start = month_start(month)
    return f"{start:%b %Y}" if start.month == 1 else f"{start:%b}"


def _told_apart(months: list[str]) -> list[str]:
    """Return so many of the months that their names do not touch."""
    return months[:: -(-len(months) // 14)]
