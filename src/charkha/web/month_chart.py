"""The plot of the months: the metric of what was served beside the frozen model's, and below it who reigned when.

Pure geometry: the template draws it. All positions are in the units of the drawing's own view box.
"""

from collections.abc import Sequence

from attrs import evolve, frozen

from charkha.operations.replay_summary import Interval, MonthRow, ReplaySummary
from charkha.web.figures import decimals_for, interval_text, metric_text, month_end, month_name, month_start
from charkha.web.headline import month_gain
from charkha.web.lanes import Period, Span, reign_spans, reigns_within, trial_spans
from charkha.web.scales import Point, Scale, apart, band_path, line_path, nice_ticks

WIDTH, HEIGHT = 1080, 516
LEFT, RIGHT = 78, 910
TOP, BOTTOM = 22, 292
GAIN_TOP, GAIN_BOTTOM = 340, 402
REIGN_TOP, TRIAL_TOP, LANE = 446, 478, 22
DODGE = 5.0
LABEL_GAP = 17.0


@frozen
class Mark:
    """A measured value: its point, its interval as two heights (None without one), and what it says."""

    x: float
    y: float
    low: float | None
    high: float | None
    title: str


@frozen
class Series:
    """The marks of one model, the line through them and the area of their intervals as path data, the end's label."""

    name: str
    marks: tuple[Mark, ...]
    line: str
    band: str
    label: str
    label_y: float


@frozen
class GainBar:
    """A month's gain over the frozen model: a bar from zero, with its figure above or below."""

    x: float
    y: float
    height: float
    text: str
    text_y: float
    better: bool
    title: str


@frozen
class Tick:
    """A place on an axis and what stands beside it."""

    at: float
    text: str


@frozen
class MonthChart:
    """All that is drawn. `promotions`: where a new champion took over; the first is not one."""

    series: tuple[Series, ...]
    months: tuple[Tick, ...]
    borders: tuple[float, ...]
    values: tuple[Tick, ...]
    gains: tuple[GainBar, ...]
    zero_y: float
    promotions: tuple[Tick, ...]
    reigns: tuple[Span, ...]
    trials: tuple[Span, ...]


@frozen
class Axes:
    """Where months and values lie, and with how many decimals values are written."""

    period: Period
    up: Scale
    decimals: int

    def middle(self, month: MonthRow) -> float:
        """Return the middle of a month."""
        return round((self.period.x(month_start(month.month)) + self.period.x(month_end(month.month))) / 2, 1)


def month_chart(summary: ReplaySummary) -> MonthChart | None:
    """Return the plot of a replay; None when no month has a value to plot."""
    months = [month for month in summary.months if month.served.value is not None or month.frozen.value is not None]
    if not months:
        return None
    ticks = nice_ticks(*_extent(months))
    axes = Axes(_period(months), Scale(ticks[0], ticks[-1], BOTTOM, TOP), decimals_for(ticks))
    crowned = reigns_within(summary.decisions, axes.period)
    gains, zero_y = _gains(months, axes, higher_is_better=summary.higher_is_better)
    return MonthChart(
        series=_labelled(
            _series("served", [(month, month.served) for month in months], axes, -DODGE),
            _series("never retrained", [(month, month.frozen) for month in months], axes, DODGE),
        ),
        months=tuple(Tick(axes.middle(month), _short_name(month, first=month is months[0])) for month in months),
        borders=tuple(axes.period.x(month_start(month.month)) for month in months[1:]),
        values=tuple(Tick(axes.up(value), metric_text(value, _places(ticks))) for value in ticks),
        gains=gains,
        zero_y=zero_y,
        promotions=tuple(Tick(axes.period.x(reign.start), reign.version) for reign in crowned[1:]),
        reigns=reign_spans(crowned, axes.period),
        trials=trial_spans(summary.decisions, axes.period),
    )


def _period(months: Sequence[MonthRow]) -> Period:
    start, end = month_start(months[0].month), month_end(months[-1].month)
    return Period(start, end, Scale(start.timestamp(), end.timestamp(), LEFT, RIGHT))


