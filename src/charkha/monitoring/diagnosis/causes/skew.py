"""What is served is not what the sources say: the serving path is at fault, for the data are the same for both."""

from collections import defaultdict
from collections.abc import Iterator

from charkha.monitoring.diagnosis.causes.infrastructure import CERTAIN, may_be_behind
from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.monitoring.diagnosis.incident import Culprit, Hypothesis
from charkha.monitoring.diagnosis.signal import Signal


def skew_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield the views, or features of the request, that are not served as they are recomputed."""
    by_owner: dict[str, list[Signal]] = defaultdict(list)
    for signal in evidence.of("skew"):
        by_owner[evidence.view_of(signal.subject) or signal.subject].append(signal)
    for owner, signals in by_owner.items():
        ordered = sorted(signals, key=lambda signal: -signal.now)
        view = evidence.view_of(ordered[0].subject)
        if view and all(may_be_behind(evidence, view, signal) for signal in signals):
            continue
        sources = (evidence.source_of(view),) if view else ()
        names = tuple(signal.subject for signal in ordered)
        yield Hypothesis(
            cause="skew",
            kind=ordered[0].words,
            culprit=Culprit(sources=sources, features=(*names, owner) if view else names),
            support=CERTAIN * ordered[0].now,
            evidence=tuple(ordered),
        )
