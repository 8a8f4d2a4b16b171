"""When a training is due, what it may cost and gain, and that one cause gives one training."""

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from situations import NOW_US, START_US, deployed, health, incident, model, reference

import charkha as ck
from charkha.monitoring.diagnosis.documents import as_document
from charkha.monitoring.diagnosis.incident import DiagnosedCause, Loss
from charkha.operations.decide import decide
from charkha.operations.remedies.at_fault import diagnosis_of
from charkha.operations.retraining.cost import expected_cost, over_budget, spent
from charkha.operations.retraining.gain import does_not_pay, expected_gain
from charkha.operations.retraining.past import PastTraining, past_trainings
from charkha.operations.retraining.triggers import new_from_us, unanswered
from charkha.operations.situation import Situation
from charkha.operations.steps import HoldTraining, Note, Step, Train
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model
from charkha.storage.ledger import Decision, Incident, Run

# A test and validation part of 2 days each: what began 20 days ago lies in the rows to learn from.
SHORT = ck.Split(validation="2d", test="2d")


def short(**changes: Any) -> Model:
    return model(split=SHORT, retrain=ck.Retrain(**changes))


QUIET = Situation(
    now_us=NOW_US,
    deployment=deployed(),
    since_us=START_US,
    versions=("v1",),
    trainings=1,
    last_trained_us=NOW_US - 90 * DAY_US,
    reference=reference(0.741, 0.006),
    health=health(0.738, 0.007),
)


def with_incidents(*incidents: Incident, **changes: Any) -> Situation:
    return evolve(QUIET, incidents=incidents, **changes)


def drifted(number: int = 3, days_ago: float = 20, cause: DiagnosedCause = "concept", **changes: Any) -> Incident:
    return incident(cause, days_ago, number=number, culprit=f"segment kind={number}", **changes)


def losing(found: Incident, loss: Loss) -> Incident:
    return evolve(found, diagnosis=as_document(evolve(diagnosis_of(found), loss=loss)))


def past(key: str = "late/train/1", days_ago: float = 40, **changes: Any) -> PastTraining:
    return PastTraining(run_key=key, began_us=NOW_US - int(days_ago * DAY_US), **changes)


def refusal(step: Step | None) -> Note:
    assert isinstance(step, Note)
    assert step.action == "train_refused"
    return step


# What calls for a training.


@pytest.mark.parametrize("cause", ["concept", "population", "prior"])
def test_a_diagnosis_that_new_data_help_with_calls_for_one(cause: DiagnosedCause) -> None:
    step = decide(with_incidents(drifted(cause=cause)), short())
    assert isinstance(step, Train)
    assert step.reason.startswith(
        f"new data help with incident late-3, {cause}: null flood of weather.temp, since 2013"
    )
    assert (step.evidence["triggers"], step.evidence["incidents"]) == (["diagnosis"], ["late-3"])
    assert decide(with_incidents(drifted(cause=cause)), short(on_diagnosis=False)) is None


@pytest.mark.parametrize("cause", ["infrastructure", "skew", "source", "label", "unknown"])
def test_no_other_diagnosis_does(cause: DiagnosedCause) -> None:
    assert not isinstance(decide(with_incidents(drifted(cause=cause)), short()), Train | HoldTraining)


def test_a_shift_of_the_prior_is_first_answered_by_another_calibration() -> None:
    calibrated = model(split=SHORT, calibrate="sigmoid", autonomy=ck.Autonomy("act"))
    step = decide(with_incidents(drifted(cause="prior")), calibrated)
    assert isinstance(step, Train)
    assert step.run_key == "late/recalibrate/late-3"
    shown = past("late/recalibrate/late-3", 15, recalibrates=True, incidents=("late-3",), fate="failed")
    again = with_incidents(drifted(cause="prior"), past=(shown,), written={shown.run_key: shown.began_us})
    step = decide(again, calibrated)
    assert isinstance(step, Train)
    assert step.run_key == "late/train/2"


