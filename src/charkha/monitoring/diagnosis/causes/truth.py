"""Labels, and what they show: the truth is missing or wrong, or it is right and the model is not."""

from collections.abc import Iterator

from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.monitoring.diagnosis.incident import Culprit, Hypothesis

_LABELS = {
    "outage": "labels do not come any more",
    "delay": "some labels come later than others: those that are there are not like those that are not",
    "flips": "labels are wrong at one rate, whatever they are of",
}


def truth_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield what labels tell: of themselves, of the level of the truth, of what the features have come to mean."""
    for check, kind in _LABELS.items():
        if found := evidence.of(check):
            support = sum(min(signal.evidence, 100.0) for signal in found)
            yield Hypothesis(cause="label", kind=kind, support=support, evidence=tuple(found))
    if found := evidence.of("loss"):
        segments = tuple(signal.subject for signal in found if signal.subject)
        support = sum(min(signal.evidence, 100.0) for signal in found)
        culprit = Culprit(segments=segments)
        yield Hypothesis(cause="concept", kind=found[0].words, culprit=culprit, support=support, evidence=tuple(found))
    if found := evidence.of("prior"):
        support = sum(min(signal.evidence, 100.0) for signal in found)
        yield Hypothesis(cause="prior", kind=found[0].words, support=support, evidence=tuple(found))
