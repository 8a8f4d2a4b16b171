"""Values of the request's fields that never were: of fields with few values, features or only keys.

The first three quarters of the healthy history say what values there are; the last quarter says how often a new one
comes by itself.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from attrs import evolve

from charkha.clock import to_iso
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.detect import changed
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.null import LEAST_BLOCKS
from charkha.monitoring.sequential.shares import Shares
from charkha.monitoring.tiles import TILE_US
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.durations import HOUR_US
from charkha.spec.model import FloatArray

MOST_VALUES = 300
KNOWN_FOR = 0.75


def category_signals(case: Case) -> list[Signal]:
    """Return "unseen" of the fields of the request that have values which they never had."""
    rows = case.traffic.predictions.filter(pl.col("role") != "shadow")
    healthy = rows.filter(pl.col("_at_us").is_between(case.healthy.since_us, case.healthy.until_us, closed="left"))
    split_us = case.healthy.since_us + round(KNOWN_FOR * (case.healthy.until_us - case.healthy.since_us))
    fields = [name for name in rows.columns if name.startswith(REQUEST_PREFIX) and _has_categories(healthy[name])]
    unseen = []
    for name in fields:
        known = healthy.filter(pl.col("_at_us") < split_us)[name].unique().drop_nulls()
        unseen.append((~pl.col(name).is_in(known.implode()) & pl.col(name).is_not_null()).alias(name))
    told = rows.filter(pl.col("_at_us") >= split_us).select("_at_us", *unseen)
    return list(_signals(case, told, fields, split_us)) if fields else []


def _has_categories(values: pl.Series) -> bool:
    return values.dtype in (pl.String(), pl.Int64()) and 1 < values.n_unique() <= MOST_VALUES


def _signals(case: Case, told: pl.DataFrame, fields: list[str], split_us: int) -> Iterator[Signal]:
    before = _by_block(told, fields, Span(split_us, case.watched.since_us))
    now = _by_block(told, fields, case.watched)
    if int((before[1] > 0).sum(axis=0).min()) < LEAST_BLOCKS or not len(now[0]):
        return
    budget = evolve(case.budget, looks_per_hour=HOUR_US / TILE_US, checks=len(fields))
    first_us = case.watched.since_us // TILE_US * TILE_US
    for change in changed(Shares.of(*before), before, now, budget):
        since = slice(change.onset.began, None)
        hits, rows = (float(each[since, change.check].sum()) for each in now)
        began_us = first_us + change.onset.began * TILE_US
        usual = before[0][:, change.check].sum() / max(1.0, before[1][:, change.check].sum())
        name = fields[change.check]
        yield Signal(
            check="unseen",
            subject=name,
            alarmed_us=first_us + (change.block + 1) * TILE_US,
            began_us=began_us,
            earliest_us=first_us + change.onset.earliest * TILE_US,
            latest_us=first_us + (change.onset.latest + 1) * TILE_US,
            evidence=change.evidence,
            usual=float(usual),
            now=hits / max(1.0, rows),
            unit="share of rows",
            rows=int(rows),
            words=f"{name} has a value that it never had in {hits / max(1.0, rows):.1%} of {rows:,.0f} rows since "
            f"{to_iso(began_us)}, {usual:.2%} before",
        )


def _by_block(told: pl.DataFrame, fields: list[str], span: Span) -> tuple[FloatArray, FloatArray]:
    """Return hits and rows of the whole blocks of a span: float64 (blocks, fields)."""
    first, end = span.since_us // TILE_US, span.until_us // TILE_US
    placed = told.with_columns(_block=pl.col("_at_us") // TILE_US - first).filter(
        (pl.col("_block") >= 0) & (pl.col("_block") < end - first)
    )
    added = placed.group_by("_block").agg(pl.len().alias("_rows"), *(pl.col(name).sum() for name in fields))
    hits, rows = np.zeros((max(0, end - first), len(fields))), np.zeros((max(0, end - first), len(fields)))
    place = added["_block"].to_numpy()
    hits[place], rows[place] = added.select(fields).to_numpy(), added["_rows"].to_numpy()[:, None]
    return hits, rows
