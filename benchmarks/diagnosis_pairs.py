"""What other tools are given: of natural weeks and of drills the four weeks before and the week that is looked at.

Run by `features_child`: a pair is a folder of two Parquet files, as diagnosis_peers_script.py reads them.
"""

from pathlib import Path

import polars as pl
from diagnosis_looks import HEALTHY_DAYS, ONSET_US, WATCHED_DAYS, start_us
from diagnosis_worlds import World, world

from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.catalogue import INCIDENTS, inject
from charkha.operations.drills.fault import BadFault, Fault
from charkha.spec.durations import DAY_US

WEEK_US = WATCHED_DAYS * DAY_US
NATURAL = "natural"


def natural(name: str, days: list[int], folder: str) -> dict[str, float]:
    """Write pairs of natural weeks that begin on some days of a world."""
    made = world(name)
    for day in days:
        since_us = start_us(made.traffic, day)
        write_pair(Path(folder) / pair_name(name, day), made.traffic, since_us, Span(since_us, since_us + WEEK_US))
    return {"pairs": len(days)}


def drills(name: str, day: int, kinds: list[str], folder: str) -> dict[str, float]:
    """Write pairs of drills as `diagnosis_looks.drills` makes them: the week is that after the onset."""
    made = world(name)
    found = [_drill(made, name, day, kind, Path(folder)) for kind in kinds]
    return {"pairs": sum(found)}


def pair_name(name: str, day: int, kind: str = "") -> str:
    """Return what a pair is called. kind: of incident; none for a natural week."""
    return f"{name}-{day}-{kind or NATURAL}"


def write_pair(folder: Path, traffic: Traffic, healthy_until_us: int, window: Span, days: float = HEALTHY_DAYS) -> None:
    """Write a window of traffic, and the days before it, as far as their labels were known at its end."""
    folder.mkdir(parents=True)
    known = traffic.labels.filter(pl.col("_label_known_us") < window.until_us).unique("id", keep="last")
    healthy = Span(healthy_until_us - round(days * DAY_US), healthy_until_us)
    for name, span in (("reference", healthy), ("window", window)):
        rows = traffic.predictions.filter(pl.col("_at_us").is_between(span.since_us, span.until_us, closed="left"))
        told = rows.join(known.select("id", "label"), on="id", how="left", maintain_order="left")
        told.select("label", "score", *traffic.features, at="_at_us").write_parquet(folder / f"{name}.parquet")


def _drill(made: World, name: str, day: int, kind: str, folder: Path) -> bool:
    """Write a drill; say whether this world can have it and it has to be found."""
    since_us, incident = start_us(made.traffic, day), INCIDENTS[kind]
    try:
        fault = incident.resolved(Fault(kind, since_us + ONSET_US, seed=day), made.traffic, made.rescore.plan)
    except BadFault:
        return False
    if not incident.harms(fault, made.rescore.plan):
        return False
    bent = inject(made.traffic, fault, made.rescore)
    window = Span(fault.since_us, fault.since_us + WEEK_US)
    write_pair(folder / pair_name(name, day, kind), bent, since_us, window)
    return True
