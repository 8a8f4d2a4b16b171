"""Incidents put into healthy traffic are found, under their own name and with their culprit; healthy traffic is not."""

import re

import pytest
from attrs import evolve
from drill_world import PLAN, RESCORE, START_US, traffic

from charkha.monitoring.changes import Change
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.catalogue import INCIDENTS, inject, inject_all
from charkha.operations.drills.fault import Fault
from charkha.spec.durations import DAY_US, HOUR_US

HEALTHY = Span(START_US, START_US + 28 * DAY_US)
ONSET_US = START_US + 30 * DAY_US
WORLD = traffic(per_day=1_000)
# Of a latest value, which shows at once what a window of seven days would show in seven days.
OF_A_FIELD = ("unit_change", "null_flood", "constant", "schema_change")


def case_of(seen: Traffic, *, until_us: int = ONSET_US + 8 * HOUR_US) -> Case:
    return Case(
        traffic=seen,
        healthy=HEALTHY,
        watched=Span(HEALTHY.until_us, until_us),
        task="binary",
        plan=PLAN,
        registered={"v1": "b" * 64},
        rescore=RESCORE,
        segments=("city",),
    )


def test_nothing_is_wrong_with_healthy_traffic() -> None:
    found = diagnose(case_of(WORLD, until_us=START_US + 40 * DAY_US))
    assert (found.cause, found.kind, found.is_incident) == (None, "nothing is wrong", False)


@pytest.mark.parametrize(
    "kind",
    [
        "bad_replica",
        "wrong_artifact_announced",
        "wrong_artifact_silent",
        "error_burst",
        "skew_transform",
        "unit_change",
        "null_flood",
        "constant",
        "schema_change",
        "category_rename",
        "new_category",
        "new_segment",
    ],
)
def test_an_incident_is_found_under_its_name(kind: str) -> None:
    fault = Fault(kind, ONSET_US, subject="weather.temp" if kind in OF_A_FIELD else None)
    incident = INCIDENTS[kind]
    resolved = incident.resolved(fault, WORLD, PLAN)
    found = diagnose(case_of(inject(WORLD, fault, RESCORE)))
    assert found.cause == incident.cause, found.headline
    named = {name for _, names in found.culprit.named() for name in names}
    expected = incident.culprits(resolved, PLAN)
    assert not expected or named & set(expected), (named, expected)
    assert found.began_us is not None
    assert abs(found.began_us - ONSET_US) <= 2 * HOUR_US
    assert found.remedy.action != "retrain"


def test_a_unit_is_told_by_its_factor() -> None:
    bent = inject(WORLD, Fault("unit_change", ONSET_US, subject="weather.temp", size=60.0), RESCORE)
    found = diagnose(case_of(bent))
    told = re.fullmatch(
        r"a unit of weather.temp has changed: its values are about × ([\d.]+) of what they were", found.kind
    )
    assert told is not None, found.kind
    assert 54 < float(told[1]) < 66


def test_a_category_spelt_otherwise_is_told_by_the_one_that_is_gone() -> None:
    found = diagnose(case_of(inject(WORLD, Fault("category_rename", ONSET_US), RESCORE)))
    assert "Pune of city is spelt otherwise" in found.kind


def test_evidence_that_is_missing_is_no_evidence() -> None:
    bare = evolve(
        WORLD,
        labels=WORLD.labels.clear(),
        arrivals=WORLD.arrivals.clear(),
        vitals=WORLD.vitals.clear(),
        recomputed=WORLD.recomputed.clear(),
    )
    assert diagnose(case_of(bare)).cause is None


def both(first: Fault, second: Fault) -> Diagnosis:
    return diagnose(case_of(inject_all(WORLD, (first, second), RESCORE)))


def test_a_slow_server_hides_no_fault_of_data() -> None:
    unit = Fault("unit_change", ONSET_US, subject="weather.temp", size=60.0)
    found = both(unit, Fault("latency", ONSET_US + 2 * HOUR_US))
    assert (found.cause, [each.cause for each in found.also]) == ("infrastructure", ["source"])
    assert "weather.temp" in found.also[0].kind
    assert found.also[0].remedy.action == "page_source_owner"


def test_a_fault_of_one_source_hides_none_of_another() -> None:
    unit = Fault("unit_change", ONSET_US, subject="weather.temp", size=60.0)
    found = both(unit, Fault("late_events", ONSET_US, subject="rides"))
    assert {found.cause, *(each.cause for each in found.also)} == {"source"}
    told = " ".join([found.kind, *(each.kind for each in found.also)])
    assert "weather.temp" in told
    assert "of rides" in told


def test_one_fault_is_told_once() -> None:
    for kind in ("unit_change", "null_flood", "bad_replica", "error_burst", "new_segment", "skew_transform"):
        fault = Fault(kind, ONSET_US, subject="weather.temp" if kind in OF_A_FIELD else None)
        assert diagnose(case_of(inject(WORLD, fault, RESCORE))).also == (), kind


def test_answers_that_take_a_little_longer_are_no_incident() -> None:
    for size in (1.03, 1.15):
        assert diagnose(case_of(inject(WORLD, Fault("latency", ONSET_US, size=size), RESCORE))).cause is None


def test_what_is_hit_is_a_share_of_all_traffic() -> None:
    found = diagnose(case_of(inject(WORLD, Fault("bad_replica", ONSET_US), RESCORE)))
    assert 0.05 < found.share < 0.6  # one of a few replicas
    failing = diagnose(case_of(inject(WORLD, Fault("error_burst", ONSET_US), RESCORE)))
    assert 0.0 < failing.share < 0.9


def test_a_change_about_when_it_began_is_told_and_counts() -> None:
    bent = inject(WORLD, Fault("unit_change", ONSET_US, subject="weather.temp", size=60.0), RESCORE)
    change = Change(ONSET_US - HOUR_US, "schema", "weather", "the schema of weather changed")
    alone, told = (diagnose(case_of(evolve(bent, changes=changes))) for changes in ((), (change,)))
    assert alone.changes == ()
    assert [words.partition(" ")[2] for words in told.changes] == ["the schema of weather changed"]
    assert told.margin > alone.margin
