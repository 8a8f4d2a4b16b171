"""What happened when: history as the calls that live traffic would have made, in the order of time."""

from collections.abc import Iterator, Mapping
from enum import IntEnum

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.segments import run_ends, run_starts
from charkha.spec.durations import DAY_US
from charkha.spec.sources import Source


class Kind(IntEnum):
    """What happens; at the same time, in this order: what is known by then is there before it is asked for."""

    EVENTS = 0
    REQUESTS = 1
    LABELS = 2
    TICK = 3


@frozen
class Call:
    """One call at `time_us`: rows `low` to `high` of a stream (a source's name for events, else empty)."""

    time_us: int
    kind: Kind
    stream: str
    low: int
    high: int


@frozen(eq=False)
class Timetable:
    """The history of one model between two times.

    events: source → its rows in the order of `_known_us`. requests: the occasions in the order of `_at_us`, with
    `_place`. labels: `_place` of the occasion, `_label` and `_label_known_us`, in the order of the latter.
    """

    events: Mapping[str, pl.DataFrame]
    requests: pl.DataFrame
    labels: pl.DataFrame
    from_us: int
    until_us: int

    def calls(self) -> Iterator[Call]:
        """Yield every call in the order of time; the operator looks once a day, at midnight UTC."""
        calls = [call for name, rows in self.events.items() for call in _runs(Kind.EVENTS, name, rows["_known_us"])]
        calls += _runs(Kind.REQUESTS, "", self.requests["_at_us"])
        calls += _runs(Kind.LABELS, "", self.labels["_label_known_us"])
        midnight = -(-self.from_us // DAY_US) * DAY_US
        calls += [Call(time_us, Kind.TICK, "", 0, 0) for time_us in range(midnight, self.until_us + 1, DAY_US)]
        calls.sort(key=lambda call: (call.time_us, call.kind))
        yield from calls


def timetable(
    sources: Mapping[str, Source], rows: Mapping[str, pl.DataFrame], spine: pl.DataFrame, from_us: int, until_us: int
) -> Timetable:
    """Return what happened after `from_us` and up to `until_us`.

    rows: source → all its rows, as of `read_rows`. spine: as of `label_spine`. Labels that were known before their
    prediction was asked for arrive right after it.
    """
    within = pl.col("_known_us").is_between(from_us, until_us, closed="right")
    events = {name: rows[name].filter(within) for name, source in sources.items() if not source.static}
    asked = spine.filter(pl.col("_at_us").is_between(from_us, until_us, closed="left")).with_row_index("_place")
    labels = (
        asked.drop_nulls(["_label", "_label_known_us"])
        .with_columns(pl.max_horizontal("_label_known_us", "_at_us").alias("_label_known_us"))
        .filter(pl.col("_label_known_us") <= until_us)
        .select("_place", "_label", "_label_known_us")
        .sort("_label_known_us", maintain_order=True)
    )
    return Timetable(events, asked, labels, from_us, until_us)


def _runs(kind: Kind, stream: str, times: pl.Series) -> list[Call]:
    """Return a call for every run of rows of the same time."""
    values = times.to_numpy()
    starts = run_starts(values)
    ends = run_ends(starts, len(values))
    columns = (np.asarray(column).tolist() for column in (values[starts], starts, ends))
    return [Call(time_us, kind, stream, low, high) for time_us, low, high in zip(*columns, strict=True)]
