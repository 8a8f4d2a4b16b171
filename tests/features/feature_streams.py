"""Random streams of events with all that goes wrong in real ones.

Ties, late rows, repetitions, nulls, corrections, clocks that run ahead and behind, odd keys and odd numbers; some rows
in files, the rest in pushes of several, which may come again. A stream is read from random bytes, a few for each row:
that costs a tenth of drawing each value, and shrinks as well.
"""

from collections.abc import Sequence

import polars as pl
from attrs import evolve, frozen
from feature_oracle import Event, Key
from feature_worlds import FIELDS, KEYS, REQUEST, WINDOWS, World, world
from hypothesis import settings
from hypothesis import strategies as st

from charkha.clock import to_datetime
from charkha.spec.aggregates import Measure
from charkha.spec.fields import polars_schema

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
START_US = 1_700_000_000_000_000 // HOUR_US * HOUR_US
MOST_ROWS, ROW_BYTES = 48, 12
MOST_QUESTIONS, QUESTION_BYTES = 10, 6

NAN, INFINITE = float("nan"), float("inf")
TEXTS = ["a", "b", "", "a\x00", "\x00", "ü☃😀", "\\", "\x1f", "a\x1f", "a\\", "x" * 500, "x" * 499 + "y", "true", "-1"]
NUMBERS = [0, 1, -1, 2**63 - 1, 2**63 - 2, -(2**63), 2**53, 2**53 + 1, 10]
ODD = [None, NAN, INFINITE, -INFINITE, -0.0, 0.0, 1e160, -1e160, 1e-100, 2.0**53 + 2, 0.1, 0.3, -1e6, 123456.789]
VALUES = [*ODD, *(float(number) for number in range(-8, 9))]
WHOLES = [None, *NUMBERS, *range(2, 8)]
MARKS = [None, "x", "x", "7", "y", "", "ü\x00"]
MOMENTS = [None, to_datetime(START_US), to_datetime(START_US + 1), to_datetime(-1), to_datetime(2**52 + 1)]
LATE = [0, 0, 0, 1, MINUTE_US, HOUR_US, 4 * HOUR_US, 30 * HOUR_US, -1, -MINUTE_US, -5 * HOUR_US, -400 * DAY_US]
ROWS = [*TEXTS, "\x1f\x00", "y" * 600]


def cases(count: int) -> settings:
    """So many cases of a property; ten times as many in the profile called thorough."""
    chosen = settings.get_current_profile_name()
    return settings(max_examples=count * (10 if chosen == "thorough" else 1))


@frozen
class Asked:
    """A question: when (µs; None for no time), and the request's fields."""

    at_us: int | None
    request: dict[str, object]

    def entity(self, keys: Sequence[str]) -> Key:
        """The key of an entity."""
        return tuple(self.request[key] for key in keys)


@frozen
class Push:
    """Rows that were pushed together."""

    at_us: int
    rows: list[Event]


@frozen
class Stream:
    """What came, and what was asked.

    files: rows of two files, all known until `built_us` or never, when the online state is built. pushes, questions: in
    the order of time. anew: the number of pushes after which the state is built anew.
    """

    world: World
    files: tuple[list[Event], list[Event]]
    built_us: int
    pushes: list[Push]
    questions: list[Asked]
    anew: int

    def scale(self, measure: Measure | None) -> float:
        """The largest magnitude of what is measured; 1 where it is nothing, or no number."""
        if measure is None or measure.column in (None, "text"):
            return 1.0
        events = [*self.files[0], *self.files[1], *(event for push in self.pushes for event in push.rows)]
        return max((abs(event.number(str(measure.column)) or 0.0) for event in events), default=0.0) or 1.0


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """Streams of every world."""
    windows, keys, odd = (draw(st.integers(0, most)) for most in (len(WINDOWS) - 1, len(KEYS) - 1, 2))
    of = world(windows, keys, odd)
    palette, anew = draw(st.integers(0, 255)), draw(st.integers(0, 12))
    built_us = START_US + draw(st.sampled_from([-1, 30 * MINUTE_US, HOUR_US, 48 * HOUR_US]))
    files, pushed = _arriving(_pieces(draw, MOST_ROWS, ROW_BYTES), palette, built_us, of)
    pushes = _pushes(pushed)
    rows = [(event, event.known_us or START_US) for event in (*files[0], *files[1])]
    rows += [(event, push.at_us) for push in pushes for event in push.rows]
    asked = [_asked(seed, palette, rows) for seed in _pieces(draw, MOST_QUESTIONS, QUESTION_BYTES)]
    asked.sort(key=lambda question: INFINITE if question.at_us is None else question.at_us)
    return Stream(of, files, built_us, pushes, asked, anew)


def _pieces(draw: st.DrawFn, most: int, size: int) -> list[bytes]:
    count = draw(st.integers(0, most)) * size
    seeds = draw(st.binary(min_size=count, max_size=count))
    return [seeds[place : place + size] for place in range(0, count, size)]