def test_new_labels_call_for_one() -> None:
    wanted = model(retrain=ck.Retrain(new_labels=500))
    step = decide(evolve(QUIET, new_labels=500), wanted)
    assert isinstance(step, Train)
    assert step.reason.startswith("500 labels became known since the last training, and one is due every 500. ")
    assert decide(evolve(QUIET, new_labels=499), wanted) is None
    assert decide(QUIET, wanted) is None


def test_what_is_too_new_waits_and_says_until_when() -> None:
    new = drifted(days_ago=2)
    step = decide(with_incidents(new), short())
    assert isinstance(step, Note)
    # Parts of 2 days and three delays of a day lie between what is learnt from and now; 7 days of it are to be new.
    assert new_from_us(new, short()) == new.began_us + (2 + 2 + 3 + 7) * DAY_US
    assert (step.action, step.reason) == (
        "train_waits",
        "training waits: of what is new since incident late-3 began at 2013-04-09 00:00 UTC, there is enough to learn, "
        "and enough left to test on, from 2013-04-23 00:00 UTC on",
    )
    assert decide(with_incidents(new, written={step.key: NOW_US}), short()) is None
    later = with_incidents(evolve(new, seen_us=NOW_US + 12 * DAY_US), now_us=NOW_US + 12 * DAY_US)
    assert isinstance(decide(later, short()), Train)


def test_one_training_answers_all_that_calls_for_it() -> None:
    fallen = with_incidents(drifted(3), drifted(4), health=health(0.6, 0.007), last_trained_us=NOW_US - 40 * DAY_US)
    step = decide(fallen, short(every="30d"))
    assert isinstance(step, Train)
    assert step.evidence["triggers"] == ["fall", "diagnosis", "schedule"]
    assert step.evidence["incidents"] == ["late-3", "late-4"]
    assert step.reason.count("; and ") == 2


# One cause, one training.


def test_an_incident_that_was_trained_for_is_no_cause_until_it_shows_again() -> None:
    asked = model(label=model().label, split=SHORT)
    open_ = past(days_ago=15, incidents=("late-3",))
    assert unanswered(with_incidents(drifted(), past=(open_,)), asked) == []
    given_up = evolve(open_, fate="given up", ended_us=NOW_US - DAY_US)
    assert unanswered(with_incidents(drifted(), past=(given_up,)), asked)
    assert unanswered(with_incidents(drifted(seen_us=NOW_US - DAY_US), past=(given_up,)), asked) == []
    # After a promotion a day and the label's delay are of the champion before.
    promoted = evolve(open_, fate="promoted", ended_us=NOW_US - 2 * DAY_US)
    assert unanswered(with_incidents(drifted(), past=(promoted,)), asked) == []
    assert unanswered(with_incidents(drifted(seen_us=NOW_US + 1), past=(promoted,)), asked)
    failed = evolve(open_, fate="failed", ended_us=NOW_US - 14 * DAY_US)
    assert unanswered(with_incidents(drifted(), past=(failed,)), asked)


def test_one_that_ended_counts_for_a_week_unless_a_person_closed_it() -> None:
    ended = drifted(status="closed", closed_us=NOW_US - 6 * DAY_US)
    assert isinstance(decide(with_incidents(ended), short()), Train)
    assert decide(with_incidents(evolve(ended, closed_us=NOW_US - 7 * DAY_US)), short()) is None
    assert decide(with_incidents(evolve(ended, closed_by="asha")), short()) is None


def test_within_the_cooldown_it_is_refused_in_writing_once() -> None:
    recent = with_incidents(drifted(), last_trained_us=NOW_US - 13 * DAY_US)
    step = refusal(decide(recent, short()))
    assert step.reason.startswith(
        "no training: the last one began at 2013-03-29 00:00 UTC, and the next may at 2013-04-12"
    )
    assert decide(evolve(recent, written={step.key: NOW_US}), short()) is None