def _extent(months: Sequence[MonthRow]) -> tuple[float, float]:
    """Return the smallest and largest value or bound of an interval."""
    found = [
        value
        for month in months
        for interval in (month.served, month.frozen)
        for value in (interval.value, interval.low, interval.high)
        if value is not None
    ]
    return min(found), max(found)


def _places(ticks: Sequence[float]) -> int:
    """Return how many decimals tell the ticks apart."""
    return next((places for places in range(6) if len({round(tick, places) for tick in ticks}) == len(ticks)), 6)


def _short_name(month: MonthRow, *, first: bool) -> str:
    """Return "May", with the year where one needs telling: on the first month and on every January."""
    start = month_start(month.month)
    return f"{start:%b %Y}" if first or start.month == 1 else f"{start:%b}"


def _series(name: str, measured: Sequence[tuple[MonthRow, Interval]], axes: Axes, dodge: float) -> Series:
    """Return one model's marks, moved aside by `dodge` so that two models do not hide each other's intervals."""
    marks = [_mark(name, month, interval, axes, dodge) for month, interval in measured]
    present = [mark for mark in marks if mark is not None]
    newest = next((interval.value for _, interval in reversed(measured) if interval.value is not None), None)
    return Series(
        name=name,
        marks=tuple(present),
        line=line_path([(mark.x, mark.y) if mark else None for mark in marks]),
        band=band_path(*_bounds(marks)),
        label=metric_text(newest, axes.decimals),
        label_y=present[-1].y if present else float(BOTTOM),
    )


def _mark(name: str, month: MonthRow, interval: Interval, axes: Axes, dodge: float) -> Mark | None:
    if interval.value is None:
        return None
    bounds = interval_text(interval, axes.decimals)
    value = metric_text(interval.value, axes.decimals) + (f" ({bounds})" if bounds else "")
    low, high = (axes.up(bound) if bound is not None else None for bound in (interval.low, interval.high))
    title = f"{month_name(month.month)}, {name}: {value}, {interval.n:,} labels"
    return Mark(axes.middle(month) + dodge, axes.up(interval.value), low, high, title)


def _bounds(marks: Sequence[Mark | None]) -> tuple[list[Point | None], list[Point | None]]:
    """Return both sides of the band; a mark without an interval makes a gap in both."""
    lower: list[Point | None] = []
    upper: list[Point | None] = []
    for mark in marks:
        if mark is None or mark.low is None or mark.high is None:
            lower.append(None)
            upper.append(None)
        else:
            lower.append((mark.x, mark.low))
            upper.append((mark.x, mark.high))
    return lower, upper


def _labelled(first: Series, second: Series) -> tuple[Series, ...]:
    """Return the series that have marks, the labels of both moved apart where they would overlap."""
    one, other = apart(first.label_y, second.label_y, LABEL_GAP)
    both = (evolve(first, label_y=one), evolve(second, label_y=other))
    return tuple(series for series in both if series.marks)


def _gains(months: Sequence[MonthRow], axes: Axes, *, higher_is_better: bool) -> tuple[tuple[GainBar, ...], float]:
    """Return a bar for every month with both values, and the height of zero."""
    gains = [(month, month_gain(month, higher_is_better=higher_is_better)) for month in months]
    known = [(month, gain) for month, gain in gains if gain is not None]
    values = [gain for _, gain in known]
    low, high = min([0.0, *values]), max([0.0, *values])
    # Without any gain the bars are flat: zero then lies where it lies when all gains are good.
    up = Scale(low, high if high > low else 1.0, GAIN_BOTTOM, GAIN_TOP)
    return tuple(_gain_bar(month, gain, axes, up) for month, gain in known), up(0.0)


def _gain_bar(month: MonthRow, gain: float, axes: Axes, up: Scale) -> GainBar:
    end, zero = up(gain), up(0.0)
    text = metric_text(gain, axes.decimals, signed=True)
    return GainBar(
        x=axes.middle(month),
        y=min(end, zero),
        height=round(abs(end - zero), 1),
        text=text,
        text_y=end - 5 if gain >= 0 else end + 13,
        better=gain >= 0,
        title=f"{month_name(month.month)}: what was served was {text} against the model that was never retrained",
    )
