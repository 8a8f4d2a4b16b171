"""What a shadow made of the requests that others answered, beside the champion on the same ones."""

import numpy as np
import polars as pl
from attrs import frozen

from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.events import log_e_above
from charkha.spec.durations import MICROS
from charkha.spec.rollout import Shadow

# What was answered in the last minute may not have been scored by a shadow yet, or not be in the log.
GRACE_US = MICROS["m"]
# How often a limit may stop a shadow that keeps it.
ALPHA = 0.001
# A call that takes less is not slow, whatever the champion's take.
LEAST_SLOW_US = 10_000
# As many of its calls may take longer than the bound.
SLOW_SHARE = 0.05
# On fewer calls nobody is said to be slow: the first ones find cold caches.
LEAST_CALLS = 30
# On fewer requests nobody is said to answer constants, or to be ready for users.
LEAST_REQUESTS = 200
# Scores that spread so much less than the champion's are constants.
CONSTANT = 0.01


@frozen(kw_only=True)
class Unseen:
    """Champion and shadow on the same requests of a span.

    calls: that the champion answered; missed: of those, that the shadow left without a score in any row. requests:
    rows that both scored. latency_us: 95th percentiles: of the shadow's own time, and of the champion's whole call;
    slow: of the shadow's calls, those beyond `slow_us`. spent_us: per row, of the same two. decided, disagreed: rows
    where both decide, and otherwise. score_difference: the mean of the absolute difference. spread: the standard
    deviations of the scores, the shadow's first.
    """

    calls: int
    missed: int
    requests: int
    latency_us: tuple[float, float] | None
    slow: int
    slow_us: float
    spent_us: tuple[float, float] | None
    decided: int
    disagreed: int
    score_difference: float | None
    spread: tuple[float, float]
    span: Span


def unseen_of(rows: pl.DataFrame, pair: tuple[str, str], limits: Shadow, span: Span) -> Unseen:
    """Compare a shadow with the champion on the requests of a span, but for those of the last minute.

    rows: outcomes with `latency_us`. pair: the champion and the shadow.
    """
    until_us = span.until_us - GRACE_US
    within = rows.filter(pl.col("_at_us").is_between(span.since_us + GRACE_US, until_us, closed="left"))
    champion = within.filter((pl.col("version") == pair[0]) & (pl.col("role") == "champion"))
    own = ("id", "score", "decision", "latency_us")
    shadow = within.filter((pl.col("version") == pair[1]) & (pl.col("role") == "shadow")).select(own)
    both = champion.join(shadow, on="id", how="left", suffix="_shadow", maintain_order="left")
    calls = both.group_by("_at_us", "latency_us").agg(
        rows=pl.len(),
        missed=pl.col("score_shadow").is_null().any() | pl.col("score_shadow").is_nan().any(),
        own_us=pl.col("latency_us_shadow").first(),
    )
    scored = both.filter(pl.col("score_shadow").is_finite() & pl.col("score").is_finite())
    timed = calls.drop_nulls("own_us")
    usual_us = calls["latency_us"].quantile(0.95)
    slow_us = max(float(LEAST_SLOW_US), limits.max_slowdown * float(usual_us or 0.0))
    own_us = timed["own_us"].quantile(0.95)
    decided = scored.drop_nulls(["decision", "decision_shadow"])
    return Unseen(
        calls=calls.height,
        missed=int(calls["missed"].fill_null(value=True).sum()),
        requests=scored.height,
        latency_us=None if own_us is None or usual_us is None else (float(own_us), float(usual_us)),
        slow=int((timed["own_us"] > slow_us).sum()),
        slow_us=slow_us,
        spent_us=_spent(timed),
        decided=decided.height,
        disagreed=int((decided["decision"] != decided["decision_shadow"]).sum()),
        score_difference=_mean_distance(scored),
        spread=(_spread(scored["score_shadow"]), _spread(scored["score"])),
        span=span,
    )


def reasons_to_stop(found: Unseen, limits: Shadow) -> list[str]:
    """Return which limits of the shadow stage a version breaks, in words; none where it keeps them all."""
    reasons: list[str] = []
    if _above(found.missed, found.calls, limits.max_failures):
        reasons.append(
            f"it left {found.missed:,} of {found.calls:,} calls without a score, where {limits.max_failures:.1%} may be"
        )
    timed = found.calls - found.missed
    if found.latency_us is not None and timed >= LEAST_CALLS and _above(min(found.slow, timed), timed, SLOW_SHARE):
        own, usual = found.latency_us
        reasons.append(
            f"it is slow: 95 % of its calls take up to {own / 1000:.3g} ms of its own time, where "
            f"{found.slow_us / 1000:.3g} ms may be; the champion's whole calls take {usual / 1000:.3g} ms"
        )
    own_spread, usual_spread = found.spread
    if found.requests >= LEAST_REQUESTS and own_spread < CONSTANT * usual_spread:
        reasons.append(
            f"it answers constants: its scores of {found.requests:,} requests spread by {own_spread:.2g}, "
            f"the champion's by {usual_spread:.2g}"
        )
    most = limits.max_disagreement
    if most is not None and _above(found.disagreed, found.decided, most):
        reasons.append(
            f"it decides {found.disagreed:,} of {found.decided:,} requests otherwise, where {most:.1%} may be"
        )
    return reasons


def _above(hits: int, of: int, limit: float) -> bool:
    """Say whether a share is above a limit, however often one looks."""
    return of > 0 and float(log_e_above(hits, of - hits, limit)) > -np.log(ALPHA)


def _spent(timed: pl.DataFrame) -> tuple[float, float] | None:
    rows = int(timed["rows"].sum())
    return (float(timed["own_us"].sum()) / rows, float(timed["latency_us"].sum()) / rows) if rows else None


def _mean_distance(scored: pl.DataFrame) -> float | None:
    found = (scored["score_shadow"] - scored["score"]).abs().mean()
    return float(found) if isinstance(found, float) else None


def _spread(scores: pl.Series) -> float:
    return float(np.std(scores.to_numpy())) if scores.len() else 0.0
