"""Labels, and what they show: the truth is missing or wrong, or it is right and the model is not."""

from collections.abc import Iterator

from charkha.monitoring.diagnosis.evidence import Evidence, earliest
from charkha.monitoring.diagnosis.incident import Culprit, Hypothesis
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span
from charkha.spec.durations import DAY_US

_LABELS = {
    "arrival": "labels do not come as they did",
    "label_bias": "some labels come later than others: those that are there are not like those that are not",
    "flips": "labels are wrong at one rate, whatever they are of",
}
# A feature whose values are so far from the healthy ones (Kolmogorov) says that others ask, unless spans of the healthy
# history are half as far from all of it: means of a month and the weather always move.
OTHERS, BESIDE_USUAL = 0.25, 2.0
WEEK_US = 7 * DAY_US


def label_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield what is wrong with the labels themselves."""
    for check, kind in _LABELS.items():
        if found := evidence.of(check):
            yield Hypothesis(cause="label", kind=kind, support=_support(found), evidence=tuple(found))


def model_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield what true labels tell: that the same things come to mean others, or are true more often, or others ask."""
    worse = evidence.of("loss", "pattern")
    if worse:
        segments = tuple(signal.subject for signal in worse if "=" in signal.subject)
        features = tuple(signal.subject for signal in worse if signal.subject and "=" not in signal.subject)
        culprit = Culprit(segments=segments, features=features)
        others = _others_ask(evidence, worse)
        what = (
            f"others ask, of whom less is known: {others}" if others else "what the model has learnt is not so any more"
        )
        kind = f"{what}; {worse[0].words}"
        yield Hypothesis(
            cause="population" if others else "concept",
            kind=kind,
            culprit=Culprit(segments=segments, features=(others, *features)) if others else culprit,
            support=_support(worse),
            evidence=tuple(worse),
        )
    if found := evidence.of("prior"):
        yield Hypothesis(cause="prior", kind=found[0].words, support=_support(found), evidence=tuple(found))


def _support(signals: list[Signal]) -> float:
    return sum(min(signal.evidence, 100.0) for signal in signals)


def _others_ask(evidence: Evidence, worse: list[Signal]) -> str | None:
    """Return the feature whose values have moved most since it is so, if any has by enough."""
    since = evidence.since(earliest(worse)[0])
    moves = {name: evidence.apart(name, since) for name in evidence.view.shape.parts}
    for name in sorted(moves, key=lambda name: -moves[name]):
        if moves[name] < OTHERS:
            return None
        if moves[name] >= BESIDE_USUAL * _usually_apart(evidence, name, since):
            return name
    return None


def _usually_apart(evidence: Evidence, name: str, since: Span) -> float:
    """Return how far spans of the healthy history, as long and of the same days of the week, were from all of it."""
    healthy = evidence.case.healthy
    weeks = range(1, 1 + (since.until_us - healthy.since_us) // WEEK_US)
    spans = [Span(since.since_us - week * WEEK_US, since.until_us - week * WEEK_US) for week in weeks]
    inside = [span for span in spans if healthy.since_us <= span.since_us and span.until_us <= healthy.until_us]
    return max((evidence.apart(name, span) for span in inside), default=0.0)
