"""Rows of another key: healthy numbers in the wrong place, told by what goes with them and by what the key has."""

from collections import defaultdict
from collections.abc import Iterator

from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.monitoring.diagnosis.incident import Culprit, Hypothesis
from charkha.monitoring.diagnosis.signal import Signal

# So much of the agreement of a number is left at most where it is another's.
STILL = 0.5
# Two distributions that are nearer to each other than this (Kolmogorov) are of the same values.
SAME = 0.25
# Of the rows of a view, so many with values that never were say that its numbers are not as they were.
MOVED = 0.05
# With so many times as many rows of a source, what is stored of a key changes sooner.
BUSIER = 1.5


def key_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield the views whose rows seem to be another key's: of these all numbers of a view say so."""
    by_view: dict[str, list[Signal]] = defaultdict(list)
    for signal in evidence.of("agree", "own", "same"):
        view = evidence.view_of(signal.subject)
        if view is not None and _is_anothers(evidence, view, signal) and evidence.before.is_unprecedented(signal):
            by_view[view].append(signal)
    for view, signals in by_view.items():
        names = tuple(dict.fromkeys(signal.subject for signal in signals))
        if len(names) < min(2, len(evidence.numbers_of(view))):
            continue
        yield Hypothesis(
            cause="source",
            kind=f"the rows of view {view} are another's: each number is as it was, and none is that of its key",
            culprit=Culprit(sources=(evidence.source_of(view),), features=(view, *names)),
            support=sum(min(signal.evidence, 50.0) for signal in signals),
            evidence=tuple(signals),
        )


def _is_anothers(evidence: Evidence, view: str, signal: Signal) -> bool:
    """Say whether a number could be another key's, by how little is left of what it agreed with.

    Within the hour a key has what it had, whatever its numbers are like, unless its source has become busier. On the
    side that others say a number is not either where it is another number than before.
    """
    if signal.check == "same":
        came, usual = evidence.arrived(evidence.source_of(view), signal.began_us)
        return signal.now < signal.usual * STILL and came <= BUSIER * usual
    half_way = signal.now - 0.5 < (signal.usual - 0.5) * STILL
    return half_way and _are_as_they_were(evidence, view, signal) and not _moves(evidence, view)


def _are_as_they_were(evidence: Evidence, view: str, signal: Signal) -> bool:
    """Say whether all numbers of a view are those that they were: where one is not, others ask, or it was changed."""
    weeks = evidence.weeks_before(signal.began_us)
    if signal.check == "agree" or not weeks:
        return all(evidence.values.moved(name, signal.began_us) < SAME for name in evidence.numbers_of(view))
    return all(evidence.values.moved_from(name, weeks, signal.began_us) < SAME for name in evidence.numbers_of(view))


def _moves(evidence: Evidence, view: str) -> bool:
    """Say whether numbers of a view are not as they were: then they need not be another's."""
    return any(evidence.view_of(each.subject) == view and each.now >= MOVED for each in evidence.of("strangers", "far"))
