"""How old the newest is of what was fetched: what the state itself says, whatever lies there."""

from datetime import datetime

import numpy as np
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

import charkha as ck
from charkha.features.ages import NOTHING_US, aged_views, newest_us, stamps
from charkha.features.latest import LatestRows
from charkha.features.online import Fetched, layout_of
from charkha.features.plan import FeaturePlan
from charkha.features.state import RingState

MINUTE_US = 60_000_000
city = ck.Entity("city")
rides = ck.Source("rides", {"city": str, "km": float, "driver": str, "at": datetime}, time="at", key=["city", "at"])
places = ck.Source("places", {"city": str, "size": float}, key="city", static=True)
VIEWS = (
    ck.FeatureView("busy", city, rides, windows=[ck.mean("km", over=["1h", "7d"]), ck.count(over="1h")]),
    ck.FeatureView("place", city, places, latest=["size"]),
    ck.FeatureView("last", city, rides, windows=[ck.count(over="24h")], latest=["km"]),
    ck.FeatureView("ever", city, rides, windows=[ck.count(over="all")]),
    ck.FeatureView("who", city, rides, latest=["driver", "km"]),
    ck.FeatureView("slow", city, rides, windows=[ck.count(over="30d")]),
)
PLAN = FeaturePlan(VIEWS, {"city": str}, "at", {}, ())
AGED = ("busy", "last", "who", "slow")

Times = dict[str, int | None]  # view → when the newest of a key is of
times = st.fixed_dictionaries(dict.fromkeys(AGED, st.none() | st.integers(-(1 << 40), 1 << 51)))


def test_views_that_know_no_time_have_no_age() -> None:
    assert aged_views(PLAN) == AGED


def ring_of(view: str) -> RingState:
    return next(state for state in layout_of(PLAN).states if state.view.name == view).rings[0]


def stored(view: str, time_us: int | None) -> bytes | None:
    """Return what lies there of a key whose newest row is of a time."""
    if time_us is None:
        return None
    if view in ("last", "who"):
        found = LatestRows.of(next(each for each in VIEWS if each.name == view))
        return found.encode(time_us, [7.5] if view == "last" else ["ann", 7.5])
    ring = ring_of(view)
    return ring.updated(
        ring.updated(None, [(time_us - 40 * MINUTE_US, ("Pune", 1.0, "ann", 0))]), [(time_us, ("Pune", 1.0, "ann", 0))]
    )


def expected(view: str, time_us: int | None) -> int:
    if time_us is None:
        return NOTHING_US
    hop_us = 1 if view in ("last", "who") else ring_of(view).ring.hop_us
    return time_us // hop_us * hop_us


def fetched(rows: list[Times]) -> Fetched:
    places: list[list[bytes | None]] = [[None] * len(rows) for _ in layout_of(PLAN).places]
    for state, place in zip(layout_of(PLAN).states, layout_of(PLAN).newest, strict=True):
        if (name := state.view.name) in AGED:
            places[place] = [stored(name, row[name]) for row in rows]
    return Fetched([["Pune"] * len(rows)], places)


@frozen
class Asked:
    """A call: its rows, which of them are of the sample (None for all), and whether the state could be read."""

    rows: list[Times]
    sample: list[int] | None
    known: bool

    @property
    def kept(self) -> list[Times]:
        return self.rows if self.sample is None else [self.rows[row] for row in self.sample]

    def stamps(self) -> bytes | None:
        return stamps(PLAN, fetched(self.rows), self.sample) if self.known else None

    def expected(self, view: str) -> list[int]:
        return [expected(view, row[view]) if self.known else NOTHING_US for row in self.kept]


@st.composite
def calls(draw: st.DrawFn) -> Asked:
    rows = draw(st.lists(times, max_size=5))
    sample = draw(st.none() | st.sets(st.integers(0, len(rows) - 1)).map(sorted)) if rows else None
    return Asked(rows, sample, draw(st.booleans()))


@given(st.lists(calls(), min_size=1, max_size=4))
def test_stamps_are_what_the_state_says(asked: list[Asked]) -> None:
    found = newest_us(PLAN, [call.stamps() for call in asked], [len(call.kept) for call in asked])
    wanted = [[time_us for call in asked for time_us in call.expected(view)] for view in AGED]
    assert np.array_equal(found, np.array(wanted, np.int64).reshape(len(AGED), -1))
