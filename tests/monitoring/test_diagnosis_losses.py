"""What a diagnosis says of performance: before labels, as they come, and what it costs."""

import pytest
from attrs import evolve
from test_diagnosis_labels import ONSET_US, drift, shifted, world

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.documents import as_document, from_document
from charkha.monitoring.diagnosis.incident import ALLOWED, DiagnosedCause, Diagnosis, Remedy
from charkha.monitoring.diagnosis.losses import with_performance
from charkha.monitoring.diagnosis.wording import facts
from charkha.spec.durations import DAY_US, HOUR_US


def of(case: Case, cause: DiagnosedCause | None = None) -> Diagnosis:
    remedy = Remedy(action=ALLOWED[cause][0] if cause else "none")
    began_us = ONSET_US if cause else None
    plain = Diagnosis(
        model="late", watched=case.watched, healthy=case.healthy, cause=cause, began_us=began_us, remedy=remedy
    )
    return with_performance(plain, case)


def later(case: Case) -> Case:
    """Return a case in which no label of what is watched is known yet."""
    known = case.traffic.labels["_label_known_us"] < ONSET_US
    return evolve(case, traffic=evolve(case.traffic, labels=case.traffic.labels.filter(known)))


def test_what_is_expected_is_said_beside_what_is_known() -> None:
    found = of(world())
    estimate = found.before_labels
    assert estimate is not None
    assert estimate.realised is not None
    assert estimate.low < estimate.realised < estimate.high
    said = dict(facts(found))["estimate"]
    assert said.startswith(f"before labels: log loss estimated {estimate.estimated:.3g} ({estimate.low:.3g} to ")
    assert f"realised of what is known {estimate.realised:.3g}" in said
    assert said.endswith("blind to concept drift")
    assert from_document(as_document(found)) == found


def test_before_any_label_there_is_the_estimate_alone() -> None:
    found = of(later(world()))
    assert found.before_labels is not None
    assert (found.before_labels.realised, found.before_labels.mature) == (None, 0.0)
    assert "nothing is known yet" in dict(facts(found))["estimate"]


def test_a_loss_is_measured_by_labels_and_estimated_without_them() -> None:
    measured = of(world(drift), "concept").loss
    assert measured is not None
    assert not measured.estimated
    assert measured.now > measured.usual + 0.05
    assert measured.rows == pytest.approx(7 * 600, rel=0.1)
    guessed = of(later(world(shifted)), "population").loss
    assert guessed is not None
    assert guessed.estimated


def test_nothing_is_estimated_of_scores_that_mean_something_else_or_of_labels_at_fault() -> None:
    assert of(later(world(drift)), "concept").loss is None
    assert of(later(world()), "source").loss is None
    wrong = of(world(), "label")
    assert wrong.loss is not None
    assert wrong.loss.estimated


def test_too_short_a_history_says_nothing() -> None:
    case = world()
    short = evolve(case, healthy=evolve(case.healthy, since_us=case.healthy.until_us - 3 * DAY_US))
    assert of(short).before_labels is None
    assert of(evolve(case, task="regression")).before_labels is None
    assert of(evolve(case, watched=evolve(case.watched, until_us=ONSET_US + HOUR_US))).before_labels is not None
