"""The charts of an incident: one timeline for all, on which the onset, its interval and what was changed are marked.

Pure geometry: the template draws it. All positions are in the units of the drawing's own view box.
"""

from collections.abc import Sequence

from attrs import frozen

from charkha.clock import to_datetime
from charkha.monitoring.changes import Change
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.web.incident_series import Blocks, Plot, Values
from charkha.web.scales import Point, Scale, band_path, line_path, nice_ticks

WIDTH, HEIGHT = 1080, 190
LEFT, RIGHT = 78, 1060
TOP, BOTTOM = 14, 158
TICKS_US = (6 * HOUR_US, 12 * HOUR_US, DAY_US, 2 * DAY_US, 7 * DAY_US, 28 * DAY_US)
MOST_TICKS = 12


@frozen
class Mark:
    """A place on the timeline and what it says."""

    x: float
    text: str


@frozen
class Timeline:
    """What all charts share. onset: where it began, None where nothing did; interval: its bounds; window: its start."""

    ticks: tuple[Mark, ...]
    window: float
    onset: Mark | None
    interval: tuple[float, float] | None
    ended: float | None
    changes: tuple[Mark, ...]


@frozen
class Drawn:
    """One chart: its title, lines as (name, path), the band, and the ticks of its values as (height, text)."""

    title: str
    lines: tuple[tuple[str, str], ...]
    band: str
    values: tuple[tuple[float, str], ...]


def timeline(diagnosis: Diagnosis, changes: Sequence[Change], blocks: Blocks) -> Timeline:
    """Return where things lie in time."""
    at = _across(blocks)
    began_us, bounds = diagnosis.began_us, (diagnosis.earliest_us, diagnosis.latest_us)
    shown = [change for change in changes if blocks.span.since_us <= change.time_us < blocks.span.until_us]
    return Timeline(
        ticks=tuple(Mark(at(time_us), _day(time_us)) for time_us in _tick_times(blocks)),
        window=at(diagnosis.watched.since_us),
        onset=None if began_us is None else Mark(at(began_us), f"began {moment_text(began_us)}"),
        interval=None if bounds[0] is None or bounds[1] is None else (at(bounds[0]), at(bounds[1])),
        ended=None if diagnosis.until_us is None else at(diagnosis.until_us),
        changes=tuple(
            Mark(at(each.time_us), f"{moment_text(each.time_us)}, {each.kind} {each.subject}: {each.words}")
            for each in shown
        ),
    )


def drawn(plot: Plot, blocks: Blocks) -> Drawn | None:
    """Return a plot as it is drawn; None when it has no value at all."""
    band = plot.band or ((), ())
    found = [
        value for values in (*(line.values for line in plot.lines), *band) for value in values if value is not None
    ]
    if not found:
        return None
    ticks = nice_ticks(0.0, max(*found, 0.01), 4) if plot.share else nice_ticks(min(found), max(found), 4)
    up = Scale(ticks[0], ticks[-1], BOTTOM, TOP)
    low, high = (_points(values, up, blocks) for values in band)
    both = [(a, b) if a and b else (None, None) for a, b in zip(low, high, strict=True)]
    return Drawn(
        title=plot.title,
        lines=tuple((line.name, line_path(_points(line.values, up, blocks))) for line in plot.lines),
        band=band_path([a for a, _ in both], [b for _, b in both]),
        values=tuple((up(tick), f"{tick:.0%}" if plot.share and ticks[-1] >= 0.05 else f"{tick:g}") for tick in ticks),
    )


def moment_text(time_us: int) -> str:
    """Return a time such as "6 Sep 2013 18:00"."""
    when = to_datetime(time_us)
    return f"{when.day} {when:%b %Y %H:%M}"


def _day(time_us: int) -> str:
    when = to_datetime(time_us)
    return f"{when.day} {when:%b}" if not time_us % DAY_US else f"{when:%H:%M}"


def _across(blocks: Blocks) -> Scale:
    return Scale(float(blocks.span.since_us), float(blocks.span.until_us), LEFT, RIGHT)


def _points(values: Values, up: Scale, blocks: Blocks) -> list[Point | None]:
    """Return the points of a series, each in the middle of its block."""
    at, since_us, length_us = _across(blocks), blocks.span.since_us, blocks.length_us
    return [
        None if value is None else (at(since_us + (place + 0.5) * length_us), up(value))
        for place, value in enumerate(values)
    ]


def _tick_times(blocks: Blocks) -> list[int]:
    length_us = blocks.span.until_us - blocks.span.since_us
    step_us = next((each for each in TICKS_US if length_us / each <= MOST_TICKS), TICKS_US[-1])
    first = -(-blocks.span.since_us // step_us) * step_us
    return list(range(first, blocks.span.until_us, step_us))
