"""Labels, and what they show: the truth is missing or wrong, or it is right and the model is not."""

from collections.abc import Iterator

from charkha.monitoring.diagnosis.evidence import Evidence, earliest
from charkha.monitoring.diagnosis.incident import Culprit, Hypothesis
from charkha.monitoring.diagnosis.signal import Signal

_LABELS = {
    "arrival": "labels do not come as they did",
    "label_bias": "some labels come later than others: those that are there are not like those that are not",
    "flips": "labels are wrong at one rate, whatever they are of",
}
# By how much more of the labels must be missing, or wrong, to be worth somebody's attention.
WORTH = 0.05
MOST = 0.5
# A feature whose values moved at the onset by so much more (Kolmogorov) than they ever did says that others ask.
OTHERS = 0.1


def label_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield what is wrong with the labels themselves."""
    told = {check: [each for each in evidence.of(check) if each.now - each.usual >= WORTH] for check in _LABELS}
    if any(signal.now >= MOST for signal in told["arrival"]):  # of the few that come one need not say which they are
        told["label_bias"] = []
    for check, kind in _LABELS.items():
        if found := told[check]:
            yield Hypothesis(cause="label", kind=kind, support=_support(found), evidence=tuple(found))


def model_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield what true labels tell: that the same things come to mean others, or are true more often, or others ask."""
    worse = evidence.of("loss", "pattern")
    if worse:
        segments = tuple(signal.subject for signal in worse if "=" in signal.subject)
        features = tuple(signal.subject for signal in worse if signal.subject and "=" not in signal.subject)
        culprit = Culprit(segments=segments, features=features)
        others = _others_ask(evidence, worse)
        what = f"others ask, of whom less is known: {others}" if others else "what the model has learnt holds no more"
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
    """Return the feature whose values moved most when it began, if any did by enough."""
    began_us, _, _ = earliest(worse)
    moves = {name: evidence.values.moved_then(name, began_us) for name in _asked(evidence)}
    most = max(moves, key=lambda name: moves[name], default=None)
    return most if most is not None and moves[most] >= OTHERS else None


def _asked(evidence: Evidence) -> list[str]:
    """Return the features that tell who asks: those of the request alone; all that read fields where a model has none.

    What a view tells is the state of the world: the weather and how late all are move by themselves. What is made of no
    field is made of the time, or counts rows.
    """
    read = {name: {source for source, _ in fields} for name, fields in evidence.origins.items() if fields}
    return [name for name, sources in read.items() if sources == {"request"}] or list(read)
