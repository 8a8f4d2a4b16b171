"""Answers beside what became true of them, all judged at the same age, so that fast labels do not count for more."""

import numpy as np
import polars as pl
from attrs import frozen
from scipy.special import logit

from charkha.features.segments import IntArray
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.arrays import BoolArray
from charkha.spec.model import FloatArray

# The age of judgement: by then so many of the healthy labels were known. The last few may take for ever.
MATURE = 0.95
EDGE = 1e-4


@frozen(eq=False)
class Graded:
    """One row per question that a version answered, in the order of time; shadows and fallbacks are left out.

    rows: as of `Traffic.predictions`. at_us: int64. score, level: float64; the level is the score (binary: its log
    odds) less its healthy mean, in healthy standard deviations. label: float64, NaN where none was known at the age of
    judgement. delay_us: float64, until the first label, infinite where none is known now. patience_us: the age of
    judgement. now_us: the end of what is watched; nothing known later is here.
    """

    rows: pl.DataFrame
    at_us: IntArray
    score: FloatArray
    level: FloatArray
    label: FloatArray
    delay_us: FloatArray
    patience_us: int
    now_us: int

    @classmethod
    def of(cls, case: Case) -> "Graded":
        """Join the answers of both spans with the labels that are known at their end."""
        rows = _answers(case)
        records = _records(case, rows)
        first = records.group_by("id").agg(pl.col("_delay_us").min())
        at_us = rows["_at_us"].to_numpy()
        delay_us = _joined(rows, first, "_delay_us", np.inf)
        healthy = inside(at_us, case.healthy)
        known = delay_us[healthy & np.isfinite(delay_us)]
        patience_us = int(np.ceil(np.quantile(known, MATURE))) if len(known) else 0
        in_time = records.filter(pl.col("_delay_us") <= patience_us).unique("id", keep="last", maintain_order=True)
        score = rows["score"].to_numpy()
        level = _levels(score, healthy, case)
        label = _joined(rows, in_time, "label", np.nan)
        return cls(rows, at_us, score, level, label, delay_us, patience_us, case.watched.until_us)

    def known(self, span: Span) -> BoolArray:
        """Say which rows of a span are old enough to be judged, and have a label."""
        old: BoolArray = self.at_us + self.patience_us <= self.now_us
        return old & inside(self.at_us, span) & np.isfinite(self.label)


def inside(at_us: IntArray, span: Span) -> BoolArray:
    """Say which times lie within a span."""
    within: BoolArray = (at_us >= span.since_us) & (at_us < span.until_us)
    return within


def _answers(case: Case) -> pl.DataFrame:
    at = pl.col("_at_us")
    spans = [(at >= span.since_us) & (at < span.until_us) for span in (case.healthy, case.watched)]
    answered = pl.col("fallback").is_null() & pl.col("score").is_not_null() & ~pl.col("role").is_in(["shadow"])
    found = case.traffic.predictions.filter((spans[0] | spans[1]) & answered & pl.col("score").is_finite())
    return found.unique("id", keep="first", maintain_order=True).sort("_at_us", maintain_order=True)


def _records(case: Case, rows: pl.DataFrame) -> pl.DataFrame:
    """Return all records of labels that are known by now, in the order in which they became known."""
    known = case.traffic.labels.filter(pl.col("_label_known_us") < case.watched.until_us).drop_nulls("label")
    told = known.sort("_label_known_us", maintain_order=True).join(rows.select("id", "_at_us"), on="id")
    return told.with_columns(_delay_us=(pl.col("_label_known_us") - pl.col("_at_us")).cast(pl.Float64))


def _joined(rows: pl.DataFrame, told: pl.DataFrame, name: str, otherwise: float) -> FloatArray:
    found = rows.select("id").join(told.select("id", name), on="id", how="left", maintain_order="left")
    return found[name].cast(pl.Float64).fill_null(otherwise).to_numpy()


def _levels(score: FloatArray, healthy: BoolArray, case: Case) -> FloatArray:
    raw = logit(np.clip(score, EDGE, 1 - EDGE)) if case.task == "binary" else score
    if not healthy.any():
        return np.zeros_like(raw)
    spread = float(raw[healthy].std())
    levels: FloatArray = (raw - raw[healthy].mean()) / (spread if spread > 0 else 1.0)
    return levels
