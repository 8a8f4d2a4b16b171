"""The obvious version of every feature: loops over rows, straight from the words of the documentation."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from attrs import frozen

from charkha.spec.aggregates import ALL_US, Measure, Ratio, Window
from charkha.spec.durations import parse_duration
from charkha.spec.views import FeatureView


@frozen
class Event:
    """A row as it arrived: its key as a row, its entity, a value, a text, and its two times (µs)."""

    row_id: int
    entity: str | None
    value: float | None
    text: str | None
    event_us: int
    known_us: int


# Every filter of the tests, by the name of what it filters.
FILTERS: dict[str, Callable[[Event], bool]] = {
    "positive": lambda event: event.value is not None and event.value > 0,
    "marked": lambda event: event.text == "x",
}


def versions(arrived: Sequence[Event]) -> list[tuple[Event, bool]]:
    """Return what counts of rows in order of arrival: repetitions dropped, each with whether it is its row's first.

    All declared columns are content, the one with the known time too.
    """
    newest: dict[int, tuple[object, ...]] = {}
    kept = []
    for event in arrived:
        content = (event.entity, event.value, event.text, event.event_us, event.known_us)
        if newest.get(event.row_id) != content:
            kept.append((event, event.row_id not in newest))
        newest[event.row_id] = content
    return kept


def window_features(
    view: FeatureView, arrived: Sequence[Event], entity: str | None, at_us: int
) -> dict[str, float | None]:
    """Return every feature made of windows, of one entity at one time."""
    values: dict[str, float | None] = {}
    for declared in view.windows:
        if isinstance(declared, Ratio):
            above, below = (window_value(window, arrived, entity, at_us)[0] for window in declared.windows())
            values[declared.name] = None if above is None or not below else above / below
            continue
        for window in declared.windows():
            values.update(zip(window.names, window_value(window, arrived, entity, at_us), strict=True))
    return values


def window_value(window: Window, arrived: Sequence[Event], entity: str | None, at_us: int) -> list[float | None]:
    """Return the features of one window of one entity at one time."""
    nothing: list[float | None] = [None] * len(window.names)
    if entity is None:
        return nothing
    from_us = -math.inf if window.size_us == ALL_US else (at_us // window.hop_us - window.hops) * window.hop_us
    rows = [
        event
        for event, first in versions(arrived)
        if first and event.entity == entity and from_us <= event.known_us <= at_us
    ]
    if window.measure.where is not None:
        kept = FILTERS[window.names[0].partition("_")[0]]
        rows = [event for event in rows if kept(event)]
    if window.measure.kind == "count":
        return [float(len(rows))]
    if window.measure.kind == "time_since_last":
        return [(at_us - rows[-1].known_us) / 1e6 if rows else None]
    if window.measure.column == "text":
        texts = {event.text for event in rows if event.text is not None}
        return [float(len(texts)) if texts else None]
    present = [(event.value, event.known_us) for event in rows if event.value is not None]
    return aggregate(window.measure, present, at_us) if present else nothing


def aggregate(measure: Measure, present: list[tuple[float, int]], at_us: int) -> list[float | None]:
    """Return what a measure gives for values and the times they became known, at least one."""
    values = [value for value, _ in present]
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    spread = squares / (len(values) - 1) if len(values) > 1 else None
    match measure.kind:
        case "sum":
            return [math.fsum(values)]
        case "mean":
            return [mean]
        case "min":
            return [min(values)]
        case "max":
            return [max(values)]
        case "first":
            return [values[0]]
        case "last":
            return [values[-1]]
        case "last_k":
            return _padded(values[::-1], measure.k)
        case "variance":
            return [spread]
        case "std":
            return [None if spread is None else math.sqrt(spread)]
        case "distinct":
            return [float(len(set(values)))]
        case "quantile":
            return [sorted(values)[math.floor(q * (len(values) - 1))] for q in measure.q]
        case "top_k":
            return _padded([value for value, _ in sorted(Counter(values).items(), key=_frequency)], measure.k)
        case "decayed_sum":
            half_life_us = parse_duration(measure.half_life or "")
            return [math.fsum(value * 0.5 ** ((at_us - known_us) / half_life_us) for value, known_us in present)]
        case kind:
            raise ValueError(f"expected an aggregation that the obvious version has, got {kind!r}")


def _frequency(counted: tuple[float, int]) -> tuple[int, float]:
    return -counted[1], counted[0]


def _padded(values: list[float], size: int | None) -> list[float | None]:
    return [*values, *[None] * (size or 0)][:size]


def latest_row(view: FeatureView, arrived: Sequence[Event], entity: str | None, at_us: int) -> Event | None:
    """Return the newest row of an entity by event time among those known; of ties, the one that arrived later."""
    newest: Event | None = None
    for event, _ in versions(arrived):
        known = entity is not None and event.entity == entity and event.known_us <= at_us
        if known and (newest is None or event.event_us >= newest.event_us):
            newest = event
    too_old = newest is not None and view.max_age_us is not None and at_us - newest.event_us > view.max_age_us
    return None if too_old else newest


def slack(name: str, scale: float) -> float | None:
    """Return by how much a feature may differ from the obvious version; None where it must be the same number.

    scale: the largest value of the stream. Sketches are asked about windows that their state holds without loss.
    """
    if any(kind in name for kind in ("sum", "mean", "std", "excess")):
        return 1e-9 * scale
    return 1e-9 * scale**2 if "variance" in name else None


def agree(name: str, found: float | None, expected: float | None, scale: float) -> bool:
    """Say whether a feature is that of the obvious version: a null is only a null; sketches have their error."""
    if found is None or expected is None:
        return found is expected
    if "quantile" in name:
        return math.isclose(found, expected, rel_tol=0.0109) or (abs(expected) < 2.0**-41 and found == 0.0)
    if "distinct" in name:
        return abs(found - expected) <= max(0.3, 0.1 * expected)
    allowed = slack(name, scale)
    return found == expected if allowed is None else math.isclose(found, expected, rel_tol=1e-9, abs_tol=allowed)
