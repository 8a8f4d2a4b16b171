"""Incidents put into healthy traffic are found, under their own name and with their culprit; healthy traffic is not."""

import re

import pytest
from attrs import evolve
from drill_world import PLAN, RESCORE, START_US, traffic

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.catalogue import INCIDENTS, inject
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