@given(st.lists(st.integers(1, 50), min_size=1, max_size=50, unique=True))
def test_however_many_alarms_there_is_one_step(numbers: list[int]) -> None:
    step = decide(with_incidents(*map(drifted, sorted(numbers))), short())
    assert isinstance(step, Train)
    assert step.evidence["incidents"] == [f"late-{number}" for number in sorted(numbers)]
    made = past("late/train/2", 0, incidents=tuple(f"late-{number}" for number in numbers))
    after = with_incidents(*map(drifted, sorted(numbers)), past=(made,), trainings=2, last_trained_us=NOW_US)
    assert decide(after, short()) is None


# What it may cost.


def measured(*hours: float | None) -> tuple[PastTraining, ...]:
    return tuple(
        past(f"late/train/{n}", 20 - n, cpu_seconds=None if each is None else each * 3600)
        for n, each in enumerate(hours)
    )


def test_the_cost_is_that_of_earlier_trainings_or_unknown() -> None:
    priced = ck.Retrain(inr_per_cpu_hour=10)
    cost = expected_cost(measured(1, 2, None, 3), priced)
    assert cost.words == "2 (1 to 3) CPU-hours, INR 20 (10 to 30), as 3 earlier trainings took"
    assert expected_cost(measured(1, 2, 3), ck.Retrain()).words.startswith("2 (1 to 3) CPU-hours, its price unknown")
    assert expected_cost(measured(None), priced).words == "unknown, for no earlier training was measured"


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"budget_trainings": 3}, "the budget is 3 trainings within 30d, and 3 were made"),
        ({"budget_cpu_hours": 7.9}, "the budget is 7.9 CPU-hours within 30d: 3 trainings took 6, and the next costs 2"),
        (
            {"budget_inr": 79, "inr_per_cpu_hour": 10},
            "the budget is INR 79 within 30d: 3 trainings cost 60, and the next",
        ),
        ({"budget_cpu_hours": 8, "budget_inr": 80, "inr_per_cpu_hour": 10, "budget_trainings": 4}, None),
        ({"budget_cpu_hours": 2, "budget_period": "7d"}, None),
    ],
)
def test_a_budget_has_room_or_it_is_refused(budget: dict[str, float | str], said: str | None) -> None:
    made = measured(1, 2, 3)
    policy = ck.Retrain(**budget)  # type: ignore[arg-type]
    found = over_budget(spent(made, policy, NOW_US), expected_cost(made, policy), policy)
    assert (found is None) if said is None else (found or "").startswith(said)
    asked = evolve(short(), retrain=evolve(policy, cooldown="1d"))
    step = decide(with_incidents(drifted(), past=made), asked)
    if said is None:
        assert isinstance(step, Train)
    else:
        assert refusal(step).reason.startswith(f"no training: {said}")
        assert refusal(step).evidence["spent"] == {"trainings": 3, "cpu_hours": 6.0, "unmeasured": 0}


def test_the_budget_is_in_the_prices_of_the_model() -> None:
    asked = evolve(short(budget_inr=79, cooldown="1d"), prices=ck.Prices(cpu_hour=10))
    step = refusal(decide(with_incidents(drifted(), past=measured(1, 2, 3)), asked))
    assert step.reason.startswith("no training: the budget is INR 79 within 30d: 3 trainings cost 60, and the next")
    assert isinstance(decide(with_incidents(drifted(), past=measured(1, 2, 3)), evolve(asked, prices=None)), Train)


def test_what_nobody_knows_is_refused_only_once_all_is_spent() -> None:
    policy = ck.Retrain(budget_cpu_hours=1)
    unknown = expected_cost((), policy)
    assert over_budget(spent((), policy, NOW_US), unknown, policy) is None
    assert over_budget(spent(measured(1), policy, NOW_US), unknown, policy) is not None


# What it may gain.

