"""The rows of a source come late, twice, in another time zone, or not at all."""

from collections import defaultdict
from collections.abc import Iterator, Set

import polars as pl

from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.monitoring.diagnosis.incident import Culprit, Hypothesis
from charkha.monitoring.diagnosis.signal import Signal
from charkha.spec.durations import HOUR_US

_WORDS = {
    "late": "the rows of {source} come late",
    "duplicates": "the rows of {source} come twice",
    "arrivals": "{much} of {source} comes than did: {now:.3g} rows an hour, where {usual:.3g} are usual",
}
# What comes at less than this share of the usual rate is a remainder of what was under way.
NOTHING = 0.05

# What is worth somebody's attention: half as many rows or twice as many, so many of them twice.
FACTOR, TWICE = 2.0, 0.02
# So many rows do not stay out together by chance.
MANY = 8.0


def arrival_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield the sources whose rows come otherwise, with the views that are older for it."""
    by_source: dict[str, list[Signal]] = defaultdict(list)
    for signal in evidence.of(*_WORDS):
        if _is_worth(signal):
            by_source[signal.subject].append(signal)
    yield from _silent(evidence, set(by_source))
    for source, signals in by_source.items():
        first = next(signal for check in _WORDS for signal in signals if signal.check == check)
        views = [view.name for view in evidence.case.plan.views if view.source.name == source]
        ages = [signal for signal in evidence.of("age") if signal.subject in views]
        yield Hypothesis(
            cause="source",
            kind=_kind(first),
            culprit=Culprit(sources=source, features=views),
            support=sum(min(signal.evidence, 100.0) for signal in (*signals, *ages)),
            evidence=(*signals, *ages),
        )


def _silent(evidence: Evidence, known: Set[str]) -> Iterator[Hypothesis]:
    """Yield the sources of which nothing came for longer than ever, where nulls or ages tell it before counts do."""
    for source in dict.fromkeys(view.source.name for view in evidence.case.plan.views):
        views = {view.name for view in evidence.case.plan.views if view.source.name == source}
        nulls = [signal for signal in evidence.of("nulls", "age") if _view(evidence, signal) in views]
        if nulls and source not in known and stopped(evidence, source):
            yield Hypothesis(
                cause="source",
                kind=f"nothing comes of {source} any more",
                culprit=Culprit(sources=source, features=(*sorted(views), *(each.subject for each in nulls))),
                support=sum(min(signal.evidence, 100.0) for signal in nulls),
                evidence=tuple(nulls),
            )


def _view(evidence: Evidence, signal: Signal) -> str | None:
    return signal.subject if signal.check == "age" else evidence.view_of(signal.subject)


def stopped(evidence: Evidence, source: str) -> bool:
    """Say whether no row came for longer than ever in the healthy history, of a source of which many would have."""
    case, hour = evidence.case, pl.col("_hour_us")
    came = case.traffic.arrivals.filter((pl.col("source") == source) & (pl.col("rows") > 0))
    before = came.filter(hour.is_between(case.healthy.since_us, case.healthy.until_us, closed="left"))
    last_us = came.filter(hour < case.watched.until_us)["_hour_us"].max()
    if before.is_empty() or not isinstance(last_us, int):
        return False
    silence_us = case.watched.until_us - last_us - HOUR_US
    longest_us = before["_hour_us"].sort().diff().max()
    usual = before["rows"].sum() * silence_us / (case.healthy.until_us - case.healthy.since_us)
    return silence_us >= max(int(longest_us or 0), HOUR_US) and usual >= MANY  # type: ignore[call-overload]


def _kind(signal: Signal) -> str:
    if signal.check == "arrivals" and signal.now < NOTHING * signal.usual:
        return f"nothing comes of {signal.subject} any more, where {signal.usual:.3g} rows an hour are usual"
    much = "less" if signal.now < signal.usual else "more"
    return _WORDS[signal.check].format(source=signal.subject, much=much, now=signal.now, usual=signal.usual)


def _is_worth(signal: Signal) -> bool:
    if signal.check == "duplicates":
        return signal.now - signal.usual >= TWICE
    less, more = sorted((max(signal.now, 0.0), max(signal.usual, 0.0)))
    return more >= FACTOR * less
