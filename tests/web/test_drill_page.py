"""The page of drills: each incident is on it, in its lane and in the table, and text of the data is never run."""

from attrs import evolve

from charkha.monitoring.diagnosis.incident import Diagnosis, Remedy
from charkha.monitoring.performance import Span
from charkha.operations.drills.drilled import Drilled, Power, Verdict
from charkha.spec.drills import Cause
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.web.drill_chart import LEFT, RIGHT, drill_chart
from charkha.web.drill_page import delay_text, render_drills

HEALTHY, WATCHED = Span(0, 28 * DAY_US), Span(28 * DAY_US, 35 * DAY_US)
FOUND = Diagnosis(
    model="late_trip",
    watched=WATCHED,
    healthy=HEALTHY,
    cause="source",
    kind="<script>alert(1)</script>",
    remedy=Remedy(action="page_source_owner"),
)


def drilled(kind: str, cause: Cause, verdict: Verdict, hours: float | None = None, **more: object) -> Drilled:
    settings = {"harmful": verdict != "quiet", "deadline_us": 6 * HOUR_US, "found": FOUND if hours else None} | more
    seen_us = None if hours is None else int(hours * HOUR_US)
    return Drilled(kind=kind, cause=cause, seed=1, since_us=0, verdict=verdict, seen_us=seen_us, **settings)  # type: ignore[arg-type]


POWER = Power(
    model="late_trip",
    healthy=HEALTHY,
    watched=WATCHED,
    predictions=1_234,
    drilled=(
        drilled("unit_change", "source", "caught", 1.5, subject="trips.km", size=60.0, smallest=3.9, unit="factor"),
        drilled("stale_store", "infrastructure", "late", 9.0),
        drilled("concept_sudden", "concept", "missed"),
        drilled("holiday", "benign", "quiet"),
        drilled("label_outage", "label", "too_soon"),
        drilled("bad_replica", "infrastructure", "left_out", reason="traffic <b>without</b> replicas"),
    ),
)


def test_each_drill_has_its_lane_its_window_and_when_it_was_found() -> None:
    chart = drill_chart(POWER)
    assert chart is not None
    assert [(lane.name, lane.verdict) for lane in chart.lanes] == [
        ("stale_store", "late"),
        ("unit_change", "caught"),
        ("concept_sudden", "missed"),
        ("holiday", "quiet"),
    ]
    late, caught, missed, quiet = chart.lanes
    assert late.window is not None and caught.found is not None and late.found is not None  # noqa: PT018
    assert LEFT < caught.found < late.window < late.found <= RIGHT
    assert (missed.found, quiet.window) == (None, None)
    assert [tick.text for tick in chart.causes] == ["infrastructure", "source", "concept", "benign"]
    assert all(above.y < below.y for above, below in zip(chart.lanes, chart.lanes[1:], strict=False))


def test_the_page_says_all_that_the_drills_showed() -> None:
    page = render_drills(POWER)
    for words in ("<b>2 of 4</b>", "trips.km", "1.5 h", "3.9 factor", "too soon", "What this traffic cannot have"):
        assert words in page
    assert "<script>" not in page
    assert "&lt;b&gt;without&lt;/b&gt;" in page


def test_a_page_of_which_nothing_could_be_told_says_so() -> None:
    page = render_drills(evolve(POWER, drilled=POWER.drilled[-2:]))
    assert "Nothing could be told" in page
    assert "<svg viewBox" not in page


def test_delays_are_written_for_people() -> None:
    assert [delay_text(each) for each in (None, HOUR_US, 47 * HOUR_US, 96 * HOUR_US)] == [
        "–",
        "1.0 h",
        "47.0 h",
        "4.0 d",
    ]