LOSS = Loss(metric="log_loss", usual=0.4, now=0.5, rows=2000, money=400.0)


def test_the_gain_is_the_loss_per_day_by_the_horizon_and_the_chance() -> None:
    earlier = (past("first", fate="promoted"), past("a", fate="promoted"), past("b", fate="given up"), past("c"))
    gain = expected_gain([losing(drifted(), LOSS)], earlier, ck.Retrain(inr_per_cost=2, horizon="10d"), NOW_US)
    assert (gain.unit, gain.concluded, gain.promoted) == ("INR", 2, 1)
    assert gain.per_day is not None
    assert gain.chance is not None
    assert gain.total is not None
    assert gain.per_day.value == pytest.approx(400 * 2 / 20)
    assert gain.chance.value == 0.5
    assert gain.total.value == pytest.approx(40 * 10 * 0.5)
    assert gain.chance.low == pytest.approx(0.0607, abs=1e-3)  # Jeffreys' interval of 1 of 2


def test_a_loss_without_money_is_that_of_its_metric() -> None:
    gain = expected_gain([losing(drifted(), evolve(LOSS, money=None))], (), ck.Retrain(), NOW_US)
    assert gain.per_day is not None
    assert gain.unit == "log_loss"
    assert gain.per_day.value == pytest.approx(0.1 * 2000 / 20)
    assert gain.total is None
    assert gain.words.endswith("are lost, and no earlier training says how likely it is to recover")
    assert expected_gain([drifted()], (), ck.Retrain(), NOW_US).words == "unknown, for no diagnosis says what is lost"


def test_a_training_that_cannot_pay_is_refused() -> None:
    earlier = (past("first", fate="promoted", cpu_seconds=3600.0), past("a", fate="promoted", cpu_seconds=3600.0))
    loses = losing(drifted(), evolve(LOSS, money=4.0))
    dear = {"inr_per_cost": 1.0, "horizon": "10d"}
    step = refusal(decide(with_incidents(loses, past=earlier), short(inr_per_cpu_hour=3.0, **dear)))
    assert step.evidence["because"] == "gain"
    assert step.reason.startswith("no training: it is expected to gain INR 2 (")
    assert isinstance(decide(with_incidents(loses, past=earlier), short(inr_per_cpu_hour=1.0, **dear)), Train)
    unpriced = ck.Retrain(horizon="10d")
    assert does_not_pay(expected_gain([loses], earlier, unpriced, NOW_US), expected_cost(earlier, unpriced)) is None


# From the ledger.


def decision(key: str, action: str, time_us: int, **evidence: object) -> Decision:
    return Decision(key, time_us, "late", "operator", action, "", evidence, 1, None, "", "")


def test_the_fate_of_trainings_is_read_from_decisions_and_runs() -> None:
    result = {"version": "v2", "passed": True, "cpu_seconds": 3.5, "wall_seconds": 2}
    runs = [
        Run("late/train/1", "training", "late", 10, 20, "done", result),
        Run("late/by-hand/x", "training", "late", 5, 6, "failed", {"error": "no"}),
    ]
    decisions = [decision("late/train/1", "train", 10, incidents=["late-3"], left_out=[])]
    by_hand, trained = past_trainings(decisions, runs)
    assert (by_hand.fate, by_hand.cpu_seconds, by_hand.ended_us) == ("failed", None, 6)
    assert (trained.version, trained.fate, trained.cpu_seconds, trained.incidents) == ("v2", "open", 3.5, ("late-3",))
    assert past_trainings(decisions, runs, {"late/train/1": 9.0})[1].cpu_seconds == 9.0
    ended = past_trainings([*decisions, decision("p", "promote", 40, version="v2")], runs)[1]
    assert (ended.fate, ended.ended_us) == ("promoted", 40)
    assert past_trainings([*decisions, decision("r", "reject", 30, version="v2")], runs)[1].fate == "given up"
