"""Values that never were: a category spelt otherwise, a new one in the data, or others who ask."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from attrs import evolve

from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.monitoring.diagnosis.incident import Culprit, Hypothesis
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.durations import HOUR_US

WORTH = 0.02
# Fewer rows of the weeks before do not say how many there should be.
LEAST_ROWS = 20
# Whether known values are as many as they were is told apart by so many standard deviations, or not waited for longer.
APART = 4.0
UNDECIDED_US = 2 * HOUR_US
# What is gone when a category is spelt otherwise, and how well the share that came fits the one that went.
GONE, FITS = 0.1, 0.3


def category_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield what new values of the request's fields mean, with the nulls of the views that they are keys of."""
    for signal in _new_values(evidence):
        if signal.now - signal.usual < WORTH or _is_too_soon(evidence, signal):
            continue
        field = signal.subject.removeprefix(REQUEST_PREFIX)
        views = [view.name for view in evidence.case.plan.views if field in view.entity.keys]
        nulls = [each for each in evidence.of("nulls", "agree", "odd") if evidence.view_of(each.subject) in views]
        read = [each for each in evidence.of("strangers", "nulls") if _reads(evidence, each, field)]
        names = dict.fromkeys((field, signal.subject, *(each.subject for each in (*read, *nulls))))
        signals, joined = (signal, *read, *nulls), _joined(evidence, signal)
        if joined is not None:
            yield Hypothesis(
                cause="population",
                kind=f"others ask: {joined:.0%} more questions, with values of {field} that never were",
                culprit=Culprit(sources=("request",), features=tuple(names), segments=_new(evidence, signal)),
                support=signal.evidence,
                evidence=signals,
            )
        else:
            yield Hypothesis(
                cause="source",
                kind=_spelling(evidence, signal, field),
                culprit=Culprit(sources=("request",), features=tuple(names)),
                support=signal.evidence,
                evidence=signals,
            )


def _new_values(evidence: Evidence) -> list[Signal]:
    """Return what is told of new values, of each field once: by the request itself, or by a feature that is a field."""
    found = {signal.subject: signal for signal in evidence.of("unseen")}
    for signal in evidence.of("strangers"):
        field = _field_of(evidence, signal)
        if field is not None:
            found.setdefault(field, evolve(signal, subject=field))
    return list(found.values())


def _field_of(evidence: Evidence, signal: Signal) -> str | None:
    """Return the field of the request that a feature is; None of what is something else."""
    origins = evidence.origins.get(signal.subject, ())
    if len(origins) == 1 and origins[0][0] == "request" and evidence.is_text(signal.subject):
        return REQUEST_PREFIX + origins[0][1]
    return None


def _reads(evidence: Evidence, signal: Signal, field: str) -> bool:
    return ("request", field) in evidence.origins.get(signal.subject, ())


def _spelling(evidence: Evidence, signal: Signal, field: str) -> str:
    gone = _gone(evidence, signal)
    if not gone:
        return f"{field} has a value that never was in {signal.now:.0%} of the rows"
    told = ", ".join(map(str, gone))
    return f"{told} of {field} is spelt otherwise: it is gone, and {signal.now:.0%} of the rows have a new value"


def _joined(evidence: Evidence, signal: Signal) -> float | None:
    """Return by which share there are more questions, if those of known values are as many as in the weeks before.

    Where one of them is gone, or weeks differ by as much as is new, they are not known to be.
    """
    counts = [_count(evidence, signal.subject, week) for week in evidence.weeks_before(signal.began_us)]
    usual = sum(counts) / max(1, len(counts))
    if usual < LEAST_ROWS or _gone(evidence, signal):
        return None
    spread = max(usual**0.5, float(np.std(counts))) / usual
    asked = _count(evidence, signal.subject, evidence.since(signal.began_us))
    known = asked * (1 - signal.now) / usual
    if spread > signal.now / 2 or not 1 - signal.now / 2 <= known <= 1 + signal.now / 2 + 2 * spread:
        return None
    return asked / usual - 1


def may_be_others(evidence: Evidence, strangers: Signal) -> bool:
    """Say whether a feature's new values cannot be told yet from those of others who ask."""
    field = _field_of(evidence, strangers)
    return field is not None and _is_too_soon(evidence, evolve(strangers, subject=field))


def _is_too_soon(evidence: Evidence, signal: Signal) -> bool:
    """Say whether it cannot be told yet if new values came besides those that were, or in the place of some."""
    weeks = evidence.weeks_before(signal.began_us)
    if not weeks or evidence.case.watched.until_us - signal.began_us >= UNDECIDED_US or _gone(evidence, signal):
        return False
    usual = sum(_count(evidence, signal.subject, week) for week in weeks) / len(weeks)
    return usual < max(LEAST_ROWS, (APART / signal.now) ** 2)


def _count(evidence: Evidence, field: str, span: Span) -> float:
    return float(evidence.asked(span)[field].count())


def _gone(evidence: Evidence, signal: Signal) -> list[object]:
    """Return the values that are gone since new ones came, if they were as many as these are."""
    case, at = evidence.case, pl.col("_at_us")
    rows = case.traffic.predictions.filter(pl.col("role") != "shadow").select("_at_us", value=pl.col(signal.subject))
    healthy = rows.filter((at >= case.healthy.since_us) & (at < case.healthy.until_us))
    now = rows.filter((at >= signal.latest_us) & (at < case.watched.until_us))
    if not now.height or not healthy.height:
        return []
    shares = healthy.group_by("value").agg(before=pl.len() / healthy.height)
    both = shares.join(now.group_by("value").agg(now=pl.len() / now.height), on="value", how="left").fill_null(0.0)
    missed = (pl.col("now") < GONE * pl.col("before")) & (pl.col("before") * now.height > 5)
    gone = both.filter(missed).sort("before", descending=True)
    share = float(gone["before"].sum())
    return gone["value"].head(3).to_list() if share and abs(share - signal.now) < FITS * max(share, signal.now) else []


def _new(evidence: Evidence, signal: Signal) -> tuple[str, ...]:
    field, at = signal.subject.removeprefix(REQUEST_PREFIX), pl.col("_at_us")
    rows = evidence.case.traffic.predictions
    known = rows.filter(at < signal.earliest_us)[signal.subject].unique().implode()
    since = rows.filter((at >= signal.began_us) & (at < evidence.case.watched.until_us))
    fresh = since.filter(~pl.col(signal.subject).is_in(known))
    return tuple(f"{field}={value}" for value in fresh[signal.subject].value_counts(sort=True)[signal.subject].head(3))