def _arriving(
    seeds: Sequence[bytes], palette: int, built_us: int, of: World
) -> tuple[tuple[list[Event], list[Event]], list[tuple[Event, bytes]]]:
    """Return the rows of the two files, and those that are pushed with their seeds; some repeat or correct another."""
    files: tuple[list[Event], list[Event]] = ([], [])
    pushed: list[tuple[Event, bytes]] = []
    for seed in seeds:
        event, known_us = _event(seed, palette, of), _known_us(seed)
        before = [*files[0], *files[1]] if known_us <= built_us else [event for event, _ in pushed] or files[0]
        if before and seed[11] % 5 < 2:
            former = before[seed[9] % len(before)]
            event = former if seed[11] % 5 else evolve(former, fields={**former.fields, "value": event.fields["value"]})
        if known_us <= built_us or event.event_us is None:
            files[seed[10] % 2].append(event)
        else:
            pushed.append((evolve(event, known_us=known_us), seed))
    return files, sorted(pushed, key=lambda each: each[0].known_us or 0)


def _event(seed: bytes, palette: int, of: World) -> Event:
    """Return a row as it is in a file. Some have no event time there, and some never become known."""
    known_us = _known_us(seed)
    late = seed[10] // 2 % (len(LATE) + 2)  # the last two are told to the hour, so that many happen at once
    event_us = known_us - LATE[late] if late < len(LATE) else known_us // HOUR_US * HOUR_US
    times = None if seed[11] % 32 == 30 else event_us, None if seed[11] % 32 == 31 else known_us
    happened_at, known_at = (None if time is None else to_datetime(time) for time in times)
    row: object = ROWS[seed[0] % len(ROWS)] if of.source.fields["row"] is str else NUMBERS[seed[0] % len(NUMBERS)]
    values = (
        row,
        *_key_parts(seed[1:4], palette),
        VALUES[seed[4] % len(VALUES)],
        WHOLES[seed[5] % len(WHOLES)],
        MARKS[seed[6] % len(MARKS)],
        MOMENTS[seed[7] % len(MOMENTS)],
        happened_at,
        known_at,
    )
    return Event(dict(zip(FIELDS, values, strict=True)), *times)


def _key_parts(seed: bytes, palette: int) -> tuple[object, object, object]:
    """Return a name, a number and a flag: of a stream's few, so that rows meet."""
    name = [*(TEXTS[(palette + 5 * place) % len(TEXTS)] for place in range(3)), None][seed[0] % 13 % 4]
    number = [*(NUMBERS[(palette + 2 * place) % len(NUMBERS)] for place in range(3)), None][seed[1] % 13 % 4]
    return name, number, (True, True, False, False, None)[seed[2] % 5]


def _known_us(seed: bytes) -> int:
    """On and around the edges of hops, many equal: crowded into three hours, some up to two days away."""
    kind, far = seed[8], seed[9]
    if kind > 240:
        return START_US + far * 11 * MINUTE_US
    if kind > 195:  # as far from each other as the longest window of short hops reaches
        return START_US + far % 3 * HOUR_US + far % 2
    if kind > 160:
        return START_US + far % 180 * MINUTE_US
    return START_US + far % 37 * 5 * MINUTE_US + kind % 3 - 1


def _pushes(pushed: Sequence[tuple[Event, bytes]]) -> list[Push]:
    """Return rows in pushes of one or more; some come again, at once or later, in their order or the other way round.

    The producer of each says when it was known, which nobody believes.
    """
    pushes: list[Push] = []
    for event, seed in pushed:
        at_us, claims = event.known_us or 0, (event.fields["happened_at"], event.fields["known_at"], None)
        told = evolve(event, fields={**event.fields, "known_at": claims[seed[7] % 3]}, known_us=None)
        if pushes and (seed[6] % 2 or pushes[-1].at_us == at_us):
            pushes[-1].rows.append(told)
        else:
            pushes.append(Push(at_us, [told]))
        former = pushes[seed[5] % len(pushes)].rows
        again = {0: former, 1: former[::-1], 2: former * 2}.get(seed[4] % 16)
        if again:
            pushes.append(Push(pushes[-1].at_us, list(again)))
    return pushes


def _asked(seed: bytes, palette: int, rows: Sequence[tuple[Event, int]]) -> Asked:
    """Return a question of a row's key or of another: at a row's time, on an edge or a microsecond off, or far off."""
    name, number, yes = _key_parts(seed[2:5], palette)
    request: dict[str, object] = {"name": name, "number": number, "yes": yes}
    known_us = event_us = START_US
    if rows:
        event, known_us = rows[seed[1] % len(rows)]
        event_us = event.event_us or START_US
        if seed[2] % 4:
            request = {part: event.fields[part] for part in REQUEST}
    hop_us, hops, aside = (5 * MINUTE_US, (2, 24)[seed[5] % 2], seed[5] % 3 - 1)
    times = (
        known_us + aside,
        known_us + aside,
        event_us + 3 * HOUR_US + aside,
        event_us + DAY_US + aside,
        START_US + seed[5] % 60 * hop_us + aside,
        (known_us // hop_us + hops + 1) * hop_us + aside,  # the edge at which a window lets go of the row
        (known_us // HOUR_US + 49) * HOUR_US + aside,
        START_US - 10 * DAY_US,
        START_US + 400 * DAY_US,
        START_US + 50 * HOUR_US if seed[5] % 4 else None,
    )
    return Asked(times[seed[0] % len(times)], request)


def as_frame(events: Sequence[Event], of: World) -> pl.DataFrame:
    """Return rows as a file has them."""
    rows = [tuple(event.fields.values()) for event in events]
    return pl.DataFrame(rows, schema=polars_schema(of.source.fields), orient="row")
