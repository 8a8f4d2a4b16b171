"""Others ask than before: more of those the model knows well, more of those it is wrong about, or a new segment."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from attrs import evolve

from charkha.features.plan import FeaturePlan
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import bend_source, hit_rows, lots
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident
from charkha.operations.drills.incidents.categories import never_seen, with_unknown_value
from charkha.operations.drills.questions import drawn, exchanged, is_binary, questions, within
from charkha.operations.drills.targets import categories, numeric_features, segments
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.model import FloatArray

BINS = 10
# A share of the seconds from which scores are held off 0 and 1, where a loss would have no end.
EDGE = 1e-6
# What tells the id of one who joined from that of the question which was copied.
COPY = "+"


def features_or_segments(traffic: Traffic, plan: FeaturePlan) -> list[str]:
    """Return what a population can be drawn by: features that are numbers, and segments."""
    return [*numeric_features(traffic, plan), *segments(traffic, plan)]


def excess_loss(traffic: Traffic, asked: pl.DataFrame) -> FloatArray:
    """Return by how much the loss of each question is above what its score expects; NaN without a label: float64 (n,).

    Binary: log loss against the entropy of the score. Otherwise the absolute error against its mean over all.
    """
    score, label = (asked[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("score", "label"))
    if not is_binary(traffic):
        error = np.abs(label - score)
        return np.asarray(error - np.nanmean(error))
    p = np.clip(score, EDGE, 1 - EDGE)
    return np.asarray(-(label - p) * np.log(p / (1 - p)))


def _bins(asked: pl.DataFrame, subject: str) -> pl.Series:
    """Return the bin of each question: a tenth of a feature's values, or inside or outside of a segment."""
    if "=" in subject:
        column, _, value = subject.partition("=")
        return (asked[REQUEST_PREFIX + column].cast(pl.String) == value).fill_null(value=False).cast(pl.Int64)
    ranks = asked[subject].rank("ordinal").cast(pl.Float64) / max(1, asked[subject].count()) * BINS
    return ranks.ceil().cast(pl.Int64).fill_null(0)


def _shifted(traffic: Traffic, fault: Fault, rescore: Rescore, sign: float) -> Traffic:
    """Draw questions towards the bins with the largest excess loss (sign 1), or those with the smallest (-1)."""
    every = questions(traffic)
    asked = every.filter(pl.Series(within(every, fault.within(traffic.span))))
    frame = pl.DataFrame({"bin": _bins(asked, str(fault.subject)), "loss": pl.Series(excess_loss(traffic, asked))})
    by_bin = frame.with_columns(pl.col("loss").fill_nan(None)).group_by("bin").agg(pl.col("loss").mean())
    order = by_bin.with_columns(rank=pl.col("loss").fill_null(0.0).rank("ordinal").cast(pl.Float64))
    placed = frame.join(order.select("bin", "rank"), on="bin", how="left", maintain_order="left")["rank"].to_numpy()
    steepness = sign * (fault.size or 0.0) / max(1, by_bin.height - 1)
    donors = drawn(np.exp(steepness * placed), fault.seed)
    return exchanged(traffic, asked["id"], asked["id"].gather(pl.Series(donors)), rescore)


def _harmful(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    return _shifted(traffic, fault, rescore, 1.0)


def _harmless(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    return _shifted(traffic, fault, rescore, -1.0)


def _new_segment(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    """Have others ask as well, of a segment that never was before, of which nothing is stored.

    They ask what some who asked at the same time asked; whoever asked before goes on to ask: a new value in the data,
    in place of another, is another incident.
    """
    column, places = str(fault.subject).removeprefix(REQUEST_PREFIX), hit_rows(traffic, fault)
    asked = traffic.predictions[places]
    ids = asked.filter(lots(asked, fault.seed, fault.kind) < (fault.size or 0.0))["id"].unique()
    joined = evolve(
        traffic,
        predictions=_with_copies(traffic.predictions, ids, ["_at_us"]),
        labels=_with_copies(traffic.labels, ids, ["_label_known_us"]),
        recomputed=_with_copies(traffic.recomputed, ids, []),
    )

    def newcomers(rows: pl.DataFrame) -> Mapping[str, pl.Series]:
        every = np.ones(rows.height, np.bool_)
        return with_unknown_value(
            rescore.plan, rows, column, every, never_seen(rows[str(fault.subject)], "new segment")
        )

    new = joined.predictions["id"].str.ends_with(COPY).arg_true().to_numpy().astype(np.int64)
    return bend_source(joined, new, rescore, newcomers)


def _with_copies(frame: pl.DataFrame, ids: pl.Series, order: list[str]) -> pl.DataFrame:
    """Return a frame with one more row for each of some ids, under an id of its own, in the order of their times."""
    copies = frame.filter(pl.col("id").is_in(ids.implode())).with_columns(pl.col("id") + COPY)
    both = pl.concat([frame, copies])
    return both.sort(order, maintain_order=True) if order and copies.height else both


INCIDENTS = (
    Incident(
        kind="population_shift_harmful",
        cause="population",
        words="more of those ask about whom the model is more often wrong than its scores say",
        inject=_harmful,
        subjects=features_or_segments,
        unit="log of how many times as often the last bin is drawn as the first",
        size=3.0,
        every_row=False,
        within="3d",
        rows=2_000,
        by_labels=True,
        touches={"predictions", "labels", "recomputed"},
    ),
    Incident(
        kind="population_shift_harmless",
        cause="benign",
        words="more of those ask about whom the model is right as often as its scores say, or more often",
        inject=_harmless,
        subjects=features_or_segments,
        unit="log of how many times as often the first bin is drawn as the last",
        size=3.0,
        harmful=False,
        every_row=False,
        within="3d",
        rows=2_000,
        touches={"predictions", "labels", "recomputed"},
    ),
    Incident(
        kind="new_segment",
        cause="population",
        words="others ask as well, of a segment of which nothing is known: new values of a field, and no history",
        inject=_new_segment,
        subjects=categories,
        unit="share of the rows that come besides",
        size=0.3,
        every_row=False,
        within="12h",
        rows=500,
        touches={"predictions", "labels", "recomputed"},
    ),
)
