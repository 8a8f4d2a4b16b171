"""The report and the post-mortem of every kind of incident that drills know, whatever it is that a diagnosis blames."""

import sys
from pathlib import Path

import pytest
from attrs import evolve

from charkha.monitoring.diagnosis.diagnose import diagnose
from charkha.monitoring.diagnosis.incident import ALLOWED, Culprit, Diagnosis, Remedy
from charkha.operations.drills.catalogue import INCIDENTS
from charkha.operations.drills.fault import Fault
from charkha.spec.durations import DAY_US
from charkha.spec.fields import TIME
from charkha.web.incident_page import render_incident
from charkha.web.postmortem import render_postmortem

sys.path.append(str(Path(__file__).parents[1] / "operations" / "drills"))
from drill_case import WATCHED, case_of
from drill_world import PLAN, RESCORE, traffic

ONSET_US = WATCHED.since_us + DAY_US // 2
WORLD = traffic(per_day=40)


@pytest.mark.parametrize("kind", sorted(INCIDENTS))
def test_a_kind_has_its_report_whatever_it_hits(kind: str) -> None:
    """Blamed is all that a kind can hit here, by every name that it goes by."""
    incident = INCIDENTS[kind]
    subjects: list[str | None] = [*incident.subjects(WORLD, PLAN)]
    for subject in subjects or [None]:
        fault = incident.resolved(Fault(kind, ONSET_US, subject=subject), WORLD, PLAN)
        case = case_of(incident.inject(WORLD, fault, RESCORE))
        names = incident.culprits(fault, PLAN)
        assert case.traffic.recomputed.height > 0
        found = Diagnosis(
            model="late",
            watched=case.watched,
            healthy=case.healthy,
            cause=incident.cause,
            kind=kind,
            culprit=Culprit(features=tuple(name for name in names if "=" not in name)),
            began_us=ONSET_US,
            remedy=Remedy(action=ALLOWED[incident.cause][0], words="Do it."),
        )
        page = render_incident(case, found)
        for name in [name for name in names if name in case.traffic.predictions.columns][:3]:
            assert f"{name}: share of nulls" in page
        assert render_postmortem(found, case.traffic.changes).startswith("# late: ")


@pytest.mark.parametrize(
    ("kind", "subject"),
    [("unit_change", "request.km"), ("null_flood", "request.km"), ("category_rename", "request.city")],
)
def test_what_is_diagnosed_of_a_field_of_the_request_has_its_report(kind: str, subject: str) -> None:
    fault = INCIDENTS[kind].resolved(Fault(kind, ONSET_US, subject=subject), WORLD, PLAN)
    case = case_of(INCIDENTS[kind].inject(WORLD, fault, RESCORE))
    found = diagnose(case)
    assert subject in found.culprit.features
    page = render_incident(case, found)
    assert f"{subject}: share of nulls" in page
    assert subject in render_postmortem(found)


def test_switches_and_times_have_their_plots() -> None:
    healthy = traffic(per_day=40)
    rows = healthy.predictions
    case = case_of(
        evolve(
            healthy,
            predictions=rows.with_columns(
                (rows["request.km"] > 5).alias("request.far"), rows["_at_us"].cast(TIME).alias("request.asked")
            ),
        )
    )
    found = Diagnosis(
        model="late",
        watched=case.watched,
        healthy=case.healthy,
        cause="source",
        kind="moved",
        culprit=Culprit(features=("far", "request.far", "request.asked")),
        began_us=ONSET_US,
        remedy=Remedy(action="page_source_owner", words="Ask."),
    )
    page = render_incident(case, found)
    assert "request.far: median" in page
    assert "request.asked: share of nulls" in page
    assert "request.asked: median" not in page
