"""What comes and goes by itself: a season, a holiday, a campaign. Nothing is broken, and nothing is to be done."""

import numpy as np
import polars as pl
from attrs import evolve

from charkha.monitoring.performance import Span
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import lots
from charkha.operations.drills.fault import BadFault, Fault
from charkha.operations.drills.incident import Incident
from charkha.operations.drills.questions import added, exchanged, louder, questions, within, without
from charkha.operations.drills.targets import in_segment, segments
from charkha.spec.durations import DAY_US

THURSDAY = 3  # 1 January 1970, counted from Monday
# Questions of another time stand for those of now where there are at least a fifth as many.
FEWEST = 5


def _seasonal_shift(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Have the questions of so many days before, or of as many as there are, in the place of those of now."""
    every, span = questions(traffic), fault.within(traffic.span)
    asked = every.filter(pl.Series(within(every, span)))
    ago_us = min(round((fault.size or 0.0) * DAY_US), span.since_us - traffic.span.since_us)
    then = every.filter(pl.Series(within(every, Span(span.since_us - ago_us, span.until_us - ago_us))))
    if then.height < asked.height / FEWEST or not then.height:
        found = f"{then.height} questions, for {asked.height} of now"
        raise BadFault(fault, "traffic so many days before", found, "Begin it later, or choose another number of days.")
    return exchanged(traffic, asked["id"], spread(then["id"], asked.height), rescore)


def _holiday(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Have those who ask on the Sunday before in the place of those of now, and fewer of them."""
    every, span = questions(traffic), fault.within(traffic.span)
    asked = every.filter(pl.Series(within(every, span)))
    by_day = (every["_at_us"] // DAY_US).to_numpy()
    kept = pl.Series(lots(asked, fault.seed, fault.kind) < (fault.size or 0.0))
    donors = [asked["id"].clear()]
    for (day,), of_day in asked.group_by(pl.col("_at_us") // DAY_US, maintain_order=True):
        since_sunday = (int(day) + THURSDAY + 1) % 7 or 7
        sunday = every["id"].filter(pl.Series(by_day == int(day) - since_sunday))
        quiet = len(sunday) < of_day.height / FEWEST  # nobody asks on Sundays: fewer ask, and ask what they do
        donors.append(of_day["id"] if quiet else spread(sunday, of_day.height))
    bent = exchanged(traffic, asked["id"], pl.concat(donors), rescore)
    return evolve(without(bent, asked["id"].filter(~kept)), vitals=louder(traffic.vitals, span, fault.size or 0.0))


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


def spread(ids: pl.Series, count: int) -> pl.Series:
    """Return ids in their order, drawn out or thinned to so many, each as often as the others."""
    return ids.gather(pl.Series(np.arange(count) * len(ids) // max(1, count)))


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
