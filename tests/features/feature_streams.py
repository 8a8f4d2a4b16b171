"""Random event streams with everything that goes wrong in real ones: ties, late rows, repeats, nulls, corrections."""

from datetime import datetime
from functools import partial

import polars as pl
from feature_oracle import Event
from hypothesis import strategies as st

import charkha as ck
from charkha.clock import to_datetime
from charkha.spec.fields import polars_schema
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
START_US = 1_700_000_000_000_000 // HOUR_US * HOUR_US

FIELDS = {"row_id": int, "entity": str, "value": float, "text": str, "happened_at": datetime, "known_at": datetime}
KINDS = (
    ck.sum,
    ck.mean,
    ck.min,
    ck.max,
    ck.first,
    ck.last,
    ck.variance,
    ck.std,
    ck.distinct,
    partial(ck.last_k, k=3),
    partial(ck.top_k, k=2),
    partial(ck.quantile, q=[0.5, 0.9]),
    partial(ck.decayed_sum, half_life="20m"),
)
POSITIVE, MARKED = pl.col("value") > 0, pl.col("text") == "x"


def source(data: str | None = None) -> Source:
    files = ck.parquet(data) if data else None
    return ck.Source("events", FIELDS, files, time="happened_at", known="known_at", key=["row_id"])


def view(of: Source, max_age: str | None = "3h") -> FeatureView:
    windows = [kind("value", over=["10m", "2h", "all"]) for kind in KINDS]
    windows += [
        ck.mean("value", over="2d"),
        ck.variance("value", over="2d", hop="1h"),
        ck.count(over=["10m", "2h", "2d", "all"]),
        ck.time_since_last(over=["10m", "all"]),
        ck.distinct("text", over=["2h", "all"]),
        ck.count(over=["10m", "2h", "all"], where=MARKED, name="marked_count"),
        ck.sum("value", over=["2h", "all"], where=POSITIVE, name="positive_sum"),
        ck.last_k("value", k=2, over="2h", where=MARKED, name="marked_last"),
        ck.quantile("value", q=0.5, over="2h", where=MARKED, name="marked_quantile"),
        ck.time_since_last(over="2h", where=POSITIVE, name="positive_recency"),
    ]
    ratios = [
        ck.ratio(ck.count(over="10m"), ck.count(over="all")),
        ck.ratio(ck.count(over="2h", where=MARKED, name="marked"), ck.count(over="2h"), name="marked_share"),
        ck.ratio(ck.sum("value", over="10m"), ck.count(over="2h"), name="sum_per_row"),
        ck.ratio(ck.max("value", over="10m"), ck.max("value", over="2h")),
    ]
    return ck.FeatureView(
        "view", ck.Entity("entity"), of, windows=[*windows, *ratios], latest=["value", "text"], max_age=max_age
    )


# Times on and around the edges of hops, many equal: crowded into three hours, some up to two days away.
offsets = st.one_of(
    st.integers(0, 36).map(lambda hops: hops * 5 * MINUTE_US),
    st.integers(0, 36).map(lambda hops: hops * 5 * MINUTE_US + 1),
    st.integers(0, 180).map(lambda minutes: minutes * MINUTE_US),
    st.integers(0, 48 * HOUR_US),
)
values = st.one_of(st.none(), st.integers(-8, 8).map(float), st.floats(-1e6, 1e6, allow_nan=False))
entities = st.sampled_from(["a", "b", None])


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Rows in order of arrival (known time ascends); ids repeat, so that some are repetitions and some corrections."""
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 12), entities, values, st.sampled_from([None, "x", "y"]), offsets, st.integers(0, 9)
            ),
            max_size=40,
        )
    )
    known = sorted(START_US + offset for *_, offset, _ in rows)
    lateness = [0, 0, MINUTE_US, HOUR_US, 4 * HOUR_US, 30 * HOUR_US, -MINUTE_US]
    return [
        Event(row_id, entity, value, text, _happened(known_us, lateness, late), known_us)
        for (row_id, entity, value, text, _, late), known_us in zip(rows, known, strict=True)
    ]


def _happened(known_us: int, lateness: list[int], late: int) -> int:
    """Some rows are late, one is ahead of its time, some are told to the hour, so that many happen at once."""
    return known_us - lateness[late] if late < len(lateness) else known_us // HOUR_US * HOUR_US


questions = st.lists(st.tuples(st.sampled_from(["a", "b", "unknown", None]), offsets), min_size=1, max_size=8)


def as_values(event: Event) -> tuple[object, ...]:
    times = to_datetime(event.event_us), to_datetime(event.known_us)
    return (event.row_id, event.entity, event.value, event.text, *times)


def as_frame(events: list[Event]) -> pl.DataFrame:
    return pl.DataFrame([as_values(event) for event in events], schema=polars_schema(FIELDS), orient="row")
