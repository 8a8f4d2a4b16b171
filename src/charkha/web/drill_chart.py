"""The plot of drills: a lane for each incident, with its stated window, and when it was found in it or after it.

Pure geometry: the template draws it. All positions are in the units of the drawing's own view box. Time after the
incident began is drawn by its logarithm: an identity is broken within minutes, a concept moves in weeks.
"""

from math import log10

from attrs import frozen

from charkha.operations.drills.drilled import MEANINGS, Drilled, Power
from charkha.spec.drills import CAUSES
from charkha.spec.durations import DAY_US, HOUR_US, MICROS
from charkha.web.month_chart import Tick
from charkha.web.scales import Scale

WIDTH, LEFT, RIGHT, TOP, LANE = 1080, 330, 1010, 34, 25
MINUTE_US = MICROS["m"]
MARKS = {
    "10 min": 10 * MINUTE_US,
    "1 h": HOUR_US,
    "6 h": 6 * HOUR_US,
    "1 d": DAY_US,
    "3 d": 3 * DAY_US,
    "7 d": 7 * DAY_US,
    "14 d": 14 * DAY_US,
    "30 d": 30 * DAY_US,
}


@frozen
class Lane:
    """One drill. window: where its stated window ends; None where the traffic ended before. found: where it was."""

    name: str
    subject: str
    y: float
    window: float | None
    found: float | None
    verdict: str
    title: str


@frozen
class DrillChart:
    """All that is drawn. causes: the name of each group and where its first lane lies."""

    height: float
    lanes: tuple[Lane, ...]
    causes: tuple[Tick, ...]
    times: tuple[Tick, ...]


def drill_chart(power: Power) -> DrillChart | None:
    """Return the plot of drills, by cause; None where none could be told."""
    told = sorted((each for each in power.drilled if each.judged), key=_order)
    if not told:
        return None
    longest_us = max(max(_window_us(each) or 0, each.delay_us or 0) for each in told)
    marks = {text: time_us for text, time_us in MARKS.items() if time_us <= 2 * longest_us} or {
        "10 min": MARKS["10 min"]
    }
    along = Scale(log10(5 * MINUTE_US), log10(max(longest_us, *marks.values())), LEFT, RIGHT)
    lanes, causes, y = [], [], float(TOP)
    for place, each in enumerate(told):
        if place == 0 or each.cause != told[place - 1].cause:
            causes.append(Tick(y + LANE - 8, each.cause))
            y += LANE
        lanes.append(_lane(each, along, y + LANE / 2))
        y += LANE
    times = tuple(Tick(along(log10(time_us)), text) for text, time_us in marks.items())
    return DrillChart(height=y + 10, lanes=tuple(lanes), causes=tuple(causes), times=times)


def _order(drilled: Drilled) -> tuple[int, str, int]:
    return CAUSES.index(drilled.cause), drilled.kind, drilled.seed


def _window_us(drilled: Drilled) -> int | None:
    return None if drilled.deadline_us is None or not drilled.harmful else drilled.deadline_us - drilled.since_us


def _lane(drilled: Drilled, along: Scale, y: float) -> Lane:
    window_us, delay_us = _window_us(drilled), drilled.delay_us
    said = "" if drilled.found is None else f" Said: {drilled.found.headline}"
    return Lane(
        name=drilled.kind,
        subject=drilled.subject or "",
        y=y,
        window=None if window_us is None else along(log10(max(1, window_us))),
        found=None if delay_us is None else along(log10(max(1, delay_us))),
        verdict=drilled.verdict,
        title=f"{drilled.kind}: {MEANINGS[drilled.verdict]}.{said}",
    )
