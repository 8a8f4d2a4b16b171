"""A diagnosis: what it may propose, how sure it is, whom it blames, and that it survives being written down."""

import json
from math import inf, nan
from typing import get_args

import pytest
from diagnoses import diagnosis, healthy, signal

from charkha.monitoring.diagnosis.documents import as_document, from_document
from charkha.monitoring.diagnosis.incident import ALLOWED, Culprit, DiagnosedCause, Remedy, WrongRemedy
from charkha.spec.drills import CAUSES


def test_every_cause_of_a_drill_can_be_diagnosed_and_has_a_remedy() -> None:
    assert set(get_args(DiagnosedCause)) == {*CAUSES, "unknown"} == set(ALLOWED)


@pytest.mark.parametrize("cause", ["infrastructure", "skew", "source", "label", "prior", "benign", "unknown", None])
def test_nobody_learns_from_what_is_broken(cause: DiagnosedCause | None) -> None:
    with pytest.raises(WrongRemedy, match=r"expected one of .*; got retrain"):
        diagnosis(cause=cause, remedy=Remedy(action="retrain"))


@pytest.mark.parametrize("cause", ["concept", "population"])
def test_a_changed_world_may_be_learnt(cause: DiagnosedCause) -> None:
    assert diagnosis(cause=cause, remedy=Remedy(action="retrain")).is_incident


def test_confidence_is_the_odds_of_the_margin() -> None:
    assert [round(diagnosis(margin=each).confidence, 3) for each in (0.0, 3.0, inf)] == [0.5, 0.953, 1.0]


def test_a_benign_shift_is_no_incident() -> None:
    assert not healthy().is_incident
    assert not diagnosis(cause="benign", remedy=Remedy()).is_incident


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Culprit(), Culprit(), True),
        (Culprit(), Culprit(sources="a"), False),
        (Culprit(sources="a", features="v.x"), Culprit(sources="a", features=("v.y", "v.z")), True),
        (Culprit(features="v.x"), Culprit(sources="a", features=("v.y", "v.x")), True),
        (Culprit(sources="a"), Culprit(sources="b"), False),
        (Culprit(features="v.x", segments="c=1"), Culprit(features="v.x", segments="c=2"), False),
        (Culprit(features="v.x"), Culprit(replicas="r1"), False),
    ],
)
def test_culprits_are_one_where_names_are_shared(one: Culprit, other: Culprit, same: bool) -> None:
    assert one.meets(other) is same
    assert other.meets(one) is same


def test_culprits_are_named_in_words() -> None:
    assert Culprit().words == "the model as a whole"
    assert Culprit(sources="a", features=("v.x", "v.y", "v.z", "v.w")).words == (
        "source a, features v.x, v.y, v.z and 1 more"
    )


@pytest.mark.parametrize("each", [diagnosis(), healthy(), diagnosis(margin=inf)])
def test_a_diagnosis_is_read_as_it_was_written(each: object) -> None:
    document = json.loads(json.dumps(as_document(each), allow_nan=False))  # type: ignore[arg-type]
    assert from_document(document) == each


def test_what_json_cannot_say_is_null() -> None:
    document = as_document(diagnosis(evidence=(signal(usual=nan, evidence=inf),)))
    assert (document["evidence"][0]["usual"], document["evidence"][0]["evidence"]) == (None, None)
    assert from_document(document).evidence[0].usual != from_document(document).evidence[0].usual
    assert document["began"] == "2013-09-06T18:00:00Z"
