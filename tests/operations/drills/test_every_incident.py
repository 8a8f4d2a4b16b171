"""Every kind of the catalogue: it changes what it says, inside its span alone, and the same way every time."""

from functools import cache

import polars as pl
import pytest
from drill_world import END_US, ONSET_US, PLAN, RESCORE, traffic, with_shadow
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from charkha.monitoring.traffic import Traffic
from charkha.operations.drills.catalogue import INCIDENTS, inject, inject_all
from charkha.operations.drills.fault import BadFault, Fault
from charkha.spec.drills import CAUSES
from charkha.spec.durations import parse_duration

FRAMES = ("predictions", "labels", "arrivals", "vitals", "recomputed")
KINDS = sorted(INCIDENTS)
CATALOGUE = {
    *("unit_change", "null_flood", "constant", "stale_store", "late_events", "duplicate_events", "category_rename"),
    *("new_category", "schema_change", "time_zone_shift", "wrong_join_key", "wrong_lookup_key"),
    *("skew_transform", "skew_window", "skew_imputation"),
    *("population_shift_harmful", "population_shift_harmless", "new_segment", "seasonal_shift", "prior_shift"),
    *("concept_sudden", "concept_gradual", "concept_recurring", "concept_in_one_slice", "adversarial_pattern"),
    *("label_outage", "biased_label_delay", "label_corruption", "latency", "error_burst"),
    *("wrong_artifact_announced", "wrong_artifact_silent", "bad_replica", "clock_skew", "marketing_burst", "holiday"),
}


@cache
def healthy(*, regression: bool = False) -> Traffic:
    return traffic(regression=regression)


def outside(bent: Traffic, frame: str) -> pl.DataFrame:
    """Return the rows of a frame that a fault between the two times may not touch."""
    rows: pl.DataFrame = getattr(bent, frame)
    times = {"arrivals": "_hour_us", "vitals": "_minute_us", "labels": "_label_known_us"}
    if frame in times:
        return rows.filter(~pl.col(times[frame]).is_between(ONSET_US, END_US, closed="left"))
    asked = healthy().predictions.filter(~pl.col("_at_us").is_between(ONSET_US, END_US, closed="left"))
    return rows.join(asked.select("id"), on="id", how="semi")


def test_all_of_the_catalogue_is_there() -> None:
    assert set(INCIDENTS) == CATALOGUE


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_what_a_diagnosis_should(kind: str) -> None:
    incident = INCIDENTS[kind]
    assert incident.cause in CAUSES
    assert incident.harmful == (incident.cause != "benign")
    assert parse_duration(incident.within) > 0
    assert incident.touches <= {*FRAMES, "changes"}
    assert incident.words[0].islower()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regression", [False, True])
@settings(max_examples=4)
@given(seed=st.integers(0, 50))
def test_it_changes_what_it_says_inside_its_span_alone(kind: str, regression: bool, seed: int) -> None:
    before = healthy(regression=regression)
    bent = inject(before, Fault(kind, ONSET_US, END_US, seed=seed), RESCORE)
    incident, changed = INCIDENTS[kind], set()
    for frame in FRAMES:
        was, now = getattr(before, frame), getattr(bent, frame)
        changed |= {frame} if not was.equals(now) else set()
        if incident.by_labels or incident.cause in ("label", "benign", "prior", "population"):
            continue  # of these the labels that are known later are hit too: see below
        assert_frame_equal(outside(bent, frame), outside(before, frame))
    changed |= {"changes"} if bent.changes != before.changes else set()
    assert changed <= incident.touches
    assert changed, "it does something"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if INCIDENTS[kind].cause != "label"])
def test_questions_outside_of_its_span_are_bit_equal_whatever_it_is(kind: str) -> None:
    bent = inject(healthy(), Fault(kind, ONSET_US, END_US, seed=3), RESCORE)
    assert_frame_equal(outside(bent, "predictions"), outside(healthy(), "predictions"))
    assert_frame_equal(outside(bent, "vitals"), outside(healthy(), "vitals"))
    asked = outside(healthy(), "predictions").select("id")
    of_these = [each.labels.join(asked, on="id", how="semi").sort("id") for each in (bent, healthy())]
    assert_frame_equal(*of_these)


@pytest.mark.parametrize("kind", ["label_outage", "biased_label_delay", "label_corruption"])
def test_labels_known_outside_of_the_span_are_bit_equal(kind: str) -> None:
    before = healthy().labels
    bent = inject(healthy(), Fault(kind, ONSET_US, END_US), RESCORE).labels
    known = before.filter(~pl.col("_label_known_us").is_between(ONSET_US, END_US, closed="left"))
    of_these = [each.join(known.select("id"), on="id", how="semi").sort("id") for each in (bent, before)]
    assert_frame_equal(*of_these)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_fault_is_the_same_every_time(kind: str) -> None:
    once, again = (inject(healthy(), Fault(kind, ONSET_US, END_US, seed=5), RESCORE) for _ in range(2))
    for frame in FRAMES:
        assert_frame_equal(getattr(once, frame), getattr(again, frame))
    assert once.changes == again.changes


