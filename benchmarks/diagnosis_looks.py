"""Looks at the worlds: incidents put into recorded weeks, and weeks into which nothing was put.

Run by `features_child`, a chunk in a process of its own: what came of each look is a line of JSON in a file.
"""

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from attrs import evolve
from diagnosis_dense import dense
from diagnosis_worlds import World, world

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.catalogue import INCIDENTS, inject
from charkha.operations.drills.fault import BadFault, Fault
from charkha.operations.drills.pairs import kind_of
from charkha.operations.drills.seen import Seen as FirstSeen
from charkha.operations.drills.seen import first_seen
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.serving.vitals_log import MINUTE_US
from charkha.spec.durations import DAY_US, HOUR_US, parse_duration

HEALTHY_DAYS, WATCHED_DAYS = 28, 7
# Where so few ask, or labels take so long, that an incident need not be found for longer, it is left out.
MOST_US = 14 * DAY_US
# When in the watched time a fault begins.
ONSET_US = int(2.5 * DAY_US)
LOOK_US = 10 * MINUTE_US
# Of the dense worlds, which have ten questions a minute.
DENSE_DAYS, LOOKED_HOURS = 14, 6
# Of the rows of a feature a fault has to change so many, to be one that hits every row.
EVERY_ROW = 0.8


class Seen(msgspec.Struct, frozen=True):
    """What came of a look.

    day: of the world, on which the watched time begins. kind: of incident; "" for a natural week. size: in the kind's
    unit. expected: the cause. harmful: whether it had to be found. window_hours: until when, after the onset.
    after_hours: when it was found, after the onset, of a natural week after its beginning; None: never. cause, words,
    culprit, action: what was said then. named: whether all that was named first of each kind (source, feature, segment,
    replica, version) is right; None where none is.
    """

    world: str
    day: int
    kind: str
    subject: str | None = None
    size: float | None = None
    expected: str | None = None
    harmful: bool = False
    window_hours: float | None = None
    after_hours: float | None = None
    cause: str | None = None
    words: str = ""
    culprit: str = ""
    action: str = ""
    named: bool | None = None

    @property
    def in_time(self) -> bool:
        """Whether it was found within its window."""
        return self.after_hours is not None and self.after_hours <= (self.window_hours or math.inf)


def drills(name: str, day: int, kinds: list[str], scales: list[float], out: str) -> dict[str, float]:
    """Put each kind of incident into a world at a day, at some sizes, and write down what is seen of it."""
    found = (_drilled(name, day, kind, scale, seed) for kind in kinds for seed, scale in enumerate(scales))
    return {"looks": written(found, out)}


def weeks(name: str, days: list[int], out: str) -> dict[str, float]:
    """Look at natural weeks of a world that begin at some days."""
    return {"looks": written((_natural(name, day) for day in days), out)}


def minutes(name: str, day: int, kinds: list[str], seeds: list[int], out: str) -> dict[str, float]:
    """Put faults of every row of a feature into ten questions a minute, looked at every ten minutes."""
    found = (_dense_drill(name, day, kind, seed) for kind in kinds for seed in seeds)
    return {"looks": written(found, out)}


def written(found: Iterator[Seen | None], out: str) -> int:
    """Write down what was seen, line by line; return how many there are."""
    count = 0
    with Path(out).open("wb") as file:
        for seen in found:
            if seen is not None:
                file.write(msgspec.json.encode(seen) + b"\n")
                file.flush()
                count += 1
    return count


@cache
def _world(name: str) -> World:
    return world(name)


