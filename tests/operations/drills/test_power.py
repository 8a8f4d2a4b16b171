"""What a power analysis says of incidents that are found, missed, harmless, or that the traffic cannot have."""

from typing import get_args

import polars as pl
import pytest
from attrs import evolve
from drill_case import HEALTHY, WATCHED, WORLD, case_of
from drill_world import RESCORE

import charkha as ck
from charkha.monitoring.diagnosis.incident import DiagnosedCause, Diagnosis, Remedy
from charkha.operations.drills.catalogue import INCIDENTS, inject
from charkha.operations.drills.declared import with_declared
from charkha.operations.drills.drilled import MEANINGS, Verdict
from charkha.operations.drills.fault import Fault
from charkha.operations.drills.power import NoBundles, NotHealthy, drill, onset_us, verdict_of
from charkha.operations.drills.seen import Seen
from charkha.spec.durations import DAY_US, HOUR_US


def test_an_incident_is_told_with_its_time_its_name_and_the_smallest_that_would_be_seen() -> None:
    steps: list[tuple[int, int, str]] = []
    power = drill(case_of(), [INCIDENTS["bad_replica"]], on_progress=lambda *step: steps.append(step))
    (found,) = power.drilled
    assert (found.verdict, found.survived, found.right_culprit) == ("caught", True, True)
    assert found.found is not None
    assert found.found.cause == "infrastructure"
    assert found.subject in {"web-0", "web-1", "web-2"}
    assert found.delay_us is not None
    assert 0 < found.delay_us <= 4 * HOUR_US
    assert found.deadline_us is not None
    assert found.smallest == pytest.approx(0.125)  # an identity: any difference is one
    assert steps == [(0, 2, "looking at the traffic as it is"), (1, 2, "bad_replica")]
    assert power.predictions == WORLD.predictions["_at_us"].is_between(WATCHED.since_us, WATCHED.until_us - 1).sum()
    assert power.counts == {"caught": 1}


@ck.incident("nothing_at_all", cause="source", within="1h", rows=1)
def nothing_at_all(rows: pl.DataFrame, size: float, seed: int) -> pl.DataFrame:
    return rows


@ck.incident("flood", cause="skew", harmful=False)
def flood(rows: pl.DataFrame, size: float, seed: int) -> pl.DataFrame:
    return rows.with_columns(pl.lit(None, pl.Float64).alias("sky.temp"))


def test_what_cannot_be_is_missed_or_is_reported_in_vain_is_told_apart() -> None:
    nameless = evolve(WORLD, predictions=WORLD.predictions.with_columns(replica=pl.lit(None, pl.String)))
    kinds = with_declared([nothing_at_all, flood])
    drilled = [kinds[kind] for kind in ("bad_replica", "nothing_at_all", "flood", "seasonal_shift")]
    power = drill(case_of(nameless), drilled, sizes=False)
    assert [each.verdict for each in power.drilled] == ["left_out", "missed", "false_alarm", "quiet"]
    assert "expected something that bad_replica can hit" in power.drilled[0].reason
    assert [each.kind for each in power.judged] == ["nothing_at_all", "flood", "seasonal_shift"]
    assert [each.kind for each in power.survived] == ["seasonal_shift"]


def test_traffic_in_which_something_is_wrong_cannot_be_drilled() -> None:
    broken = inject(WORLD, Fault("null_flood", WATCHED.since_us + DAY_US, subject="weather.temp"), RESCORE)
    with pytest.raises(NotHealthy, match=r"as it is the diagnosis of 2024-.* says: source: .*temp"):
        drill(case_of(broken), [INCIDENTS["latency"]])
    with pytest.raises(NoBundles, match="expected the bundles of all versions that served"):
        drill(evolve(case_of(), rescore=None), [INCIDENTS["latency"]])


def test_a_seed_chooses_a_minute_of_the_second_seventh() -> None:
    onsets = {onset_us(WATCHED, seed) for seed in range(20)}
    length_us = WATCHED.until_us - WATCHED.since_us
    assert len(onsets) > 15
    assert all(length_us / 7 <= each - WATCHED.since_us < 2 * length_us / 7 for each in onsets)
    assert onset_us(WATCHED, 3) == onset_us(WATCHED, 3)


HEALTH = Diagnosis(model="late", watched=WATCHED, healthy=HEALTHY)
FOUND: dict[DiagnosedCause, Diagnosis] = {
    "infrastructure": evolve(HEALTH, cause="infrastructure", remedy=Remedy(action="mend_serving")),
    "source": evolve(HEALTH, cause="source", remedy=Remedy(action="page_source_owner")),
    "concept": evolve(HEALTH, cause="concept", remedy=Remedy(action="retrain")),
}


@pytest.mark.parametrize(
    ("kind", "seen_hours", "deadline_hours", "cause", "verdict"),
    [
        ("latency", 2, 3, "infrastructure", "caught"),
        ("latency", 2, 3, "source", "misnamed"),
        ("latency", 4, 3, "infrastructure", "late"),
        ("latency", None, 3, None, "missed"),
        ("latency", None, 25, None, "too_soon"),
        ("latency", 24, 25, "infrastructure", "caught"),
        ("holiday", None, 3, None, "quiet"),
        ("holiday", 2, 3, "concept", "false_alarm"),
    ],
)
def test_how_a_drill_ended(
    kind: str, seen_hours: int | None, deadline_hours: int, cause: DiagnosedCause | None, verdict: Verdict
) -> None:
    incident = INCIDENTS[kind]
    seen = None if cause is None or seen_hours is None else Seen(seen_hours * HOUR_US, FOUND[cause])
    ended = verdict_of(incident, seen, deadline_hours * HOUR_US, 24 * HOUR_US, harmful=incident.harmful)
    assert ended == verdict


def test_every_verdict_is_explained() -> None:
    assert set(MEANINGS) == set(get_args(Verdict))
