"""The obvious version of every feature: loops over rows, straight from the words of the documentation."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from attrs import frozen

from charkha.features.aggregations.distinct import _REGISTERS
from charkha.features.aggregations.mixing import hash_of
from charkha.features.fingerprints import fingerprint
from charkha.spec.aggregates import ALL_US, Measure, Ratio, Window
from charkha.spec.durations import parse_duration
from charkha.spec.views import FeatureView

Key = tuple[object, ...]


@frozen
class Event:
    """A row as it came: its declared fields, and its two times (µs); None for a time that is not told."""

    fields: Mapping[str, object]
    event_us: int | None
    known_us: int | None

    def said(self, name: str) -> object:
        """A field; a decimal that is not finite says nothing."""
        value = self.fields[name]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    def number(self, name: str) -> float | None:
        """A field of numbers as a decimal."""
        value = self.said(name)
        return None if value is None else float(value)  # type: ignore[arg-type]


@frozen
class Arrived:
    """A row that counts. known_us: from when it is known. first: the first version of its row. push: of which it came.

    Pushes are counted from 1; 0 is for files.
    """

    event: Event
    known_us: int
    first: bool
    push: int


# Every filter of the tests, by how the name of what it filters begins.
FILTERS: dict[str, Callable[[Event], bool]] = {
    "positive": lambda event: (event.number("value") or 0.0) > 0,
    "marked": lambda event: event.fields["text"] == "x",
    "numbered": lambda event: event.fields["text"] == "7",
}


def arrivals(
    files: Sequence[Event], pushes: Sequence[tuple[int, Sequence[Event]]], key: Sequence[str]
) -> list[Arrived]:
    """Return what counts of the rows of files, in their order, and of pushes, each with its time: no repetitions.

    All declared fields are content, the one with the known time too.
    """
    newest: dict[Key, Key] = {}
    arrived = []
    told = [event for event in files if event.event_us is not None and event.known_us is not None]
    alone = [(0, event.known_us or 0, [event]) for event in sorted(told, key=lambda event: event.known_us or 0)]
    batches = [(number, known_us, rows) for number, (known_us, rows) in enumerate(pushes, start=1)]
    for push, known_us, together in (*alone, *batches):
        last = {_key(event, key): _content(event) for event in together}
        again = {row for row, content in last.items() if newest.get(row) == content}
        for event in together:
            row, content = _key(event, key), _content(event)
            if row not in again and newest.get(row) != content:
                arrived.append(Arrived(event, known_us, row not in newest, push))
                newest[row] = content
    return arrived


def _key(event: Event, columns: Sequence[str]) -> Key:
    return tuple(event.fields[column] for column in columns)


def _content(event: Event) -> Key:
    return tuple(event.said(name) for name in event.fields)


def answers(
    view: FeatureView, arrived: Sequence[Arrived], entity: Key, at_us: int | None
) -> Iterator[tuple[str, object, Measure | None]]:
    """Yield every feature of a view for one entity at one time: its name, its value, and what it measures.

    None in place of a measure for latest values, which are as they were said.
    """
    if at_us is None or None in entity:
        for name in (*view.window_features(), *view.latest):
            yield name, None, None
        return
    own = [row for row in arrived if row.known_us <= at_us and _key(row.event, view.entity.keys) == entity]
    for declared in view.windows:
        if isinstance(declared, Ratio):
            (above,), (below,) = (_window_value(window, own, at_us) for window in declared.windows())
            value = None if above is None or not below else above / below
            yield declared.name, value, declared.numerator.measure
            continue
        for window in declared.windows():
            for name, value in zip(window.names, _window_value(window, own, at_us), strict=True):
                yield name, value, window.measure
    latest = _latest_row(view, own, at_us)
    for column in view.latest:
        yield column, None if latest is None else latest.said(column), None


def _window_value(window: Window, own: Sequence[Arrived], at_us: int) -> list[float | None]:
    """Return the features of one window of one entity at one time. own: its rows, known by then."""
    measure = window.measure
    from_us = -math.inf if window.size_us == ALL_US else (at_us // window.hop_us - window.hops) * window.hop_us
    rows = [row for row in own if row.first and from_us <= row.known_us]
    if measure.where is not None:
        kept = FILTERS[window.names[0].partition("_")[0]]
        rows = [row for row in rows if kept(row.event)]
    if measure.kind == "count":
        return [float(len(rows))]
    if measure.kind == "time_since_last":
        return [(at_us - rows[-1].known_us) / 1e6 if rows else None]
    assert measure.column is not None
    if measure.kind == "distinct":
        return [_different({row.event.said(measure.column) for row in rows} - {None})]
    numbers = [(row.event.number(measure.column), row.known_us) for row in rows]
    present = [(number, known_us) for number, known_us in numbers if number is not None]
    return aggregate(measure, present, at_us) if present else [None] * len(window.names)


def _different(values: set[object]) -> float | None:
    """Return how many values there are; of those that fall to one register of the sketch, which sees one, count one."""
    told = (value if isinstance(value, float) else fingerprint(value) for value in values)
    return float(len({hash_of(number) % _REGISTERS for number in told})) or None


def aggregate(measure: Measure, present: list[tuple[float, int]], at_us: int) -> list[float | None]:
    """Return what a measure gives for values and the times they became known, at least one."""
    values = [value for value, _ in present]
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) * (value - mean) for value in values)
    # What a float cannot hold is null.
    spread = squares / (len(values) - 1) if len(values) > 1 and math.isfinite(squares) else None
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


def _latest_row(view: FeatureView, own: Sequence[Arrived], at_us: int) -> Event | None:
    """Return the newest row by event time among those of an entity; of ties, the one that arrived later."""
    newest: Event | None = None
    for row in own:
        if newest is None or (row.event.event_us or 0) >= (newest.event_us or 0):
            newest = row.event
    too_old = newest is not None and view.max_age_us is not None and at_us - (newest.event_us or 0) > view.max_age_us
    return None if too_old else newest


def slack(measure: Measure | None, scale: float) -> float:
    """Return by how much two ways to a feature may differ: 0 where they must give the same number.

    scale: the largest value of what is measured.
    """
    match None if measure is None else measure.kind:
        case "sum" | "mean" | "std" | "decayed_sum":
            return 1e-9 * scale
        case "variance":
            return 1e-9 * scale * scale
    return 0.0


_LARGEST_BIN = 2.0**87


def agree(measure: Measure | None, found: object, expected: object, scale: float) -> bool:
    """Say whether a feature is that of the obvious version: a null is only a null; sketches have their error.

    Sketches are asked about windows that their state holds without loss.
    """
    if measure is None or found is None or expected is None:
        return found == expected and type(found) is type(expected)
    assert isinstance(found, float)
    assert isinstance(expected, float)
    if measure.kind == "quantile":
        small = abs(expected) < 2.0**-41 and found == 0.0
        expected = math.copysign(min(abs(expected), _LARGEST_BIN), expected)
        return small or math.isclose(found, expected, rel_tol=0.0109)
    if measure.kind == "distinct":
        return abs(found - expected) <= max(0.3, 0.1 * expected)
    allowed = slack(measure, scale)
    return found == expected if not allowed else math.isclose(found, expected, rel_tol=1e-9, abs_tol=allowed)
