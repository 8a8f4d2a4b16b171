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


# What is worth somebody's attention: half as many rows or twice as many, so many of them twice.
FACTOR, TWICE = 2.0, 0.02


def arrival_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield the sources whose rows come otherwise, with the views that are older for it."""
    by_source: dict[str, list[Signal]] = defaultdict(list)
    for signal in evidence.of(*_WORDS):
        if _is_worth(signal):
            by_source[signal.subject].append(signal)
    for source, signals in by_source.items():
        first = next(signal for check in _WORDS for signal in signals if signal.check == check)
        views = [view.name for view in evidence.case.plan.views if view.source.name == source]
        ages = [signal for signal in evidence.of("age") if signal.subject in views]
        yield Hypothesis(
            cause="source",
            kind=_WORDS[first.check].format(source=source),
            culprit=Culprit(sources=source, features=views),
            support=sum(min(signal.evidence, 100.0) for signal in (*signals, *ages)),
            evidence=(*signals, *ages),
        )


def _is_worth(signal: Signal) -> bool:
    if signal.check == "duplicates":
        return signal.now - signal.usual >= TWICE
    less, more = sorted((max(signal.now, 0.0), max(signal.usual, 0.0)))
    return more >= FACTOR * less
