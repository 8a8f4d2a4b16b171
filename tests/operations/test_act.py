"""Acting: every step changes the world once, however often it is carried out."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import frozen
from situations import model

from charkha.clock import SimulatedClock
from charkha.operations.act import Workshop, act
from charkha.operations.steps import NoteFailure, Promote, Reject, StartShadow, Step, Train
from charkha.storage.ledger import Assignment, Ledger, StaleGeneration
from charkha.training.pipeline import Candidate, Order

CHAMPION = Promote(version="v1", generation=0, reason="first", evidence={"version": "v1"})
SHADOW = StartShadow(version="v2", generation=1, reason="passed", evidence={"version": "v2"})
BETTER = Promote(version="v2", generation=2, reason="better", evidence={"version": "v2"})
WORSE = Reject(version="v2", generation=2, reason="worse", evidence={"version": "v2"})
TRAIN = Train(run_key="late/train/1", as_of_us=500, reason="fallen", evidence={"champion": "v1"})


@frozen
class Trained:
    version: str = "v2"
    passed: bool = True


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield ledger
    ledger.close()


def nothing(order: Order) -> Candidate:
    raise AssertionError(order)


def workshop(ledger: Ledger, train: Callable[[Order], Any] = nothing, now_us: int = 900) -> Workshop:
    return Workshop(model(), Path("/project"), ledger, SimulatedClock(now_us), train)


def carry_out(ledger: Ledger, *steps: Step) -> None:
    for step in steps:
        act(step, workshop(ledger))


def serving(ledger: Ledger) -> list[tuple[str, str]]:
    return [(each.version, each.role) for each in ledger.deployment("late").assignments]


def test_a_rollout_by_steps(ledger: Ledger) -> None:
    carry_out(ledger, CHAMPION)
    assert serving(ledger) == [("v1", "champion")]
    carry_out(ledger, SHADOW)
    assert serving(ledger) == [("v1", "champion"), ("v2", "shadow")]
    carry_out(ledger, BETTER)
    assert ledger.deployment("late").assignments == (Assignment("v2", "champion", 1.0),)


def test_a_shadow_that_is_rejected_ends(ledger: Ledger) -> None:
    carry_out(ledger, CHAMPION, SHADOW, WORSE)
    assert serving(ledger) == [("v1", "champion")]
    assert ledger.deployment("late").generation == 3


def test_the_rejection_of_what_is_not_deployed_deploys_nothing(ledger: Ledger) -> None:
    carry_out(ledger, CHAMPION, Reject(version="v9", generation=1, reason="gates", evidence={"version": "v9"}))
    assert ledger.deployment("late").generation == 1
    assert [decision.generation for decision in ledger.decisions("late")] == [1, None]


@pytest.mark.parametrize("steps", [(CHAMPION, SHADOW, BETTER), (CHAMPION, SHADOW, WORSE)])
def test_each_step_again_changes_nothing(ledger: Ledger, steps: tuple[Step, ...]) -> None:
    for step in steps:
        first = act(step, workshop(ledger, now_us=900))
        deployment = ledger.deployment("late")
        assert act(step, workshop(ledger, now_us=901)) == first
        assert ledger.deployment("late") == deployment
    assert ledger.verify() == len(steps)


def test_a_step_that_rests_on_a_past_deployment_is_refused(ledger: Ledger) -> None:
    carry_out(ledger, CHAMPION, SHADOW, WORSE)
    with pytest.raises(StaleGeneration):
        act(BETTER, workshop(ledger))
    assert serving(ledger) == [("v1", "champion")]


def test_a_decision_says_who_when_what_and_why(ledger: Ledger) -> None:
    decision = act(CHAMPION, workshop(ledger))
    assert (decision.actor, decision.time_us, decision.action, decision.reason) == ("operator", 900, "promote", "first")
    assert decision.evidence == {"version": "v1"}
    assert decision.key == "late/promote/v1/0"


def test_a_training_is_decided_begun_and_finished(ledger: Ledger) -> None:
    carry_out(ledger, CHAMPION)
    orders: list[Order] = []

    def train(order: Order) -> Candidate:
        assert [run.status for run in ledger.runs("late")] == ["running"]
        orders.append(order)
        return cast("Candidate", Trained())

    decision = act(TRAIN, workshop(ledger, train))
    (order,) = orders
    assert (order.as_of_us, order.run_key, order.champion) == (500, "late/train/1", "v1")
    assert (decision.key, decision.time_us, decision.action) == ("late/train/1", 500, "train")
    (run,) = ledger.runs("late")
    assert (run.status, run.kind, run.started_us, run.finished_us) == ("done", "training", 500, 900)
    assert run.result == {"version": "v2", "passed": True}


def test_a_training_that_fails_is_a_failed_run(ledger: Ledger) -> None:
    def train(order: Order) -> Candidate:
        raise ValueError("the test part has 3 rows")

    act(TRAIN, workshop(ledger, train))
    (run,) = ledger.runs("late")
    assert run.status == "failed"
    assert run.result == {"error": "the test part has 3 rows", "kind": "ValueError"}
    failure = NoteFailure(run_key=TRAIN.run_key, reason="no luck", evidence={})
    assert act(failure, workshop(ledger)).key == "late/train/1/failed"


def test_an_error_without_words_is_still_told(ledger: Ledger) -> None:
    def train(order: Order) -> Candidate:
        raise MemoryError

    act(TRAIN, workshop(ledger, train))
    assert ledger.runs("late")[0].result == {"error": "MemoryError()", "kind": "MemoryError"}


def test_a_training_cut_off_stays_running_and_goes_on_as_it_was(ledger: Ledger) -> None:
    def stopped(order: Order) -> Candidate:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        act(TRAIN, workshop(ledger, stopped))
    assert [run.status for run in ledger.runs("late")] == ["running"]
    act(TRAIN, workshop(ledger, lambda order: Trained(), now_us=9_000))
    (run,) = ledger.runs("late")
    assert (run.status, run.started_us, run.finished_us) == ("done", 500, 9_000)
    assert len(ledger.decisions("late")) == 1
