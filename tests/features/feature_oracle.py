"""The obvious version of every feature: loops over rows, straight from the words of the documentation."""

import math
from collections.abc import Sequence

from attrs import frozen

from charkha.spec.views import FeatureView, Window


@frozen
class Event:
    """A row as it arrived: its key as a row, its entity, a value, a text, and its two times (µs)."""

    row_id: int
    entity: str | None
    value: float | None
    text: str | None
    event_us: int
    known_us: int


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


def window_value(window: Window, arrived: Sequence[Event], entity: str | None, at_us: int) -> float | None:
    """Return one window of one entity at one time."""
    if entity is None:
        return None
    from_us = (at_us // window.hop_us - window.hops) * window.hop_us
    rows = [
        event
        for event, first in versions(arrived)
        if first and event.entity == entity and from_us <= event.known_us <= at_us
    ]
    if window.kind == "count":
        return float(len(rows))
    values = [event.value for event in rows if event.value is not None]
    if not values:
        return None
    match window.kind:
        case "sum":
            return math.fsum(values)
        case "mean":
            return math.fsum(values) / len(values)
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "last":
            return values[-1]
        case _:
            mean = math.fsum(values) / len(values)
            squares = math.fsum((value - mean) ** 2 for value in values)
            return squares / (len(values) - 1) if len(values) > 1 else None


def latest_row(view: FeatureView, arrived: Sequence[Event], entity: str | None, at_us: int) -> Event | None:
    """Return the newest row of an entity by event time among those known; of ties, the one that arrived later."""
    newest: Event | None = None
    for event, _ in versions(arrived):
        known = entity is not None and event.entity == entity and event.known_us <= at_us
        if known and (newest is None or event.event_us >= newest.event_us):
            newest = event
    too_old = newest is not None and view.max_age_us is not None and at_us - newest.event_us > view.max_age_us
    return None if too_old else newest
