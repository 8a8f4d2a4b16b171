"""What a fault can bring about, and what it cannot: which other hypotheses it explains, and which stand beside it."""

from charkha.monitoring.diagnosis.evidence import earliest
from charkha.monitoring.diagnosis.incident import Hypothesis

# How a server answers, not what: no feature, label or score is otherwise for it.
SERVICE = frozenset({"errors", "fallbacks", "timeouts", "latency", "sheds"})
# Told by what became true: whatever changes features, scores or who asks shows there.
TRUTH = frozenset({"label", "concept", "prior"})
# A fault of these is of some sources, views or features, and reaches no others.
OF_DATA = frozenset({"skew", "source", "population"})


def explains(chosen: Hypothesis, other: Hypothesis) -> bool:
    """Say whether one fault may have brought about what another hypothesis rests on.

    Not what was there before it; nor, of a server that is slow or fails, what was served; nor, of data, what was served
    of other sources.
    """
    if _was_before(other, chosen):
        return False
    if is_of_service(chosen):
        return is_of_service(other)
    if is_of_service(other):
        return chosen.cause == "infrastructure"
    if other.cause in TRUTH or chosen.cause not in OF_DATA or chosen.culprit.words == other.culprit.words:
        return True
    return _share_a_name(chosen, other)


def is_of_service(hypothesis: Hypothesis) -> bool:
    """Say whether all that is wrong is how soon and how often a server answers."""
    return bool(hypothesis.evidence) and {signal.check for signal in hypothesis.evidence} <= SERVICE


def is_the_same(one: Hypothesis, other: Hypothesis) -> bool:
    """Say whether two hypotheses are of one fault, told by two kinds of signals."""
    return one.cause == other.cause and one.culprit.meets(other.culprit)


def _was_before(one: Hypothesis, other: Hypothesis) -> bool:
    """Say whether the 95 % interval of an onset ends before that of another begins."""
    if not one.evidence or not other.evidence:
        return False
    _, _, latest_us = earliest(one.evidence)
    _, earliest_us, _ = earliest(other.evidence)
    return latest_us < earliest_us


def _share_a_name(one: Hypothesis, other: Hypothesis) -> bool:
    mine, theirs = ({name for _, names in each.culprit.named() for name in names} for each in (one, other))
    return not mine or not theirs or bool(mine & theirs)
