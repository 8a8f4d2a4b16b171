"""Somebody has learnt what the model lets pass: many questions look alike, score low, and mean ill."""

import numpy as np
import polars as pl

from charkha.monitoring.rescore import Rescore
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.bending import lots
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.incident import Incident
from charkha.operations.drills.questions import exchanged, is_binary, questions, within
from charkha.operations.drills.truths import with_labels

# So many questions serve as patterns; and of a model of numbers, the truth lies so many standard deviations above.
PATTERNS = 5
FURTHER = 3.0


def _adversarial_pattern(traffic: Traffic, fault: Fault, rescore: Rescore) -> Traffic:
    every = questions(traffic)
    asked = every.filter(pl.Series(within(every, fault.within(traffic.span)))).drop_nulls("score")
    known = asked.drop_nulls("label").sort("score", "id")
    if known.is_empty():
        return traffic
    patterns = known.head(max(PATTERNS, known.height // 20)).sample(min(PATTERNS, known.height), seed=fault.seed)
    hit = asked.filter(pl.Series(lots(asked, fault.seed, fault.kind) < (fault.size or 0.0)))
    hit = hit.filter(~pl.col("id").is_in(patterns["id"].implode()))
    choice = (lots(hit, fault.seed, "pattern") * patterns.height).astype(np.int64)
    bent = exchanged(traffic, hit["id"], patterns["id"].gather(pl.Series(choice)), rescore)
    if is_binary(traffic):
        return with_labels(bent, hit["id"], np.ones(hit.height))
    spread = float(np.nanstd((every["label"] - every["score"]).cast(pl.Float64).fill_null(float("nan")).to_numpy()))
    values = patterns["score"].gather(pl.Series(choice)).to_numpy() + FURTHER * spread
    return with_labels(bent, hit["id"], values)


INCIDENTS = (
    Incident(
        kind="adversarial_pattern",
        cause="concept",
        words="a share of the questions follows a few patterns with low scores, and all of them are true",
        inject=_adversarial_pattern,
        unit="share of the questions",
        size=0.1,
        every_row=False,
        within="3d",
        rows=1_000,
        by_labels=True,
        touches={"predictions", "labels", "recomputed"},
    ),
)
