"""No training learns from what is broken: it waits while an incident is open, says so once, and then goes on."""

import pytest
from attrs import evolve
from situations import NOW_US, START_US, contest, deployed, health, incident, model, reference

import charkha as ck
from charkha.monitoring.diagnosis.incident import DiagnosedCause
from charkha.operations.decide import decide
from charkha.operations.outlook import outlook
from charkha.operations.retraining.exclusions import from_evidence
from charkha.operations.situation import Situation
from charkha.operations.steps import HoldTraining, Train, TrainFirst
from charkha.operations.veto import in_the_way, training_span
from charkha.operations.wording import step_in_words
from charkha.spec.durations import DAY_US
from charkha.storage.ledger import Incident

FALLEN = Situation(
    now_us=NOW_US,
    deployment=deployed(),
    since_us=START_US,
    versions=("v1",),
    last_trained_us=NOW_US - 30 * DAY_US,
    reference=reference(0.741, 0.01),
    health=health(0.6, 0.01),
)


def beside(*incidents: Incident, held: frozenset[str] = frozenset()) -> Situation:
    paged = {f"late/page/{each.id}/{each.cause}": NOW_US for each in incidents}
    return evolve(FALLEN, incidents=incidents, held=held, written=paged)


@pytest.mark.parametrize("cause", ["infrastructure", "skew", "source", "label"])
def test_a_training_waits_for_what_is_broken_and_says_so_once(cause: DiagnosedCause) -> None:
    situation = beside(incident(cause))
    step = decide(situation, model())
    assert isinstance(step, HoldTraining)
    assert step.reason.startswith(
        f"training waits: incident late-3: {cause}: null flood of weather.temp. What is due: ROC-AUC 0.600"
    )
    assert (step.evidence["incidents"], step.key) == (["late-3"], "late/train/1/waits/late-3")
    assert step_in_words(step) == "write down that a training waits"
    known = evolve(situation, held=frozenset([step.key]))
    assert decide(known, model()) is None
    assert outlook(known, model()) == f"training waits: incident late-3: {cause}: null flood of weather.temp"


@pytest.mark.parametrize("cause", ["concept", "population", "prior", "unknown"])
def test_a_training_does_not_wait_for_what_it_may_answer(cause: DiagnosedCause) -> None:
    step = decide(beside(incident(cause)), model())
    assert isinstance(step, Train)
    assert "waits" not in step.reason


def test_a_schedule_and_a_first_champion_wait_as_well() -> None:
    scheduled = model(retrain=ck.Retrain(on_fall=False, every="20d"))
    assert isinstance(decide(beside(incident()), scheduled), HoldTraining)
    alone = evolve(beside(), deployment=deployed(None, generation=0), health=None, reference=None)
    assert isinstance(decide(alone, model()), TrainFirst)
    assert isinstance(decide(evolve(alone, incidents=(incident(),)), model()), HoldTraining)


def test_nothing_waits_that_is_not_due() -> None:
    quiet = evolve(beside(incident()), health=health(0.741, 0.01))
    assert decide(quiet, model()) is None
    assert outlook(quiet, model()).startswith("training waits: incident late-3")
    shadowed = evolve(beside(incident()), deployment=deployed("v1", "v2"), contest=contest(-0.02, -0.01))
    assert not isinstance(decide(shadowed, model()), HoldTraining)


def test_the_next_incident_is_written_down_again() -> None:
    first = decide(beside(incident()), model())
    assert isinstance(first, HoldTraining)
    other = decide(beside(incident(number=4), held=frozenset([first.key])), model())
    assert isinstance(other, HoldTraining)
    assert other.key == "late/train/1/waits/late-4"


def test_the_time_of_what_is_over_is_left_out_and_told() -> None:
    ended = incident(days_ago=20, status="closed", closed_us=NOW_US - 9 * DAY_US, seen_us=NOW_US - 10 * DAY_US)
    step = decide(beside(ended), model())
    assert isinstance(step, Train)
    assert step.reason.endswith(
        ". It leaves out the time of what is over: late-3, source, 2013-03-22 00:00 UTC to 2013-04-01 00:00 UTC"
    )
    (window,) = from_evidence(step.evidence)
    assert (window.incident, window.since_us, window.until_us) == ("late-3", ended.began_us, ended.seen_us + 1)
    merged = decide(beside(evolve(ended, status="merged", merged_into=1)), model())
    assert isinstance(merged, Train)
    assert not from_evidence(merged.evidence)


def test_only_what_a_training_would_learn_from_counts() -> None:
    short = model(retrain=ck.Retrain(window="5d"), split=ck.Split(validation="2d", test="2d"))
    since_us = training_span(short, NOW_US).since_us
    assert since_us == NOW_US - (2 + 2 + 5 + 3) * DAY_US  # the parts, and the delay of a label between them
    before = incident(days_ago=30, status="closed", seen_us=since_us - DAY_US)
    step = decide(beside(before), short)
    assert isinstance(step, Train)
    assert not from_evidence(step.evidence)
    # One that lasts reaches into the window, whenever it was seen last; one that began after it does not.
    lasting = incident(days_ago=30, seen_us=since_us - DAY_US)
    assert in_the_way([lasting], short, NOW_US) == [lasting]
    assert in_the_way([incident(days_ago=2)], short, NOW_US - 3 * DAY_US) == []
