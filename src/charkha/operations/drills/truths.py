"""Labels that are others than they were, given the same features: the world has changed, and the inputs have not."""

import numpy as np
import polars as pl
from attrs import evolve

from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import lots
from charkha.operations.drills.questions import is_binary
from charkha.spec.model import FloatArray

EDGE = 1e-3


def moved_truth(traffic: Traffic, asked: pl.DataFrame, shift: FloatArray, seed: int) -> Traffic:
    """Move what becomes true of some questions. asked: as of `questions`. shift: float64 (n,).

    Binary: by so much in log-odds, from the score as it was; a label turns over by lot, no more often than needed.
    Otherwise the value itself, by so many standard deviations of the errors there were. Every record of a label moves.
    """
    score, label = (asked[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("score", "label"))
    if is_binary(traffic):
        p = np.clip(score, EDGE, 1 - EDGE)
        moved = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + shift)))
        up, down = (moved - p) / (1 - p), (p - moved) / p
        lot = lots(asked, seed, "truth")
        new = np.where((label == 0) & (lot < up), 1.0, np.where((label == 1) & (lot < down), 0.0, label))
    else:
        new = label + shift * max(float(np.nanstd(label - score)), 1e-12)
    differs = ~np.isnan(label) & ~np.isnan(score) & (new != label)
    return with_labels(traffic, asked["id"].filter(pl.Series(differs)), new[differs])


def with_labels(traffic: Traffic, ids: pl.Series, values: FloatArray) -> Traffic:
    """Return traffic in which some questions have other labels; they become known when they did."""
    told = pl.DataFrame({"id": ids, "_new": values}, schema={"id": pl.String(), "_new": pl.Float64()})
    both = traffic.labels.join(told, on="id", how="left", maintain_order="left")
    return evolve(traffic, labels=both.select("id", pl.coalesce("_new", "label").alias("label"), "_label_known_us"))
