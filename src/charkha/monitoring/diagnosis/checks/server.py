"""How the server did: failures and what was turned away, latency, fallbacks, volume, and the clocks of replicas."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from attrs import evolve

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.saying import duration, percent, signal_of
from charkha.monitoring.diagnosis.checks.shifts import Watch
from charkha.monitoring.diagnosis.signal import Signal

# A burst of failures is to be seen within minutes; how many ask is a matter of hours.
BLOCK_US = 600_000_000
FAILURES = {"errors": "failed", "sheds": "were turned away", "timeouts": "were not answered in time"}
# Quantiles of the healthy latencies: of which shares of rows are beyond them, by which a few rows tell as much as many.
LATENCIES = (0.5, 0.95)
_ALL = ""


def server_signals(case: Case) -> list[Signal]:
    """Return "errors", "sheds", "timeouts", "latency", "fallbacks", "volume" of the model, and "clock" of replicas.

    Latency is told by its median; a volume that is higher alone is no fault.
    """
    return [*_failures(case), *_latency(case), *_fallbacks(case), *_volume(case), *_clocks(case)]


def _failures(case: Case) -> Iterator[Signal]:
    watch, vitals = Watch.of(case, "rise", BLOCK_US), case.traffic.vitals
    *hits, requests = watch.grid.sums(vitals, "_minute_us", pl.lit(_ALL), [_ALL], [*FAILURES, "requests"])
    rows = np.repeat(requests, len(FAILURES), axis=1)
    for shift in watch.shares(list(FAILURES), np.hstack(hits), rows):
        words = f"{percent(shift.now)} of the requests {FAILURES[shift.name]}, where {percent(shift.usual)} is usual"
        yield signal_of(
            shift.name, "", shift, unit="share of requests", rows=requests[shift.since :].sum(), words=words
        )


def _latency(case: Case) -> Iterator[Signal]:
    watch, answered = Watch.of(case, "rise", BLOCK_US), case.traffic.predictions.drop_nulls("latency_us")
    healthy = answered.filter(_within(case.healthy.since_us, case.healthy.until_us))["latency_us"]
    if healthy.is_empty():
        return
    cuts = [float(np.quantile(healthy.to_numpy(), share)) for share in LATENCIES]
    figures = [pl.len(), *((pl.col("latency_us") > cut).sum() for cut in cuts)]
    rows, *beyond = watch.grid.of_blocks(answered, "_at_us", pl.lit(_ALL), [_ALL], figures, empty=0.0)
    names = [f"p{100 * share:.0f}" for share in LATENCIES]
    found = watch.shares(names, np.hstack(beyond), np.repeat(rows, len(cuts), axis=1))
    for shift in sorted(found, key=lambda each: each.alarmed_us)[:1]:
        since = answered.filter(_within(shift.began_us, case.watched.until_us))["latency_us"]
        usual, now = (float(np.median(each.to_numpy())) / 1000 for each in (healthy, since))
        beyond_p95 = float((since.to_numpy() > cuts[-1]).mean())
        words = (
            f"the median latency is {now:.3g} ms, where {usual:.3g} ms is usual; {percent(beyond_p95)} of the answers "
            f"took longer than {cuts[-1] / 1000:.3g} ms, which 5 % are to exceed"
        )
        told = evolve(shift, usual=usual, now=now)
        yield signal_of("latency", "", told, unit="ms, the median", rows=len(since), words=words)


def _fallbacks(case: Case) -> Iterator[Signal]:
    watch, predictions = Watch.of(case, "rise", BLOCK_US), case.traffic.predictions
    told = [pl.len(), (pl.col("role") == "fallback").sum()]
    rows, hits = watch.grid.of_blocks(_answers(predictions), "_at_us", pl.lit(_ALL), [_ALL], told, empty=0.0)
    for shift in watch.shares(["fallbacks"], hits, rows):
        since = predictions.filter(_within(shift.began_us, case.watched.until_us))["fallback"].drop_nulls()
        causes = ", ".join(map(str, since.mode().sort())) or "no cause told"
        words = (
            f"the fallback answered {percent(shift.now)} of the questions ({causes}), where {percent(shift.usual)} "
            "is usual"
        )
        yield signal_of("fallbacks", "", shift, unit="share of questions", rows=rows[shift.since :].sum(), words=words)


def _volume(case: Case) -> Iterator[Signal]:
    watch = Watch.of(case)
    asked = _answers(case.traffic.predictions)
    (counts,) = watch.grid.of_blocks(asked, "_at_us", pl.lit(_ALL), [_ALL], [pl.len()], empty=0.0)
    for shift in watch.counts(["volume"], counts):
        words = f"{shift.now:.3g} questions an hour, where {shift.usual:.3g} are usual at those hours of the week"
        yield signal_of("volume", "", shift, unit="questions an hour", rows=counts[shift.since :].sum(), words=words)


def _clocks(case: Case) -> Iterator[Signal]:
    watch, vitals = Watch.of(case, "both", BLOCK_US), case.traffic.vitals.drop_nulls(["clock_ahead_us", "replica"])
    replicas = sorted(vitals["replica"].unique())
    if not replicas:
        return
    (ahead,) = watch.grid.of_blocks(
        vitals, "_minute_us", pl.col("replica"), replicas, [pl.col("clock_ahead_us").median()]
    )
    for shift in watch.ranks(replicas, ahead / 1e6):
        side = "ahead" if shift.now > shift.usual else "behind"
        words = f"the clock of {shift.name} is {duration(abs(shift.now - shift.usual))} {side} of what it was"
        minutes = vitals.filter((pl.col("replica") == shift.name) & (pl.col("_minute_us") >= shift.began_us)).height
        yield signal_of("clock", shift.name, shift, unit="seconds ahead", rows=minutes, words=words)


def _answers(predictions: pl.DataFrame) -> pl.DataFrame:
    return predictions.filter(pl.col("role") != "shadow")


def _within(since_us: int, until_us: int) -> pl.Expr:
    return pl.col("_at_us").is_between(since_us, until_us, closed="left")
