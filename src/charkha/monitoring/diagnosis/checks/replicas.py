"""Replicas behind one balancer are exchangeable: one that differs from the others is at fault, whatever they all do."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from attrs import evolve, field, frozen

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.grid import Grid
from charkha.monitoring.diagnosis.checks.saying import percent, signal_of
from charkha.monitoring.diagnosis.checks.shifts import Shift, Watch
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.sequential.exchangeable import Exchangeable
from charkha.serving.prediction_frames import FEATURES_LOGGED
from charkha.spec.model import FloatArray

# Levels are told by the share of rows above these quantiles of all rows of the block.
CUTS = (0.1, 0.5, 0.9)
FAILURES = ("errors", "sheds", "timeouts")


@frozen(eq=False)
class _Hits:
    """What is counted of each block and replica, float64 (blocks, replicas) each; share: of all rows of the block."""

    names: list[str] = field(factory=list)
    hits: list[FloatArray] = field(factory=list)
    rows: list[FloatArray] = field(factory=list)
    share: list[FloatArray] = field(factory=list)

    def add(self, name: str, hits: FloatArray, rows: FloatArray, share: FloatArray) -> None:
        self.names.append(name)
        self.hits.append(hits)
        self.rows.append(rows)
        self.share.append(share)


def replica_signals(case: Case) -> list[Signal]:
    """Return "replica" of each replica whose scores, latencies, failures, nulls, ages or features are not the others'.

    Compared within the same hour and version, so what moves all replicas moves none of them. One that differs makes
    the others differ from it: so it is put aside, and those that are left are compared once more.
    """
    watch = Watch.of(case)
    served = case.traffic.predictions.drop_nulls("replica").filter(pl.col("role") != "shadow")
    served = served.with_columns(_block=watch.grid.place("_at_us")).drop_nulls("_block")
    vitals = case.traffic.vitals.drop_nulls("replica")
    found: list[Signal] = []
    while different := _different(watch, served, vitals):
        found.append(max(different, key=lambda signal: signal.evidence))
        served, vitals = (each.filter(pl.col("replica") != found[-1].subject) for each in (served, vitals))
    return found


def _different(watch: Watch, served: pl.DataFrame, vitals: pl.DataFrame) -> list[Signal]:
    """Return a signal of each replica that is not like the others."""
    replicas = sorted({*served["replica"].unique(), *vitals["replica"].unique()})
    if len(replicas) < 2:
        return []
    counted = _Hits()
    _count_rows(counted, watch.grid, served, replicas)
    _count_failures(counted, watch.grid, vitals, replicas)
    names = [f"{replica}\n{name}" for name in counted.names for replica in replicas]
    observed = tuple(np.hstack(each) for each in (counted.hits, counted.rows, counted.share))
    some = np.flatnonzero(observed[0].sum(axis=0) + (observed[2] * observed[1]).sum(axis=0) > 0)
    observed = tuple(each[:, some] for each in observed)
    found = watch.shifts([names[each] for each in some], Exchangeable.of(len(some)), observed)
    return list(_told(found, observed, len(replicas)))


def _count_rows(counted: _Hits, grid: Grid, served: pl.DataFrame, replicas: Sequence[str]) -> None:
    """Count what rows tell, all statistics in one pass over the strata (block, version)."""
    told = _statistics(served)
    strata = ["_block", "version"]
    flags = served.select(*strata, "_at_us", "replica", **told)
    names = list(told)
    of_all = flags.group_by(strata).agg(
        *(pl.col(name).mean().alias(f"_mean_{number}") for number, name in enumerate(names))
    )
    cells = flags.join(of_all, on=strata, how="left")
    figures = []
    for number, name in enumerate(names):
        known = pl.col(name).is_not_null()
        figures += [
            pl.col(name).cast(pl.Float64).sum(),
            known.sum(),
            pl.col(f"_mean_{number}").filter(known).mean(),
        ]
    found = grid.of_blocks(cells, "_at_us", pl.col("replica"), replicas, figures, empty=0.0)
    for number, name in enumerate(names):
        counted.add(name, *found[3 * number : 3 * number + 3])


def _statistics(served: pl.DataFrame) -> dict[str, pl.Expr]:
    """Return what each row is or is not: above the 10th, 50th and 90th percentile of its stratum, null."""
    strata = ["_block", "version"]
    numbers = [name for name, kind in served.schema.items() if kind == pl.Float64() and _compared(name)]
    features = [name for name in served.columns if _compared(name) and name not in ("score", "latency_us")]
    told: dict[str, pl.Expr] = {}
    for name in ("score", "latency_us", *(name for name in numbers if name != "score")):
        for cut in CUTS if name in ("score", "latency_us") else (0.5,):
            column = pl.col(name)
            told[f"{name} above its {100 * cut:.0f}th percentile"] = column > column.quantile(cut).over(strata)
    logged = pl.col(FEATURES_LOGGED)
    told |= {f"{name} null": pl.when(logged).then(pl.col(name).is_null()) for name in features}
    return told | {"answered by the fallback": pl.col("role") == "fallback"}


def _compared(name: str) -> bool:
    return name in ("score", "latency_us") or ("." in name and not name.startswith("request."))


def _count_failures(counted: _Hits, grid: Grid, vitals: pl.DataFrame, replicas: Sequence[str]) -> None:
    *hits, requests = grid.sums(vitals, "_minute_us", pl.col("replica"), replicas, [*FAILURES, "requests"])
    for name, of_replica in zip(FAILURES, hits, strict=True):
        rows = np.maximum(requests, of_replica)
        total = rows.sum(axis=1, keepdims=True)
        share = of_replica.sum(axis=1, keepdims=True) / np.maximum(total, 1.0)
        counted.add(name, of_replica, rows, np.broadcast_to(share, rows.shape))


def _told(found: list[tuple[int, Shift]], observed: tuple[FloatArray, ...], replicas: int) -> Iterator[Signal]:
    """Yield one signal for each replica, by its strongest figure, since the earliest alarm."""
    by_replica: dict[str, list[tuple[int, Shift]]] = {}
    for check, shift in found:
        by_replica.setdefault(shift.name.split("\n")[0], []).append((check, shift))
    for replica, theirs in by_replica.items():
        check, strongest = max(theirs, key=lambda each: each[1].evidence)
        hits, rows, share = (each[strongest.since :, check] for each in observed)
        now, usual = hits.sum() / rows.sum(), (share * rows).sum() / rows.sum()
        others = sorted({shift.name.split("\n")[1] for _, shift in theirs} - {strongest.name.split("\n")[1]})
        words = (
            f"{replica} is not like the other {replicas - 1}: {strongest.name.split(chr(10))[1]} in {percent(now)} of "
            f"its rows, {percent(usual)} of all"
        ) + (f"; also {', '.join(others[:3])}" + (", …" if len(others) > 3 else "") if others else "")
        told = evolve(strongest, usual=float(usual), now=float(now), alarmed_us=min(s.alarmed_us for _, s in theirs))
        yield signal_of("replica", replica, told, unit="share of rows", rows=rows.sum(), words=words)
