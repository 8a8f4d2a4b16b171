"""What is said where nothing explains: benign where inputs moved without harm, unknown where the model is worse."""

from typing import Any

import pytest
from attrs import evolve
from test_diagnosis_labels import ONSET_US, Bend, drift, shifted, world

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.features import FeatureView
from charkha.monitoring.diagnosis.evidence import Evidence
from charkha.monitoring.diagnosis.incident import Diagnosis
from charkha.monitoring.diagnosis.losses import with_performance
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.diagnosis.unexplained import unexplained
from charkha.spec.durations import DAY_US, HOUR_US


def signal(check: str, subject: str, usual: float, now: float, words: str) -> Signal:
    fields: dict[str, Any] = {
        "alarmed_us": ONSET_US + HOUR_US,
        "began_us": ONSET_US,
        "earliest_us": ONSET_US,
        "latest_us": ONSET_US + HOUR_US,
    }
    return Signal(
        check=check, subject=subject, evidence=30.0, usual=usual, now=now, unit="", rows=900, words=words, **fields
    )


LEVEL = signal("level", "f.x", 0.0, 1.6, "f.x has moved by +1.60 standard deviations since 2024-01-01")
BURST = signal("volume", "", 20.0, 60.0, "60 questions an hour, where 20 are usual at those hours of the week")


def said(case: Case, *signals: Signal) -> Diagnosis:
    nothing = Diagnosis(model="late", watched=case.watched, healthy=case.healthy)
    return unexplained(Evidence(case, signals, FeatureView.of(case)), nothing)


def without_labels(case: Case) -> Case:
    known = case.traffic.labels["_label_known_us"] < ONSET_US
    return evolve(case, traffic=evolve(case.traffic, labels=case.traffic.labels.filter(known)))


def test_inputs_that_moved_without_harm_are_benign_and_no_incident() -> None:
    found = said(world(shifted), BURST, LEVEL)
    assert (found.cause, found.is_incident, found.remedy.action) == ("benign", False, "none")
    assert found.kind.startswith(
        "inputs moved: 60 questions an hour, where 20 are usual at those hours of the week; f.x has moved by +1.60 "
        "standard deviations, and the model does as well as before: log loss 0."
    )
    assert (found.culprit.features, found.began_us) == (("f.x",), ONSET_US)
    assert found.headline.startswith("benign shift: inputs moved")
    assert with_performance(found, world(shifted)).loss is None


def test_before_labels_the_estimate_says_so() -> None:
    found = said(without_labels(world()), LEVEL)
    assert found.cause == "benign"
    assert "and the model is estimated to do as well as before: log loss 0." in found.kind


@pytest.mark.parametrize("bend", [None, shifted])
def test_what_moves_every_week_is_not_named(bend: Bend | None) -> None:
    case = world(bend)
    little = signal("level", "f.x", 0.0, 0.9, "f.x has moved by +0.90 standard deviations")
    season = signal("strangers", "f.x", 0.0, 0.3, "f.x has a value that never was in 30 % of 900 rows")
    busier = signal("volume", "", 20.0, 27.0, "27 questions an hour")
    found = said(case, little, season, busier)
    assert (found.cause, found.kind) == (None, "nothing is wrong")


def test_a_model_that_is_worse_for_no_reason_that_is_known_is_an_incident() -> None:
    found = said(world(drift), LEVEL)
    assert (found.cause, found.is_incident, found.remedy.action) == ("unknown", True, "none")
    assert found.headline.startswith("degraded, cause unknown: the log loss is 0.")
    assert found.headline.endswith(" and no check says why")
    assert found.remedy.words.startswith("Investigate: ")
    assert [each.check for each in found.evidence] == ["estimate", "level"]
    assert found.began_us is not None
    assert found.earliest_us is not None
    assert found.latest_us is not None
    assert found.earliest_us <= ONSET_US <= found.latest_us


@pytest.mark.parametrize("seed", range(3, 8))
def test_a_model_that_is_as_its_scores_say_is_not_degraded(seed: int) -> None:
    assert said(world(seed=seed)).cause is None
    assert said(world(shifted, seed=seed)).cause is None


def test_nothing_is_said_where_harm_cannot_be_told() -> None:
    assert said(evolve(world(drift), task="regression"), LEVEL).cause is None
    short = world(shifted)
    short = evolve(short, healthy=evolve(short.healthy, since_us=short.healthy.until_us - 3 * DAY_US))
    assert said(short, LEVEL).cause is None