@pytest.mark.parametrize("kind", KINDS)
def test_it_works_to_the_end_of_the_traffic_and_beside_a_shadow(kind: str) -> None:
    bent = inject(with_shadow(healthy()), Fault(kind, ONSET_US), RESCORE)
    assert bent.predictions["id"].n_unique() * 2 == bent.predictions.height or kind == "error_burst"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_served_follows_from_what_it_was_made_of(kind: str) -> None:
    """Request features and scores are those of the bent rows: but for faults that are wrong scores themselves."""
    if kind in ("wrong_artifact_announced", "wrong_artifact_silent", "bad_replica", "error_burst"):
        return
    bent = inject(healthy(), Fault(kind, ONSET_US, END_US, seed=1), RESCORE).predictions
    scores, decisions = RESCORE(bent)
    assert (bent["score"] - pl.Series(scores)).abs().max() == pytest.approx(0, abs=1e-12)
    assert bent["decision"].to_list() == list(decisions if decisions is not None else [])
    if not kind.startswith("skew"):
        assert_frame_equal(bent.select("ride.km"), bent.select(pl.col("request.km").alias("ride.km")))
        assert bent["ride.city"].equals(bent["request.city"])


SOURCES = [kind for kind in KINDS if INCIDENTS[kind].cause == "source"]


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_that_is_broken_is_recomputed_as_it_was_served(kind: str) -> None:
    bent = inject(healthy(), Fault(kind, ONSET_US, END_US, seed=2), RESCORE)
    served = bent.recomputed.select("id", "version").join(
        bent.predictions, on=["id", "version"], how="left", maintain_order="left"
    )
    assert_frame_equal(bent.recomputed, served.select(bent.recomputed.columns))


@pytest.mark.parametrize(
    "kind", ["skew_transform", "skew_window", "skew_imputation", "stale_store", "wrong_lookup_key"]
)
def test_a_skew_is_seen_beside_what_is_recomputed(kind: str) -> None:
    bent = inject(healthy(), Fault(kind, ONSET_US, END_US, seed=2), RESCORE)
    assert_frame_equal(bent.recomputed, healthy().recomputed)
    assert not bent.predictions.equals(healthy().predictions)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_skew_beside_a_broken_source_stays_a_skew(kind: str) -> None:
    skew = Fault("skew_transform", ONSET_US, END_US, "traffic.count_1d")
    other = Fault(kind, ONSET_US, END_US, seed=2)
    pair = inject_all(healthy(), [other, skew], RESCORE)
    alone = inject(healthy(), other, RESCORE)
    kept = [name for name in alone.recomputed.columns if name != "traffic.count_1d"]
    assert_frame_equal(pair.recomputed.select(kept), alone.recomputed.select(kept))
    assert_frame_equal(pair.recomputed, alone.recomputed)


def test_an_unknown_kind_and_an_impossible_subject_say_what_there_is() -> None:
    with pytest.raises(BadFault, match=r"fault 'flood': expected one of .*null_flood.*, got 'flood'"):
        inject(healthy(), Fault("flood", ONSET_US), RESCORE)
    with pytest.raises(BadFault, match=r"expected a view as its subject, got 'skies'\. Possible here: 'traffic'"):
        inject(healthy(), Fault("stale_store", ONSET_US, subject="skies"), RESCORE)
    with pytest.raises(BadFault, match="expected a field of a source that a view reads"):
        inject(healthy(), Fault("unit_change", ONSET_US, subject="weather.wind"), RESCORE)
    with pytest.raises(BadFault, match="expected a span within that of the traffic"):
        inject(healthy(), Fault("latency", END_US, ONSET_US), RESCORE)


def test_the_culprit_goes_by_the_names_of_all_that_read_it() -> None:
    fault = Fault("unit_change", ONSET_US, subject="rides.minutes")
    assert INCIDENTS["unit_change"].culprits(fault, PLAN) == (
        *("rides.minutes", "rides", "traffic", "traffic.mean_minutes_1h", "traffic.mean_minutes_7d", "ride.pace"),
    )


def test_the_stated_window_ends_when_enough_was_hit() -> None:
    incident = INCIDENTS["unit_change"]
    deadline_us = incident.deadline_us(Fault("unit_change", ONSET_US), healthy())
    hit = healthy().predictions.filter(pl.col("_at_us") >= ONSET_US)["_at_us"]
    assert deadline_us == hit[incident.rows - 1]
    assert incident.deadline_us(Fault("unit_change", ONSET_US, ONSET_US + 1), healthy()) == 1 << 62
