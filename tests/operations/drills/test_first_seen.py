"""When a diagnosis would first be made, looking every hour."""

from functools import cache

from drill_case import WATCHED, WORLD, case_of
from drill_world import RESCORE

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.performance import Span
from charkha.operations.drills.catalogue import inject
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.seen import Seen, first_seen
from charkha.spec.durations import HOUR_US

ONSET_US = WATCHED.since_us + 30 * HOUR_US
FLOODED = inject(WORLD, Fault("null_flood", ONSET_US, subject="weather.temp"), RESCORE)


def until(at_us: int) -> Case:
    return case_of(FLOODED, Span(WATCHED.since_us, at_us))


@cache
def seen() -> Seen:
    found = first_seen(case_of(FLOODED))
    assert found is not None
    return found


def test_it_is_seen_at_the_first_hour_at_which_the_diagnosis_says_so() -> None:
    assert seen().at_us % HOUR_US == 0
    assert ONSET_US < seen().at_us <= ONSET_US + 4 * HOUR_US
    assert seen().diagnosis.cause == "source"
    assert seen().diagnosis == diagnose(until(seen().at_us))
    assert not diagnose(until(seen().at_us - HOUR_US)).is_incident


def test_what_comes_after_a_look_changes_nothing_of_it() -> None:
    assert first_seen(until(seen().at_us + 12 * HOUR_US)) == seen()


def test_looks_begin_when_they_are_asked_to() -> None:
    late = first_seen(case_of(FLOODED), seen().at_us + 5 * HOUR_US)
    assert late is not None
    assert late.at_us == seen().at_us + 5 * HOUR_US
    assert late.diagnosis.cause == "source"


def test_nothing_is_seen_where_nothing_is() -> None:
    assert first_seen(case_of()) is None


def test_a_store_that_stands_still_is_not_called_skew() -> None:
    """What is served are then earlier values of the same key; ages say why, a little later."""
    stale = inject(WORLD, Fault("stale_store", ONSET_US, subject="sky"), RESCORE)
    found = first_seen(case_of(stale))
    assert found is not None
    assert (found.diagnosis.cause, found.diagnosis.culprit.features[0]) == ("infrastructure", "sky")
