"""What comes and goes by itself: a season, a holiday, a campaign. Nothing is broken, and nothing is to be done."""

import numpy as np
import polars as pl
from attrs import evolve

from charkha.features.segments import IntArray
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import lots
from charkha.operations.drills.fault import BadFault, Fault, Rescore
from charkha.operations.drills.incident import Incident
from charkha.operations.drills.questions import added, exchanged, louder, questions, within, without
from charkha.operations.drills.targets import in_segment, segments
from charkha.spec.durations import DAY_US

THURSDAY = 3  # 1 January 1970, counted from Monday


def _seasonal_shift(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Have the questions of so many days before in the place of those of now."""
    every, span = questions(traffic), fault.within(traffic.span)
    days = round(min(fault.size or 0.0, (span.since_us - _first_us(every)) / DAY_US))
    if days < 1:
        raise BadFault(fault, "a day of traffic before it", "less", "Begin it later, or give longer traffic.")
    asked = every.filter(pl.Series(within(every, span)))
    donors = _nearest(every["_at_us"].to_numpy(), asked["_at_us"].to_numpy() - days * DAY_US)
    return exchanged(traffic, asked["id"], every["id"].gather(pl.Series(donors)), rescore)


def _holiday(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Have those who ask on the Sunday before in the place of those of now, and fewer of them."""
    every, span = questions(traffic), fault.within(traffic.span)
    asked = every.filter(pl.Series(within(every, span)))
    since_sunday = (asked["_at_us"].to_numpy() // DAY_US + THURSDAY + 1) % 7
    at_us = asked["_at_us"].to_numpy()
    sunday_us = at_us - np.where(since_sunday == 0, 7, since_sunday) * DAY_US
    donors = _nearest(every["_at_us"].to_numpy(), np.where(sunday_us < _first_us(every), at_us, sunday_us))
    kept = pl.Series(lots(asked, fault.seed, fault.kind) < (fault.size or 0.0))
    quiet = without(traffic, asked["id"].filter(~kept))
    stay = asked["id"].filter(kept)
    swapped = exchanged(quiet, stay, every["id"].gather(pl.Series(donors)).filter(kept), rescore)
    return evolve(swapped, vitals=louder(traffic.vitals, span, fault.size or 0.0))


def _marketing_burst(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Have so many times as many questions, the additional ones of one segment, as those that it had before."""
    every, span = questions(traffic), fault.within(traffic.span)
    random = np.random.default_rng(fault.seed)
    asked = every.filter(pl.Series(within(every, span)))
    more = round(asked.height * max(0.0, (fault.size or 1.0) - 1.0))
    of_segment = asked.filter(pl.Series(in_segment(asked, fault.subject)))["id"]
    if not more or of_segment.is_empty():
        return traffic
    donors = np.sort(random.integers(0, len(of_segment), more))
    times = asked["_at_us"].to_numpy()[np.sort(random.integers(0, asked.height, more))]
    burst = added(traffic, of_segment.gather(pl.Series(donors)), times, f"{fault.kind}-{fault.since_us}-{fault.seed}-")
    return evolve(burst, vitals=louder(traffic.vitals, span, fault.size or 1.0))


def _first_us(every: pl.DataFrame) -> int:
    return int(every["_at_us"].to_numpy().min(initial=1 << 62))


def _nearest(times_us: IntArray, wanted_us: IntArray) -> IntArray:
    """Return the places of the times next to those that are wanted; different ones for those that follow each other."""
    order = np.argsort(times_us, kind="stable")
    places = np.searchsorted(times_us[order], wanted_us).clip(max=len(times_us) - 1)
    return np.asarray(order[places])


INCIDENTS = (
    Incident(
        kind="seasonal_shift",
        cause="benign",
        words="those ask who asked so many days before, and what became true of them is what became true then",
        inject=_seasonal_shift,
        unit="days",
        size=90.0,
        harmful=False,
        within="7d",
        rows=2_000,
        touches={"predictions", "labels", "recomputed"},
    ),
    Incident(
        kind="holiday",
        cause="benign",
        words="a day is like a Sunday: fewer ask, and they ask what is asked on Sundays",
        inject=_holiday,
        unit="share of the questions that remain",
        size=0.5,
        harmful=False,
        within="1d",
        rows=200,
        touches={"predictions", "labels", "recomputed", "vitals"},
    ),
    Incident(
        kind="marketing_burst",
        cause="benign",
        words="a campaign brings many more questions of one segment, like those it always had",
        inject=_marketing_burst,
        subjects=segments,
        unit="factor",
        size=3.0,
        harmful=False,
        every_row=False,
        within="1d",
        rows=200,
        touches={"predictions", "labels", "vitals"},
    ),
)
