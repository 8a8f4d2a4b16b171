"""The rows of a source come late, twice, in another time zone, or not at all."""

from collections import defaultdict
from collections.abc import Iterator

from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.monitoring.diagnosis.incident import Culprit, Hypothesis
from charkha.monitoring.diagnosis.signal import Signal

_WORDS = {
    "late": "the rows of {source} come late",
    "duplicates": "the rows of {source} come twice",
    "arrivals": "the rows of {source} do not come as they did",
}


# What is worth somebody's attention: half as many rows, half or twice as late, so many of them twice.
FACTOR, TWICE = 2.0, 0.02


def arrival_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield the sources whose rows come otherwise, with the views that are older for it."""
    by_source: dict[str, list[Signal]] = defaultdict(list)
    for signal in evidence.of(*_WORDS):
        if _is_worth(evidence, signal):
            by_source[signal.subject].append(signal)
    for signal in evidence.of("age"):
        source = evidence.source_of(signal.subject)
        if evidence.comes_late(source, signal.began_us):
            by_source[source].append(signal)
    for source, signals in by_source.items():
        kind = next((check for check in _WORDS if any(signal.check == check for signal in signals)), "late")
        views = [view.name for view in evidence.case.plan.views if view.source.name == source]
        ages = [signal for signal in evidence.of("age") if signal.subject in views and signal not in signals]
        yield Hypothesis(
            cause="source",
            kind=_WORDS[kind].format(source=source),
            culprit=Culprit(sources=source, features=views),
            support=sum(min(signal.evidence, 100.0) for signal in (*signals, *ages)),
            evidence=(*signals, *ages),
        )


def _is_worth(evidence: Evidence, signal: Signal) -> bool:
    if signal.check == "duplicates":
        return signal.now - signal.usual >= TWICE
    if signal.check == "arrivals":  # more of them do no harm by themselves
        return signal.now * FACTOR < signal.usual * min(_busier(evidence, signal), 1.0)
    less, more = sorted((max(signal.now, 0.0), max(signal.usual, 0.0)))
    return more > 0 and more >= FACTOR * less


def _busier(evidence: Evidence, signal: Signal) -> float:
    """Return how many times as many questions come as in the weeks before: with a campaign more rows come as well."""
    weeks = evidence.weeks_before(signal.began_us)
    usual = sum(evidence.asked(week).height for week in weeks)
    asked = evidence.asked(evidence.since(signal.began_us)).height * len(weeks)
    return asked / usual if usual else 1.0
