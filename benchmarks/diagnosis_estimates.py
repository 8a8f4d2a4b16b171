"""Estimates made before labels were there, beside what came true: how often was it inside the interval?

Natural weeks of the binary worlds, into which nothing was put. An estimate is made at the end of its week, from scores
and from labels that were known before the week; what came true is told by the labels that came later, all of them.
Beside it NannyML's CBPE on the same weeks, for the metric that both have.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from attrs import evolve
from claims import Measured
from diagnosis_bench import FIRST_DAY, Bench
from diagnosis_looks import HEALTHY_DAYS, WATCHED_DAYS, days_of, of_world, start_us
from diagnosis_pairs import pair_name, write_pair
from diagnosis_peer_tools import NANNYML, with_tool
from diagnosis_worlds import world
from suite import Found

from charkha.monitoring.diagnosis.checks.estimate import LEAST_ROWS, estimated_performance
from charkha.monitoring.diagnosis.performance_estimate import Metric
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import Traffic
from charkha.spec.durations import DAY_US

BINARY = ("flights", "bank", "loans")
METRICS: Sequence[Metric] = ("log_loss", "roc_auc", "brier")
# The healthy time has four weeks of which all labels but the latest of these were known.
LATEST = 0.95
NORMAL_95 = 1.96


class Estimated(msgspec.Struct, frozen=True):
    """One metric of a week, with the interval of the estimate at nominal 95 %."""

    world: str
    day: int
    metric: str
    realised: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether what came true is within the interval."""
        return self.low <= self.realised <= self.high


def estimates(bench: Bench) -> Found:
    """Estimates of natural weeks, ours and those of CBPE."""
    ours: list[Estimated] = []
    pairs = bench.folder / "estimated"
    for name in BINARY:
        out = bench.folder / f"estimated-{name}.jsonl"
        step = WATCHED_DAYS * bench.extent.every_week
        bench.child("diagnosis_estimates:weeks", name=name, step=step, out=str(out), pairs=str(pairs))
        ours += msgspec.json.decode(out.read_bytes(), type=list[Estimated])
        for metric in METRICS:
            some = [each for each in ours if (each.world, each.metric) == (name, metric)]
            bench.tell(f"    {name}, {metric}: {_share(some).note} inside, interval ± {_half(some):.3f} (median)")
    yield "realised_inside_the_estimate_before_labels", _share(ours)
    of_auc = [each for each in ours if each.metric == "roc_auc"]
    yield "realised_roc_auc_inside_the_estimate", _share(of_auc)
    python = NANNYML.python(bench.cache, bench.log)
    said = with_tool(python, "cbpe", bench.log, folder=str(pairs)).values
    yield "realised_roc_auc_inside_nannyml_cbpe", _share([_by_cbpe(each, said) for each in of_auc])


def _by_cbpe(ours: Estimated, said: Mapping[str, float]) -> Estimated:
    """Return what CBPE estimates of the same week, by its own standard error."""
    name = pair_name(ours.world, ours.day)
    value, half = said[f"{name}:value"], NORMAL_95 * said[f"{name}:error"]
    return msgspec.structs.replace(ours, low=value - half, high=value + half)


def weeks(name: str, step: int, out: str, pairs: str) -> dict[str, float]:
    """Estimate the weeks of a world, one every `step` days, and write what other tools need for the same."""
    traffic = world(name).traffic
    delay_days = _delay_days(traffic)
    first = FIRST_DAY + int(np.ceil(delay_days))
    found: list[Estimated] = []
    for day in range(first, int(days_of(traffic) - WATCHED_DAYS - delay_days) + 1, step):
        of_week = list(_estimated(name, day, HEALTHY_DAYS + delay_days))
        if of_week:
            since_us = start_us(traffic, day)
            week = Span(since_us, since_us + WATCHED_DAYS * DAY_US)
            write_pair(Path(pairs) / pair_name(name, day), traffic, since_us, week, HEALTHY_DAYS + delay_days)
        found += of_week
    Path(out).write_bytes(msgspec.json.encode(found))
    return {"estimates": len(found)}


def _delay_days(traffic: Traffic) -> float:
    asked = traffic.predictions.select("id", "_at_us")
    known = traffic.labels.unique("id", keep="first").join(asked, on="id")
    delays = known["_label_known_us"] - known["_at_us"]
    return float(delays.quantile(LATEST) or 0.0) / DAY_US


def _estimated(name: str, day: int, healthy_days: float) -> Iterator[Estimated]:
    """Yield what was estimated of a week and came true; nothing of one with few rows or with labels of one kind."""
    made = world(name)
    since_us = start_us(made.traffic, day)
    week = Span(since_us, since_us + WATCHED_DAYS * DAY_US)
    healthy = Span(since_us - round(healthy_days * DAY_US), since_us)
    before = evolve(of_world(made, week), healthy=healthy)
    after = evolve(before, watched=Span(since_us, made.traffic.span.until_us))
    labels = made.traffic.labels.join(_asked(made.traffic, week), on="id", how="semi")
    if labels.height < LEAST_ROWS or labels["label"].n_unique() == 1:
        return
    for metric in METRICS:
        estimate = estimated_performance(before, week, metric)
        truth = estimated_performance(after, week, metric)
        if estimate is not None and truth is not None and truth.realised is not None:
            yield Estimated(name, day, metric, truth.realised, estimate.low, estimate.high)


def _asked(traffic: Traffic, span: Span) -> pl.DataFrame:
    return traffic.predictions.filter(pl.col("_at_us").is_between(span.since_us, span.until_us, closed="left"))


def _share(found: Sequence[Estimated]) -> Measured:
    inside = sum(each.inside for each in found)
    return Measured(inside / len(found) if found else float("nan"), f"{inside} of {len(found)}")


def _half(found: Sequence[Estimated]) -> float:
    return float(np.median([(each.high - each.low) / 2 for each in found])) if found else float("nan")
