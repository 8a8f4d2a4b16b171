"""Nothing comes of a source any more: told by the rows that stay out, once features show it."""

from collections.abc import Iterator

import polars as pl

from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.monitoring.diagnosis.incident import Culprit, Hypothesis
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span
from charkha.spec.durations import DAY_US, HOUR_US

# So many rows do not stay out together by chance.
MANY = 8.0
# A feed that was away for as long no more than once a week may be away again; one that rests every night rests.
SELDOM_US = 7 * DAY_US


def silence_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield the sources of which nothing comes any more, once counts, ages or features of their views show it."""
    for source in dict.fromkeys(view.source.name for view in evidence.case.plan.views):
        views = [view.name for view in evidence.case.plan.views if view.source.name == source]
        counted = [signal for signal in evidence.of("arrivals") if signal.subject == source]
        seen = [signal for signal in evidence.of("age", "nulls", "top") if _view(evidence, signal) in views]
        if (counted or seen) and stopped(evidence, source):
            names = dict.fromkeys((*views, *(signal.subject for signal in seen)))
            yield Hypothesis(
                cause="source",
                kind=f"nothing comes of {source} any more",
                culprit=Culprit(sources=source, features=tuple(names)),
                support=sum(min(signal.evidence, 100.0) for signal in (*counted, *seen)),
                evidence=(*counted, *seen),
            )


def _view(evidence: Evidence, signal: Signal) -> str | None:
    return signal.subject if signal.check == "age" else evidence.view_of(signal.subject)


def stopped(evidence: Evidence, source: str) -> bool:
    """Say whether no row came for longer than seldom in the healthy history, of a source of which many would have.

    While nobody asks either, it is no fault: a shop that is closed sells nothing. Nor does it sell at night what a
    campaign has people ask for: so many ask as did in the weeks before, or fewer.
    """
    case, hour = evidence.case, pl.col("_hour_us")
    came = case.traffic.arrivals.filter((pl.col("source") == source) & (pl.col("rows") > 0))
    before = came.filter(hour.is_between(case.healthy.since_us, case.healthy.until_us, closed="left"))
    last_us = came.filter(hour < case.watched.until_us)["_hour_us"].max()
    if before.is_empty() or not isinstance(last_us, int):
        return False
    silence_us = case.watched.until_us - last_us - HOUR_US
    silences_us = before["_hour_us"].sort().diff() - HOUR_US
    healthy_us = case.healthy.until_us - case.healthy.since_us
    usual = before["rows"].sum() * silence_us / healthy_us
    asked = _asked(evidence, Span(last_us + HOUR_US, case.watched.until_us))
    return min(usual, asked) >= MANY and int((silences_us >= silence_us).sum()) <= healthy_us / SELDOM_US


def _asked(evidence: Evidence, silent: Span) -> float:
    """Return how many questions came in a span; the mean of those of the weeks before, where that is less."""
    weeks = evidence.weeks_before(silent.since_us)
    now = evidence.asked(silent).height
    return min(now, sum(evidence.asked(week).height for week in weeks) / len(weeks)) if weeks else now
