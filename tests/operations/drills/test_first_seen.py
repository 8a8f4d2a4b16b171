"""When a diagnosis would first be made, looking every hour."""

from attrs import evolve
from drill_world import RESCORE
from test_diagnosed import ONSET_US, WORLD, case_of

from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.performance import Span
from charkha.operations.drills.catalogue import inject
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.seen import first_seen
from charkha.spec.durations import HOUR_US

FLOODED = inject(WORLD, Fault("null_flood", ONSET_US, subject="weather.temp"), RESCORE)


def test_it_is_seen_at_the_first_hour_at_which_the_diagnosis_says_so() -> None:
    case = case_of(FLOODED)
    seen = first_seen(case)
    assert seen is not None
    assert seen.at_us % HOUR_US == 0
    assert ONSET_US < seen.at_us <= ONSET_US + 4 * HOUR_US
    assert seen.diagnosis.cause == "source"
    assert seen.diagnosis == diagnose(case_of(FLOODED, until_us=seen.at_us))
    assert not diagnose(case_of(FLOODED, until_us=seen.at_us - HOUR_US)).is_incident


def test_what_comes_after_a_look_changes_nothing_of_it() -> None:
    longer = evolve(case_of(FLOODED), watched=Span(case_of(FLOODED).watched.since_us, ONSET_US + 48 * HOUR_US))
    both = [first_seen(longer), first_seen(case_of(FLOODED))]
    assert both[0] == both[1] is not None


def test_looks_begin_when_they_are_asked_to() -> None:
    late = first_seen(case_of(FLOODED), ONSET_US + 5 * HOUR_US)
    assert late is not None
    assert late.at_us == ONSET_US + 5 * HOUR_US
    assert late.diagnosis.cause == "source"


def test_nothing_is_seen_where_nothing_is() -> None:
    assert first_seen(case_of(WORLD)) is None
