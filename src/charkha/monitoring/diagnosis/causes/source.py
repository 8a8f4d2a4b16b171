"""The data are broken: a unit, a column, a category, a key; told by the values themselves, which both paths read."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from charkha.clock import to_iso
from charkha.monitoring.diagnosis.causes.categories import may_be_others
from charkha.monitoring.diagnosis.causes.keys import key_hypotheses
from charkha.monitoring.diagnosis.causes.parts import Part, part_at_fault
from charkha.monitoring.diagnosis.evidence import Evidence, earliest
from charkha.monitoring.diagnosis.incident import Culprit, Hypothesis
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span

# What is worth somebody's attention, as a share of the rows that more of them show; below it a change is noted only.
WORTH = {"nulls": 0.05, "hollow": 0.05, "far": 0.02, "strangers": 0.02, "odd": 0.5, "top": 0.2}
CONSTANT = 0.95
# Fewer rows have one value by chance; and what nearly always has one, such as rain, is seldom as it was the last time.
FEW, MOSTLY = 8, 0.8
# In tiles: in so long a time a field that is well seldom has one value only.
BLOCK, SELDOM = 36, 0.1
# Quantiles by which a factor is told: it has to lead out of what they span by as much again.
LEVELS = (0.02, 0.25, 0.5, 0.75, 0.98)
AGREE = 0.5
# Two distributions that are nearer to each other than this (Kolmogorov) are of the same values.
SAME = 0.25
NEAR_US = 3 * 3_600_000_000


def source_hypotheses(evidence: Evidence) -> Iterator[Hypothesis]:
    """Yield what may be wrong with fields of sources and of the request."""
    worth = [signal for signal in evidence.signals if _is_worth(evidence, signal)]
    direct = [signal for signal in worth if signal.check in ("nulls", "hollow", "far", "strangers", "top")]
    for (source, field), signals in _by_field(evidence, direct).items():
        yield _of_field(evidence, source, field, signals)
    odd = sorted((signal for signal in worth if signal.check == "odd"), key=lambda signal: -signal.now)
    if odd and (found := _of_odd(evidence, odd)) is not None:
        yield found
    yield from key_hypotheses(evidence)


def _is_worth(evidence: Evidence, signal: Signal) -> bool:
    """Say whether a signal is of a field at fault, and goes beyond all that the healthy history shows."""
    if signal.check not in WORTH or signal.now - signal.usual < WORTH[signal.check]:
        return False
    return not _is_harmless(evidence, signal) and evidence.before.is_unprecedented(signal)


def _is_harmless(evidence: Evidence, signal: Signal) -> bool:
    """Say whether what a signal tells happens to fields that are well."""
    name = signal.subject
    match signal.check:
        case "strangers":  # numbers a little beyond those of the last weeks are the season
            return not evidence.is_text(name) or may_be_others(evidence, signal)
        case "nulls":  # others ask, of whom less is known
            return evidence.before.nulls_beyond_ages(name, signal.began_us) < WORTH["nulls"]
        case "top":  # who asks may make one value more frequent; and where nothing comes, it is not what comes
            return not _is_one_value(evidence, signal) or not _is_told_anew(evidence, signal)
        case "far":  # what hardly ever happens, such as rain, is seldom as it was the last time
            return evidence.values.usual_top(name) >= MOSTLY
        case "odd":  # nor does it go with other numbers; and a count of rows is of no field
            return not evidence.origins.get(name) or evidence.values.usual_top(name) >= MOSTLY
        case _:
            return False


def _is_one_value(evidence: Evidence, signal: Signal) -> bool:
    """Say whether a feature has one value in nearly all rows of the blocks that surely are after the onset."""
    since = Span(signal.latest_us, evidence.case.watched.until_us)
    counts = evidence.values.counts(signal.subject, since)[:-1] if since.since_us < since.until_us else np.zeros(1)
    return bool(counts.sum() >= FEW and counts.max() >= CONSTANT * counts.sum())


def _is_told_anew(evidence: Evidence, signal: Signal) -> bool:
    """Say whether rows come that tell what a feature reads, or it is what every request tells."""
    view = evidence.view_of(signal.subject)
    timed = any(each.name == view and not each.source.static for each in evidence.case.plan.views)
    return view is None or not timed or evidence.is_fed(evidence.source_of(view), signal.began_us)


def _by_field(evidence: Evidence, signals: Sequence[Signal]) -> dict[tuple[str, str], list[Signal]]:
    """Return the signals by the field that most of them have in common, each signal under one field."""
    told: dict[tuple[str, str], set[int]] = defaultdict(set)
    for number, signal in enumerate(signals):
        for origin in evidence.origins.get(signal.subject, ()):
            told[origin].add(number)
    found: dict[tuple[str, str], list[Signal]] = {}
    while told:
        best = max(sorted(told), key=lambda origin: sum(min(signals[n].evidence, 100.0) for n in told[origin]))
        taken = told.pop(best)
        found[best] = [signals[number] for number in sorted(taken)]
        told = {origin: left for origin, numbers in told.items() if (left := numbers - taken)}
    return found


def _of_field(evidence: Evidence, source: str, field: str, signals: list[Signal]) -> Hypothesis:
    name = f"{source}.{field}"
    strongest = max(signals, key=lambda signal: (signal.check != "top", signal.evidence))
    began_us, _, _ = earliest(signals)
    features = tuple(dict.fromkeys(signal.subject for signal in (strongest, *signals)))
    is_null = strongest.check in ("nulls", "hollow")
    part = None if is_null else part_at_fault(evidence, (source, field), began_us)
    culprit = Culprit(sources=(source,), features=(*features, name), segments=(part.segment,) if part else ())
    support = sum(min(signal.evidence, 100.0) for signal in signals)
    if is_null:
        schema = _schema_change(evidence, source, began_us)
        kind = f"{schema}: {name} is missing" if schema else f"{name} is null in {strongest.now:.0%} of the rows"
    elif strongest.check == "strangers":
        kind = f"values of {name} that never were, in {strongest.now:.0%} of the rows"
    elif strongest.check == "top" and strongest.now >= CONSTANT:
        kind = f"{name} has one value in every row"
    elif strongest.check == "top":
        kind = f"{name} stands still: one value in {strongest.now:.0%} of the rows, usually {strongest.usual:.0%}"
    elif part:
        kind = _in_part(part, name)
    else:
        kind = _scaled(evidence, strongest.subject, name, began_us) or f"{name} lies beyond all that it ever was"
    return Hypothesis(cause="source", kind=kind, culprit=culprit, support=support, evidence=tuple(signals))


def _of_odd(evidence: Evidence, odd: Sequence[Signal]) -> Hypothesis | None:
    """Explain numbers that do not go with the others by the one that moved most: by a factor, or to one value.

    None of one that moved otherwise, or not at all: then what it is of has changed.
    """
    began_us, _, _ = earliest(odd)
    moves = {signal.subject: evidence.values.moved(signal.subject, signal.began_us) for signal in odd}
    worst = max(odd, key=lambda signal: (moves[signal.subject], signal.now))
    features = (worst.subject, *(signal.subject for signal in odd if signal is not worst))
    origin = next(iter(evidence.origins.get(worst.subject, ())), ("request", worst.subject))
    support = sum(min(signal.evidence, 50.0) for signal in odd[:3])
    if moves[worst.subject] < SAME:
        return None
    name = ".".join(origin)
    constant, scaled = (told(evidence, worst.subject, name, began_us) for told in (_constant, _scaled))
    mechanism = constant or scaled
    if mechanism is None:
        return None
    culprit = Culprit(sources=(origin[0],), features=(*features, name))
    return Hypothesis(cause="source", kind=mechanism, culprit=culprit, support=support, evidence=tuple(odd))


def _constant(evidence: Evidence, feature: str, name: str, began_us: int) -> str | None:
    """Return in words that a field has one value in every row, if it has, and seldom had for so long."""
    counts = evidence.values.counts(feature, evidence.since(began_us))[:-1]
    if not counts.sum() or counts.max() < CONSTANT * counts.sum():
        return None
    of_blocks = evidence.view.statistics(evidence.case.healthy, BLOCK)
    place = of_blocks.names.index(feature)
    known, top = of_blocks.known[:, place], of_blocks.top[:, place]
    usual = np.mean(top[known > 0] >= CONSTANT * known[known > 0])
    return f"{name} has one value in every row" if usual < SELDOM else None


def _scaled(evidence: Evidence, feature: str, name: str, began_us: int) -> str | None:
    """Return in words by which factor all values of a field are off, if they are, and it has a unit."""
    if evidence.is_yes_or_no(name):
        return None
    before = evidence.values.quantiles(feature, evidence.case.healthy, LEVELS)
    now = evidence.values.quantiles(feature, evidence.since(began_us), LEVELS)
    if not (np.isfinite(before).all() and np.isfinite(now).all()) or now[0] == now[-1]:
        return None  # one value is no unit
    if before[0] * before[-1] > 0 and now[2] * before[2] > 0:  # of one sign: a factor is of the values themselves
        factor = now[2] / before[2]
        if not before[0] / before[2] * AGREE < factor < before[-1] / before[2] / AGREE:
            return f"a unit of {name} has changed: its values are about × {factor:.3g} of what they were"
        return None
    widths = now[-1] - now[0], before[-1] - before[0]
    if widths[0] > 0 and widths[1] > 0 and abs(np.log(widths[0] / widths[1])) > np.log(1 / AGREE):
        return f"a unit of {name} has changed: its values are about × {widths[0] / widths[1]:.3g} as large"
    return None


def _in_part(part: Part, name: str) -> str:
    if part.factor < 1 / AGREE:
        return f"{name} lies beyond all that it ever was where {part.segment}"
    return f"a unit of {name} has changed where {part.segment}: its values are about × {part.factor:.3g} as large"


def _schema_change(evidence: Evidence, source: str, began_us: int) -> str | None:
    for change in evidence.case.traffic.changes:
        if change.kind == "schema" and change.subject.startswith(source) and abs(change.time_us - began_us) <= NEAR_US:
            return f"the schema of {source} changed at {to_iso(change.time_us)}"
    return None
