"""Questions that are exchanged for others, added or left out, each whole: what was asked, served and became true."""

import numpy as np
import polars as pl
from attrs import evolve

from charkha.features.seen import BoolArray
from charkha.features.segments import IntArray
from charkha.monitoring.performance import Span
from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import replaced
from charkha.spec.model import FloatArray

# Questions are exchanged for others of about the same time: one of so many around them.
BLOCK = 256
_OF_THE_PLACE = ("id", "_at_us", "version", "role", "replica", "bundle", "latency_us")


def questions(traffic: Traffic) -> pl.DataFrame:
    """Return one row per question, as of `predictions`: the one that was answered; with `label`, the newest or null."""
    answers = traffic.predictions.filter(pl.col("role") != "shadow").unique("id", keep="first", maintain_order=True)
    newest = traffic.labels.unique("id", keep="last", maintain_order=True)
    return answers.join(newest, on="id", how="left", maintain_order="left")


def within(asked: pl.DataFrame, span: Span) -> BoolArray:
    """Return which questions were asked within a span."""
    return ((asked["_at_us"] >= span.since_us) & (asked["_at_us"] < span.until_us)).to_numpy()


def drawn(weights: FloatArray, seed: int) -> IntArray:
    """Return for each place another one, drawn with these weights (n,) among those around it: int64 (n,).

    Where all weights around a place are 0, it keeps what it has.
    """
    random = np.random.default_rng(seed)
    found = np.arange(len(weights))
    for start in range(0, len(weights), BLOCK):
        first = max(0, min(start, len(weights) - BLOCK))  # the last block is as large as the others
        block = weights[first : first + BLOCK]
        if block.sum() > 0:
            size = len(weights[start : start + BLOCK])
            found[start : start + size] = first + random.choice(len(block), size=size, p=block / block.sum())
    return found


def exchanged(traffic: Traffic, places: pl.Series, donors: pl.Series, rescore: Rescore) -> Traffic:
    """Return traffic in which each of some questions is another one, asked and answered at its own place.

    places, donors: ids. A question takes the donor's request, features, ages, score and label, which becomes known as
    long after it; it keeps its time, its replica and the version that answers. What is recomputed goes with the donor.
    """
    pairs = pl.DataFrame({"id": places, "_donor": donors}).filter(pl.col("id") != pl.col("_donor"))
    predictions = _exchanged_rows(traffic, pairs, rescore)
    times = traffic.predictions.select("id", "_at_us").unique("id")
    moved = pairs.join(times, on="id").join(times.rename({"id": "_donor", "_at_us": "_donor_us"}), on="_donor")
    kept = traffic.labels.join(pairs, on="id", how="anti", maintain_order="left")
    labels = pl.concat([kept, labels_of(traffic.labels, moved)]).sort("_label_known_us", maintain_order=True)
    sample = traffic.recomputed.join(pairs, on="id", how="anti", maintain_order="left")
    told = traffic.recomputed.rename({"id": "_donor"}).join(pairs, on="_donor").select(sample.columns)
    return evolve(traffic, predictions=predictions, labels=labels, recomputed=pl.concat([sample, told]))


def labels_of(labels: pl.DataFrame, moved: pl.DataFrame) -> pl.DataFrame:
    """Return the labels of donors as those of their new ids. moved: id, `_at_us`, `_donor`, `_donor_us`."""
    known = pl.col("_label_known_us") + pl.col("_at_us") - pl.col("_donor_us")
    told = labels.rename({"id": "_donor"}).join(moved, on="_donor", maintain_order="left")
    return told.select("id", "label", known.alias("_label_known_us"))


def _exchanged_rows(traffic: Traffic, pairs: pl.DataFrame, rescore: Rescore) -> pl.DataFrame:
    every = traffic.predictions.with_row_index("_place")
    of_donor = every.filter(pl.col("role") != "shadow").unique("id", keep="first", maintain_order=True)
    own = every.select("_place", "id", "version").join(pairs, on="id", how="inner", maintain_order="left")
    same = every.select(_donor="id", version="version", _same="_place").unique(["_donor", "version"], keep="first")
    found = own.join(same, on=["_donor", "version"], how="left", maintain_order="left").join(
        of_donor.select(_donor="id", _first="_place"), on="_donor", how="left", maintain_order="left"
    )
    found = found.filter(pl.col("_first").is_not_null())
    content = traffic.predictions[found["_same"].fill_null(found["_first"])]
    columns = [name for name in content.columns if name not in _OF_THE_PLACE]
    places = found["_place"].to_numpy().astype(np.int64)
    predictions = replaced(traffic.predictions, places, content.select(columns).to_dict())
    strange = places[found["_same"].is_null().to_numpy()]
    if not len(strange):
        return predictions
    scores, decisions = rescore(predictions[strange])
    anew = {"score": pl.Series(scores, nan_to_null=True)}
    return replaced(predictions, strange, anew | ({} if decisions is None else {"decision": pl.Series(decisions)}))


def added(traffic: Traffic, donors: pl.Series, times_us: IntArray, prefix: str) -> Traffic:
    """Return traffic with more questions: copies of donors (ids, one each), asked at other times, under new ids."""
    times = traffic.predictions.select(_donor="id", _donor_us="_at_us").unique("_donor")
    numbers = pl.Series(range(len(donors)), dtype=pl.Int64).cast(pl.String)
    moved = pl.DataFrame({"_donor": donors, "_at_us": times_us, "id": prefix + numbers}).join(times, on="_donor")
    rows = traffic.predictions.drop("_at_us").rename({"id": "_donor"}).join(moved, on="_donor")
    # Who answers, and how soon, is a lot for each: copies of one question do not go to one replica.
    served = traffic.predictions.select("replica", "latency_us")
    rows = rows.with_columns(served.sample(rows.height, with_replacement=True, seed=len(donors)))
    predictions = pl.concat([traffic.predictions, rows.select(traffic.predictions.columns)])
    labels = pl.concat([traffic.labels, labels_of(traffic.labels, moved)])
    return evolve(
        traffic,
        predictions=predictions.sort("_at_us", maintain_order=True),
        labels=labels.sort("_label_known_us", maintain_order=True),
    )


def without(traffic: Traffic, ids: pl.Series) -> Traffic:
    """Return traffic without some questions."""
    gone = pl.DataFrame({"id": ids})
    frames = {name: getattr(traffic, name) for name in ("predictions", "labels", "recomputed")}
    return evolve(
        traffic, **{k: frame.join(gone, on="id", how="anti", maintain_order="left") for k, frame in frames.items()}
    )


def louder(vitals: pl.DataFrame, span: Span, times: float) -> pl.DataFrame:
    """Return vitals of a span with so many times as many requests."""
    hit = pl.col("_minute_us").is_between(span.since_us, span.until_us, closed="left")
    scaled = (pl.col("requests") * times).round(0).cast(pl.Int64)
    return vitals.with_columns(requests=pl.when(hit).then(scaled).otherwise(pl.col("requests")))


def is_binary(traffic: Traffic) -> bool:
    """Say whether labels are 0 and 1 only."""
    return bool(traffic.labels["label"].is_in([0.0, 1.0]).all())