def days_of(traffic: Traffic) -> int:
    """Return how many whole days traffic has."""
    return int((traffic.span.until_us - traffic.span.since_us) // DAY_US)


def start_us(traffic: Traffic, day: int) -> int:
    """Return when a day of traffic begins."""
    return traffic.span.since_us // DAY_US * DAY_US + day * DAY_US


def _natural(name: str, day: int) -> Seen:
    made = _world(name)
    since_us = start_us(made.traffic, day)
    watched = Span(since_us, since_us + WATCHED_DAYS * DAY_US)
    return _told(Seen(name, day, ""), first_seen(of_world(made, watched), since_us, every_us=LOOK_US), since_us)


def _drilled(name: str, day: int, kind: str, scale: float, seed: int) -> Seen | None:
    """Return what was seen of a drill; None where this world cannot have it, or ends before it had to be found."""
    made, incident = _world(name), kind_of(kind, INCIDENTS)
    since_us = start_us(made.traffic, day)
    size = min(1.0, incident.size * scale) if incident.unit.startswith("share") else incident.size * scale
    fault = Fault(kind, since_us + ONSET_US, seed=day + seed, size=size)
    try:
        fault = incident.resolved(fault, made.traffic, made.rescore.plan)
    except BadFault:
        return None
    harmful = incident.harms(fault, made.rescore.plan)
    until_us = incident.deadline_us(fault, made.traffic) if harmful else since_us + ONSET_US + WATCHED_DAYS * DAY_US
    if until_us > made.traffic.span.until_us or until_us > fault.since_us + max(
        MOST_US, parse_duration(incident.within)
    ):
        return None
    traffic = _until(made.traffic, -(-until_us // HOUR_US) * HOUR_US)
    bent = inject(traffic, fault, made.rescore)
    seen = Seen(
        *(name, day, kind, fault.subject, size, incident.cause, harmful),
        window_hours=(until_us - fault.since_us) / HOUR_US,
    )
    case = evolve(of_world(made, Span(since_us, traffic.span.until_us)), traffic=bent)
    found = first_seen(case, fault.since_us + 1, every_us=LOOK_US)
    if found is not None and found.diagnosis.cause in incident.causes:  # of a pair either is right
        seen = msgspec.structs.replace(seen, expected=found.diagnosis.cause)
    return _named(_told(seen, found, fault.since_us), found, incident.culprits(fault, made.rescore.plan))


def _until(traffic: Traffic, until_us: int) -> Traffic:
    """Return traffic as it was at a time: what came later costs a drill time, and tells nothing."""
    return evolve(
        traffic,
        span=Span(traffic.span.since_us, until_us),
        predictions=traffic.predictions.filter(pl.col("_at_us") < until_us),
        labels=traffic.labels.filter(pl.col("_label_known_us") < until_us),
        arrivals=traffic.arrivals.filter(pl.col("_hour_us") < until_us),
        vitals=traffic.vitals.filter(pl.col("_minute_us") < until_us),
    )


def _dense_drill(name: str, day: int, kind: str, seed: int) -> Seen | None:
    made, incident = _world(name), INCIDENTS[kind]
    since_us = start_us(made.traffic, day)
    traffic = _dense(name, day)
    fault = Fault(kind, since_us + LOOKED_HOURS * HOUR_US, seed=seed)
    try:
        fault = incident.resolved(fault, traffic, made.rescore.plan)
        bent = inject(traffic, fault, made.rescore)
    except BadFault:
        return None
    if not incident.harms(fault, made.rescore.plan) or _most_hit(traffic, bent, fault) < EVERY_ROW:
        return None
    watched = Span(since_us, since_us + 2 * LOOKED_HOURS * HOUR_US)
    healthy = Span(since_us - DENSE_DAYS * DAY_US, since_us)
    case = evolve(of_world(made, watched), healthy=healthy, traffic=bent)
    seen = Seen(name, day, kind, fault.subject, fault.size, incident.cause, harmful=True, window_hours=LOOKED_HOURS)
    found = first_seen(case, fault.since_us + 1, every_us=LOOK_US)
    return _named(_told(seen, found, fault.since_us), found, incident.culprits(fault, made.rescore.plan))


def _most_hit(before: Traffic, bent: Traffic, fault: Fault) -> float:
    """Return of the feature that a fault hits most the share of rows, 0 to 1: a window of days fills slowly with it."""
    since = pl.col("_at_us") >= fault.since_us
    old, new = (each.predictions.filter(since) for each in (before, bent))
    return max((float(old[name].ne_missing(new[name]).mean() or 0.0) for name in before.features), default=0.0)  # type: ignore[arg-type]


@cache
def _dense(name: str, day: int) -> Traffic:
    made = _world(name)
    since_us = start_us(made.traffic, day)
    return dense(made.traffic, Span(since_us - DENSE_DAYS * DAY_US, since_us + DAY_US))


def of_world(made: World, watched: Span) -> Case:
    """Return a case of a world's own traffic, with the four weeks before for its healthy time."""
    return Case(
        traffic=made.traffic,
        healthy=Span(watched.since_us - HEALTHY_DAYS * DAY_US, watched.since_us),
        watched=watched,
        task=made.definition.task,
        plan=made.rescore.plan,
        rescore=made.rescore,
        segments=made.definition.slices,
        registered=made.registered,
    )


def _told(seen: Seen, found: FirstSeen | None, since_us: int) -> Seen:
    if found is None:
        return seen
    said = found.diagnosis
    return msgspec.structs.replace(
        seen,
        after_hours=(found.at_us - since_us) / HOUR_US,
        cause=said.cause,
        words=said.kind,
        culprit=said.culprit.words,
        action=said.remedy.action,
    )


def _named(seen: Seen, found: FirstSeen | None, right: tuple[str, ...]) -> Seen:
    if found is None or not right:
        return seen
    first: list[Any] = [names[0] for _, names in found.diagnosis.culprit.named()]
    whose = {"request"} if (seen.subject or "").startswith(REQUEST_PREFIX) else set()
    return msgspec.structs.replace(seen, named=bool(first) and set(first) <= {*right, *whose})
