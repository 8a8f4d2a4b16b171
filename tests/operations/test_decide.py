"""The rules of the operator: what each situation leads to, in which order, and with which words."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from situations import NOW_US, START_US, contest, deployed, health, model, reference, skew, training, waiting

import charkha as ck
from charkha.monitoring.findings import Finding
from charkha.monitoring.skew_watch import skew_findings
from charkha.operations.decide import decide, to_verify
from charkha.operations.retraining.past import Fate, PastTraining
from charkha.operations.situation import Situation
from charkha.operations.steps import Note, NoteFailure, Promote, Reject, StartShadow, Train, TrainFirst
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.spec.retention import PATIENCE

QUIET = Situation(
    now_us=NOW_US,
    deployment=deployed(),
    since_us=START_US,
    versions=("v1",),
    trainings=1,
    training=training("done"),
    last_trained_us=NOW_US - 90 * DAY_US,
    reference=reference(0.741, 0.006),
    health=health(0.738, 0.007),
)
FALLEN = evolve(QUIET, health=health(0.702, 0.007))
SHADOWED = evolve(
    QUIET,
    deployment=deployed("v1", "v2", 2),
    since_us=NOW_US - 8 * DAY_US,
    versions=("v1", "v2"),
    contest=contest(-0.033, -0.009),
)


# What is said of a training of which nothing is known.
UNKNOWN = (
    ". Expected gain unknown, for no diagnosis says what is lost. "
    "Expected cost unknown, for no earlier training was measured"
)


def finding(kind: str, subject: str, value: float, *, significant: bool = True) -> Finding:
    return Finding(
        time_us=NOW_US,
        model="late",
        version=None,
        kind=kind,  # type: ignore[arg-type]
        subject=subject,
        value=value,
        low=value,
        high=value,
        threshold=0.25,
        significant=significant,
        message=f"{subject} moved by {value}",
    )


def test_nothing_to_do() -> None:
    assert decide(QUIET, model()) is None


# A training goes on, whatever else there is.


def test_a_training_cut_off_goes_on_as_it_was_decided() -> None:
    for state in ("decided", "running"):
        step = decide(evolve(FALLEN, training=training(state), waiting=(waiting("v1"),)), model())
        assert step == Train(
            run_key="late/train/1",
            as_of_us=NOW_US - 10 * DAY_US,
            reason="because",
            evidence={"champion": "v1"},
        )


def test_a_first_training_cut_off_goes_on() -> None:
    step = decide(evolve(QUIET, deployment=deployed(None), training=training("running", first=True)), model())
    assert isinstance(step, TrainFirst)
    assert step.run_key == "late/train/1"


def test_a_failed_training_is_noted_once() -> None:
    failed = training("failed", error="the test part has 3 rows")
    step = decide(evolve(FALLEN, training=failed, last_trained_us=failed.decided_us), model())
    assert isinstance(step, NoteFailure)
    assert step.reason == (
        "the training decided on at 2013-04-01 00:00 UTC failed: the test part has 3 rows. "
        "The next may begin at 2013-04-15 00:00 UTC"
    )
    assert decide(evolve(QUIET, training=evolve(failed, noted=True)), model()) is None


# Versions that wait.


def test_failed_gates_reject() -> None:
    step = decide(evolve(QUIET, versions=("v1", "v2"), waiting=(waiting("v2", "a", "c"),)), model())
    assert isinstance(step, Reject)
    assert step.reason == "v2 did not pass 2 of 3 gates: a says so; c says so"
    assert step.evidence["failed_gates"] == ["a", "c"]


def test_an_overtaken_version_is_rejected() -> None:
    both = evolve(QUIET, versions=("v1", "v2", "v3"), waiting=(waiting("v2"), waiting("v3")))
    step = decide(both, model())
    assert isinstance(step, Reject)
    assert (step.version, step.reason) == ("v2", "v2 was overtaken by v3 before its turn came")
    behind = evolve(QUIET, deployment=deployed("v3"), versions=("v1", "v2", "v3"), waiting=(waiting("v2"),))
    assert isinstance(decide(behind, model()), Reject)


def test_a_version_that_passed_becomes_a_shadow() -> None:
    step = decide(evolve(FALLEN, versions=("v1", "v2"), waiting=(waiting("v2"),)), model())
    assert isinstance(step, StartShadow)
    assert (step.version, step.generation) == ("v2", 1)
    assert step.reason == (
        "v2 passed its 3 gates: it scores every request unseen beside v1, for at least 7 days and until 200 labels "
        "have matured"
    )


def test_one_shadow_at_a_time() -> None:
    early = evolve(SHADOWED, since_us=NOW_US - DAY_US, versions=("v1", "v2", "v3"), waiting=(waiting("v3"),))
    assert decide(early, model()) is None


def test_the_first_version_that_passes_is_promoted() -> None:
    step = decide(evolve(QUIET, deployment=deployed(None, generation=0), waiting=(waiting("v1"),)), model())
    assert isinstance(step, Promote)
    assert step.reason == "v1 passed its 3 gates; there is no champion to compare it with"


# Without a champion.


def test_without_a_champion_one_is_trained() -> None:
    step = decide(Situation(now_us=NOW_US, deployment=deployed(None, generation=0)), model())
    assert isinstance(step, TrainFirst)
    assert (step.run_key, step.as_of_us) == ("late/train/1", NOW_US)
    assert step.reason == "late has no champion: training one on what was known at 2013-04-11 00:00 UTC"


def test_a_first_training_that_came_to_nothing_is_tried_again_after_the_cooldown() -> None:
    tried = Situation(
        now_us=NOW_US,
        deployment=deployed(None, generation=0),
        training=training("done"),
        trainings=1,
        last_trained_us=NOW_US - 10 * DAY_US,
    )
    assert decide(tried, model()) is None
    step = decide(evolve(tried, now_us=NOW_US + 4 * DAY_US), model())
    assert isinstance(step, TrainFirst)
    assert step.run_key == "late/train/2"


# Shadows.


def test_a_better_shadow_is_promoted() -> None:
    step = decide(SHADOWED, model())
    assert isinstance(step, Promote)
    assert (step.version, step.generation) == ("v2", 2)
    assert step.reason == (
        "log loss 0.431 against the champion's 0.452 on 5,412 matured labels of 7 days: -0.021 (95 % -0.033 to -0.009)"
    )
    assert step.evidence["labels"] == 5_412


def test_a_better_shadow_is_recomputed_before_it_is_promoted() -> None:
    assert to_verify(SHADOWED, model()) == "v2"
    assert to_verify(evolve(SHADOWED, skew=skew()), model()) is None
    assert to_verify(SHADOWED, model(monitors=ck.Monitors(skew_sample=0))) is None
    for other in (QUIET, FALLEN, evolve(SHADOWED, contest=contest(0.001, 0.011))):
        assert to_verify(other, model()) is None
    assert isinstance(decide(evolve(SHADOWED, skew=skew()), model()), Promote)


def test_a_better_shadow_whose_features_differ_is_rejected() -> None:
    step = decide(evolve(SHADOWED, skew=skew("traffic.count_1h", "ask.gap")), model())
    assert isinstance(step, Reject)
    assert step.reason == (
        "log loss 0.431 against the champion's 0.452 on 5,412 matured labels of 7 days: -0.021 (95 % -0.033 to "
        "-0.009); but traffic.count_1h was served otherwise than it is recomputed on 12 of 300 predictions, first at "
        "2013-04-08T09:00:00Z: served 2.0, recomputed 3.0 (lost event, source trips: without row 2); so was 1 other "
        "feature"
    )
    assert (step.evidence["skewed"], step.evidence["labels"]) == (["traffic.count_1h", "ask.gap"], 5_412)
    worse = decide(evolve(SHADOWED, contest=contest(0.001, 0.011), skew=skew("a.b")), model())
    assert isinstance(worse, Reject)
    assert worse.reason.endswith("; it is worse")


def test_skew_is_told_first_with_a_fall() -> None:
    findings = (finding("drift", "x", 99.0), *skew_findings("late", skew("a.b"), NOW_US))
    step = decide(evolve(FALLEN, findings=findings), model())
    assert step is not None
    assert ". At the same time: a.b was served otherwise than it is recomputed on 12 of 300" in step.reason


def test_a_shadow_that_is_not_shown_to_be_better_is_rejected() -> None:
    step = decide(evolve(SHADOWED, contest=contest(-0.011, 0.003)), model())
    assert isinstance(step, Reject)
    assert step.reason.endswith("; the interval reaches zero, so it is not shown to be better")
    worse = decide(evolve(SHADOWED, contest=contest(0.001, 0.011)), model())
    assert isinstance(worse, Reject)
    assert worse.reason.endswith("; it is worse")


def test_a_shadow_that_is_the_same_is_rejected() -> None:
    assert isinstance(decide(evolve(SHADOWED, contest=contest(0.0, 0.0)), model()), Reject)


def test_the_confidence_is_said() -> None:
    step = decide(evolve(SHADOWED, contest=contest(-0.034, -0.009, confidence=0.99)), model())
    assert step is not None
    assert "(99 % " in step.reason


def test_a_shadow_is_not_judged_before_its_time() -> None:
    early = evolve(SHADOWED, since_us=NOW_US - 7 * DAY_US + 1)
    assert decide(early, model()) is None
    assert isinstance(decide(evolve(early, now_us=NOW_US + 1), model()), Promote)


def test_a_shadow_is_not_judged_on_few_labels() -> None:
    few = evolve(SHADOWED, contest=contest(-0.034, -0.009, labels=199))
    assert decide(few, model()) is None
    assert isinstance(decide(evolve(few, contest=contest(-0.034, -0.009, labels=200)), model()), Promote)


def test_a_shadow_without_labels_is_given_up_in_the_end() -> None:
    few = evolve(SHADOWED, since_us=NOW_US - PATIENCE * 8 * DAY_US, contest=contest(-0.034, -0.009, labels=45))
    step = decide(few, model())
    assert isinstance(step, Reject)
    assert step.reason == (
        "after 32 days beside v1 only 45 matured labels of 7 days of predictions that both scored: "
        "200 on at least two days are needed to judge it"
    )
    assert decide(evolve(few, since_us=few.since_us + 1), model()) is None


def test_a_shadow_with_labels_of_one_day_waits() -> None:
    assert decide(evolve(SHADOWED, contest=evolve(contest(0, 0), difference=None)), model()) is None


# Retraining.


def test_a_fall_starts_a_training() -> None:
    step = decide(FALLEN, model())
    assert isinstance(step, Train)
    assert not isinstance(step, TrainFirst)
    assert step.run_key == "late/train/2"
    assert step.reason == (
        "ROC-AUC 0.7020 (95 % 0.6950 to 0.7090) on 12,034 matured labels of 28 days, against "
        "0.7410 (95 % 0.7350 to 0.7470) when v1 was tested: worse by 0.0390, and the intervals do not meet" + UNKNOWN
    )


def test_a_fall_says_what_drifted() -> None:
    findings = tuple(finding("drift", name, value) for name, value in [("a", 0.3), ("b", 1.2), ("c", 0.6), ("d", 0.5)])
    step = decide(evolve(FALLEN, findings=(*findings, finding("nulls", "e", 0.1, significant=False))), model())
    assert step is not None
    assert step.reason.endswith(
        ". At the same time: b moved by 1.2; c moved by 0.6; d moved by 0.5 and 1 more" + UNKNOWN
    )
    assert len(step.evidence["drifted"]) == 4  # type: ignore[arg-type]


def test_drift_that_does_not_hurt_starts_nothing() -> None:
    assert decide(evolve(QUIET, findings=(finding("drift", "a", 9.0),)), model()) is None


def test_intervals_that_touch_are_no_fall() -> None:
    assert decide(evolve(QUIET, health=health(0.725, 0.01), reference=reference(0.745, 0.01)), model()) is None
    assert isinstance(
        decide(evolve(QUIET, health=health(0.7249, 0.01), reference=reference(0.745, 0.01)), model()), Train
    )


def test_lower_is_better_for_losses() -> None:
    worse = evolve(QUIET, health=health(0.5, 0.01, metric="log_loss"), reference=reference(0.45, 0.01))
    assert isinstance(decide(worse, model("log_loss")), Train)
    better = evolve(worse, health=health(0.4, 0.01, metric="log_loss"))
    assert decide(better, model("log_loss")) is None


def test_better_than_tested_is_no_fall() -> None:
    assert decide(evolve(QUIET, health=health(0.8, 0.007)), model()) is None


def test_too_few_labels_are_no_fall() -> None:
    assert decide(evolve(FALLEN, health=health(0.702, 0.007, labels=199)), model()) is None


def test_a_fall_waits_for_the_cooldown() -> None:
    recent = evolve(FALLEN, last_trained_us=NOW_US - 14 * DAY_US + 1)
    refused_once(recent, model(), "cooldown")
    assert isinstance(decide(evolve(recent, now_us=NOW_US + 1), model()), Train)


def test_a_fall_is_ignored_when_the_definition_says_so() -> None:
    assert decide(FALLEN, model(retrain=ck.Retrain(on_fall=False))) is None


def test_nothing_is_trained_while_a_source_is_stale() -> None:
    stale = evolve(FALLEN, findings=(finding("freshness", "weather", 40.0),))
    refused_once(stale, model(), "source")
    assert isinstance(decide(evolve(stale, findings=(evolve(stale.findings[0], significant=False),)), model()), Train)


def test_a_training_on_schedule() -> None:
    monthly = model(retrain=ck.Retrain(every="90d", on_fall=False))
    step = decide(QUIET, monthly)
    assert isinstance(step, Train)
    assert step.reason == "90 days since the last training, and one is due every 90 days" + UNKNOWN
    assert decide(evolve(QUIET, last_trained_us=NOW_US - 90 * DAY_US + 1), monthly) is None


def test_nothing_is_trained_beside_a_shadow() -> None:
    due = model(retrain=ck.Retrain(every="30d"))
    early = evolve(SHADOWED, since_us=NOW_US - DAY_US, health=FALLEN.health)
    note = refused_once(early, due, "trial")
    assert note.reason.startswith(
        "no training: v2 is on trial, and the next is trained beside whoever is champion after"
    )


@pytest.mark.parametrize(
    ("state", "fate", "silent"),
    [("running", "open", True), ("done", "open", True), ("done", "given up", False), ("failed", "failed", False)],
)
def test_a_fall_is_not_refused_while_the_training_for_it_is_on_its_way(state: str, fate: Fate, silent: bool) -> None:
    made = training(state, noted=True, under_way=True, evidence={"champion": "v1", "triggers": ["fall"]})
    shown = PastTraining(run_key=made.run_key, began_us=made.decided_us, fate=fate)
    begun = evolve(FALLEN, training=made, past=(shown,), last_trained_us=made.decided_us)
    if silent:
        assert decide(begun, model()) is None
    else:
        refused_once(begun, model(), "cooldown")


def test_a_first_training_keeps_to_the_budget() -> None:
    empty = Situation(now_us=NOW_US, deployment=deployed(None), since_us=START_US)
    refused_once(empty, model(retrain=ck.Retrain(budget_trainings=0)), "budget")
    assert isinstance(decide(empty, model(retrain=ck.Retrain(budget_trainings=1))), Train)


def refused_once(situation: Situation, asked: Model, because: str) -> Note:
    """Say that a training is refused for a reason, and that this is written no second time."""
    note = decide(situation, asked)
    assert isinstance(note, Note)
    assert (note.action, note.evidence["because"]) == ("train_refused", because)
    assert decide(evolve(situation, written={**situation.written, note.key: NOW_US}), asked) is None
    return note


# What holds in every situation.

ESTIMATES = st.tuples(st.floats(0.3, 0.9), st.floats(0.0, 0.1))
SITUATIONS = st.builds(
    Situation,
    now_us=st.integers(START_US, NOW_US),
    deployment=st.one_of(
        st.just(deployed(None, generation=0)), st.just(deployed("v1")), st.just(deployed("v1", "v2", 3))
    ),
    since_us=st.integers(START_US, NOW_US),
    versions=st.just(("v1", "v2", "v3", "v4")),
    waiting=st.sampled_from([(), (waiting("v3"),), (waiting("v3", "a"),), (waiting("v3"), waiting("v4"))]),
    training=st.one_of(
        st.none(),
        st.builds(
            training,
            st.sampled_from(["decided", "running", "done", "failed"]),
            first=st.booleans(),
            noted=st.booleans(),
        ),
    ),
    trainings=st.integers(0, 5),
    last_trained_us=st.none() | st.integers(START_US, NOW_US),
    reference=st.none() | ESTIMATES.map(lambda pair: reference(*pair)),
    health=st.none() | ESTIMATES.map(lambda pair: health(*pair)),
    contest=st.none()
    | st.builds(
        lambda low, width, labels: contest(low, low + width, labels=labels),
        st.floats(-0.1, 0.1),
        st.floats(0, 0.1),
        st.integers(0, 400),
    ),
)


@given(SITUATIONS, st.sampled_from([None, "30d"]))
def test_what_holds_in_every_situation(situation: Situation, every: str | None) -> None:
    if bool(situation.contest) != bool(situation.deployment.shadows):
        situation = evolve(situation, contest=contest(-0.1, 0.1) if situation.deployment.shadows else None)
    step = decide(situation, model(retrain=ck.Retrain(every=every)))
    begun = situation.training is not None and situation.training.state in ("decided", "running")
    if step is not None:
        assert step.reason
        assert "  " not in step.reason
    match step:
        case Train(run_key=key):
            assert begun or not situation.deployment.shadows
            assert begun or situation.last_trained_us is None or situation.now_us >= situation.last_trained_us
            assert begun or key == f"late/train/{situation.trainings + 1}"
        case Promote(version=version):
            difference = situation.contest.difference if situation.contest else None
            assert situation.deployment.champion is None or (difference is not None and difference.high < 0)
            assert version not in {waited.version for waited in situation.waiting if not waited.passed}
        case StartShadow():
            assert situation.deployment.champion
            assert not situation.deployment.shadows
        case _:
            pass


@given(SITUATIONS)
def test_the_same_situation_leads_to_the_same_step(situation: Situation) -> None:
    assert decide(situation, model()) == decide(situation, model())
