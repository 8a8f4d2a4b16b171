"""When one who asks every hour would first be told that something is wrong, and what they would be told."""

from collections.abc import Iterator

from attrs import evolve, frozen

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.diagnose import diagnose, gather
from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.monitoring.diagnosis.explain import explain
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.performance import Span
from charkha.spec.durations import DAY_US, HOUR_US

# How long after an alarm one looks.
LATER_US = tuple(round(hours * HOUR_US) for hours in (0, 0.5, 1, 2, 4, 8, 24))


@frozen
class Seen:
    """The first look that found an incident. at_us: when that was."""

    at_us: int
    diagnosis: Diagnosis


def first_seen(case: Case, since_us: int = 0, *, every_us: int = HOUR_US) -> Seen | None:
    """Return the first look at a case that finds an incident; None where none does.

    case: all that is watched, to its end, which is the last look. since_us: when the looks begin; every_us: how far
    they are apart.

    Checks are asked once for all of it. Signals know when their evidence was enough, and mostly it is then that an
    answer changes, or within hours: when it goes beyond all that ever was, or can be told from something else. So these
    looks, one a day and the last one are explained by the signals there were. What that finds is asked again with
    nothing after that look, so that the diagnosis is the one that would have been made then.
    """
    evidence = gather(case)
    for at_us in _looks(evidence, since_us, every_us):
        if explain(_until(evidence, at_us)).is_incident:
            found = diagnose(_watched_until(case, at_us))
            if found.is_incident:
                return Seen(at_us, found)
    return None


def _looks(evidence: Evidence, since_us: int, every_us: int) -> Iterator[int]:
    """Yield the looks by which a signal has come and some after each, one a day, and the last one, in order.

    Signals from before `since_us` come with the first look after it.
    """
    end_us = evidence.case.watched.until_us
    came = {max(signal.alarmed_us, since_us) for signal in evidence.signals}
    times = {time_us + waited_us for time_us in came for waited_us in LATER_US}
    times |= {end_us, *range(max(since_us, evidence.case.watched.since_us) + DAY_US, end_us, DAY_US)}
    yield from sorted({min(next_look(time_us, every_us), end_us) for time_us in times})


def next_look(time_us: int, every_us: int = HOUR_US) -> int:
    """Return the first look that is not before a time."""
    return -(-time_us // every_us) * every_us


def _until(evidence: Evidence, at_us: int) -> Evidence:
    """Return what was known by some time: its signals, and distributions until then."""
    known = [signal for signal in evidence.signals if signal.alarmed_us <= at_us]
    return evolve(evidence, case=_watched_until(evidence.case, at_us), signals=known)


def _watched_until(case: Case, at_us: int) -> Case:
    return evolve(case, watched=Span(case.watched.since_us, at_us))
