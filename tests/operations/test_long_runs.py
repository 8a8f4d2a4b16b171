"""Runs: tried again where that can help, cancelled for good, and at work while the operator goes on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, frozen
from situations import NOW_US, deployed, model, training, waiting

from charkha.clock import SimulatedClock
from charkha.operations.act import TrainOrder, Workshop, act
from charkha.operations.decide import decide
from charkha.operations.deploy import DeploymentRefused
from charkha.operations.look import last_training
from charkha.operations.runs.cancel import RunRefused, cancel
from charkha.operations.runs.desk import HEARTBEAT_US, Desk
from charkha.operations.runs.kinds import is_of
from charkha.operations.runs.listing import as_noted, states_of
from charkha.operations.runs.tries import MOST_TRIES, RETRY, wait_us
from charkha.operations.situation import Situation
from charkha.operations.steps import EndRun, NoteFailure, Promote, StartShadow, Train
from charkha.spec.durations import HOUR_US
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Ledger, UnknownRun, VersionRow
from charkha.training.child_process import Child, Ended
from charkha.training.failures import TrainingCrashed, TrainingFailed, TrainingOutOfMemory
from charkha.training.pipeline import Candidate, Order

KEY = "late/train/1"
TRAIN = Train(run_key=KEY, as_of_us=NOW_US, reason="fallen", evidence={"champion": "v1"})
MINUTE_US = HOUR_US // 60


@frozen
class Trained:
    version: str = "v2"
    passed: bool = True


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path / "home") as home:
        yield home


def situation_of(ledger: Ledger, now_us: int) -> Situation:
    """Return what the ledger says of the training, and nothing else."""
    decisions = ledger.decisions("late")
    trained = [each for each in decisions if each.action == "train"]
    found = last_training(trained, decisions, ledger.runs("late"))
    return Situation(
        now_us=now_us, deployment=deployed(), training=found, trainings=len(trained), last_trained_us=NOW_US
    )


def tick(
    ledger: Ledger, train: TrainOrder, now_us: int, end: Callable[[str], None] = lambda run_key: None
) -> list[str]:
    """Do what is due at a time, as the operator does it, and return the actions of the decisions."""
    workshop = Workshop(model(), Path("/project"), ledger, SimulatedClock(now_us), train, end)
    done: list[str] = []
    while (step := decide(situation_of(ledger, now_us), workshop.model)) is not None:
        assert len(done) < 5
        done.append(act(step, workshop).action)
    return done


def failing(error: Exception) -> Callable[[Order], Candidate]:
    def train(order: Order) -> Candidate:
        raise error

    return train


def trained(order: Order) -> Candidate:
    return cast("Candidate", Trained())


def begin(ledger: Ledger, train: TrainOrder) -> None:
    act(TRAIN, Workshop(model(), Path("/project"), ledger, SimulatedClock(NOW_US), train))


# Tries.


def test_what_may_pass_is_tried_again_ever_later_and_given_up_in_the_end(home: Home) -> None:
    ledger, away = home.ledger, failing(ConnectionRefusedError("the disk is away"))
    begin(ledger, away)
    now_us = NOW_US
    for failed in range(1, MOST_TRIES):
        assert tick(ledger, away, now_us + wait_us(failed) - 1) == []
        now_us += wait_us(failed)
        (state,) = states_of(ledger, "late")
        assert (state.state, state.tries, state.not_before_us) == ("waiting", failed + 1, now_us)
        done = tick(ledger, away, now_us)
    assert done == ["train", "train_failed"]
    (run,) = ledger.runs("late")
    assert (run.status, run.result["tries"], run.result["kind"]) == ("failed", MOST_TRIES, "ConnectionRefusedError")
    assert now_us - NOW_US == (1 + 4 + 16) * MINUTE_US
    retries = [each for each in ledger.decisions("late") if each.action == RETRY]
    assert [each.key for each in retries] == [f"{KEY}/retry/{n}" for n in (1, 2, 3)]
    assert retries[0].reason == (
        "try 1 of 4 failed by what may pass: the disk is away. Again in 1 minute, at 2013-04-11 00:01 UTC"
    )


def test_one_that_passed_is_a_training_like_any_other(home: Home) -> None:
    begin(home.ledger, failing(OSError("no room")))
    assert tick(home.ledger, trained, NOW_US + MINUTE_US) == ["train"]
    (run,) = home.ledger.runs("late")
    assert (run.status, run.result) == ("done", {"version": "v2", "passed": True})
    assert states_of(home.ledger, "late")[0].tries == 2


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (TrainingCrashed(KEY, -9, ""), True),
        (TrainingCrashed(KEY, -15, ""), True),
        (TrainingCrashed(KEY, -11, ""), False),
        (TrainingCrashed(KEY, 1, ""), False),
        (TrainingOutOfMemory(KEY, 8), False),
        (TrainingFailed(KEY, "SplitTooSmall", "3 rows"), False),
        (TrainingFailed(KEY, "OSError", "no room", transient=True), True),
    ],
)
def test_which_failures_are_tried_again(home: Home, error: Exception, again: bool) -> None:
    begin(home.ledger, failing(error))
    (run,) = home.ledger.runs("late")
    assert run.status == ("running" if again else "failed")
    assert [each.action for each in home.ledger.decisions("late")] == ["train", "retry"][: 1 + again]


def test_a_try_that_a_crash_has_hidden_is_counted_once(home: Home) -> None:
    """Killed after the decision to try again was written, an operator finds it and counts no second one."""
    begin(home.ledger, failing(OSError("no room")))
    assert tick(home.ledger, trained, NOW_US) == []
    assert len([each for each in home.ledger.decisions("late") if each.action == RETRY]) == 1


# Cancelling.


def test_a_cancelled_run_is_ended_and_never_begun_again(home: Home) -> None:
    ended: list[str] = []
    begin(home.ledger, lambda order: None)
    decision = cancel(home, SimulatedClock(NOW_US + 5), KEY, actor="asha", reason="broken feed")
    assert (decision.key, decision.action, decision.actor) == (f"{KEY}/cancel", "cancel", "asha")
    assert states_of(home.ledger, "late")[0].state == "being cancelled"
    assert tick(home.ledger, failing(AssertionError()), NOW_US + 9, ended.append) == ["cancel"]
    assert ended == [KEY]
    (run,) = home.ledger.runs("late")
    assert (run.status, run.finished_us) == ("cancelled", NOW_US + 9)
    assert run.result == {"error": "cancelled by asha: broken feed"}
    assert tick(home.ledger, failing(AssertionError()), NOW_US + 10) == []
    assert [each.action for each in home.ledger.decisions("late")] == ["train", "cancel"]


def test_one_that_waits_for_its_next_try_can_be_cancelled(home: Home) -> None:
    begin(home.ledger, failing(OSError("no room")))
    cancel(home, SimulatedClock(NOW_US), KEY, actor="asha", reason="no hope")
    assert tick(home.ledger, failing(AssertionError()), NOW_US + 1) == ["cancel"]
    assert home.ledger.runs("late")[0].status == "cancelled"


def test_a_cancel_that_came_too_late_leaves_the_version(home: Home) -> None:
    begin(home.ledger, lambda order: None)
    home.ledger.record_version(VersionRow("late", "v2", 0, "", "", KEY, {}, "accepted"))
    cancel(home, SimulatedClock(NOW_US), KEY, actor="asha", reason="broken feed")
    tick(home.ledger, failing(AssertionError()), NOW_US + 1)
    (run,) = home.ledger.runs("late")
    assert (run.status, run.result) == ("done", {"version": "v2", "passed": True})


def test_cancelling_is_refused_where_it_makes_no_sense(home: Home) -> None:
    clock = SimulatedClock(NOW_US)
    with pytest.raises(UnknownRun):
        cancel(home, clock, "late/train/9", actor="asha", reason="why not")
    begin(home.ledger, lambda order: None)
    with pytest.raises(DeploymentRefused, match="expected who does this and why"):
        cancel(home, clock, KEY, actor="asha", reason=" ")
    home.ledger.finish_run(KEY, NOW_US, "done", {"version": "v2"})
    with pytest.raises(RunRefused, match=f"run '{KEY}': expected one that runs, but it is done"):
        cancel(home, clock, KEY, actor="asha", reason="why not")
    home.ledger.begin_run("late/by-hand/now", "training", "late", NOW_US)
    with pytest.raises(RunRefused, match=r"it was begun by hand, in a terminal; press Ctrl-C there"):
        cancel(home, clock, "late/by-hand/now", actor="asha", reason="why not")


# What goes on meanwhile.


def test_while_one_trains_only_other_trainings_wait() -> None:
    at_work = training("running", under_way=True)
    rows: dict[str, Any] = {"now_us": NOW_US, "versions": ("v1", "v2"), "waiting": (waiting("v2"),)}
    assert isinstance(decide(Situation(deployment=deployed(), training=at_work, **rows), model()), StartShadow)
    champion = Situation(now_us=NOW_US, deployment=deployed(None), training=at_work)
    assert decide(champion, model()) is None
    assert isinstance(decide(Situation(deployment=deployed(None), training=at_work, **rows), model()), Promote)


def test_a_cancelled_training_is_ended_before_anything_else() -> None:
    at_work = training("running", under_way=True, cancelled="cancelled by asha: no")
    rows: dict[str, Any] = {"now_us": NOW_US, "versions": ("v1", "v2"), "waiting": (waiting("v2"),)}
    step = decide(Situation(deployment=deployed(), training=at_work, **rows), model())
    assert isinstance(step, EndRun)
    assert step.reason == "cancelled by asha: no"


def test_kinds_of_steps() -> None:
    promote = Promote(version="v1", generation=0, reason="", evidence={})
    note = NoteFailure(run_key=KEY, reason="", evidence={})
    assert [is_of(step, "training") for step in (TRAIN, note, promote)] == [True, True, False]
    assert [is_of(step, "rollout") for step in (TRAIN, note, promote)] == [False, False, True]


# The desk.


@define(eq=False)
class Work:
    """A child of the desk, by hand."""

    pid: int = 4711
    ended: Ended | None = None
    closed: int = 0

    def poll(self) -> Ended | None:
        return self.ended

    def close(self) -> None:
        self.closed += 1


@define(eq=False)
class Office:
    """A desk whose children are by hand."""

    ledger: Ledger
    clock: SimulatedClock
    begun: list[Work]
    says: list[Callable[[str], None]]

    def desk(self) -> Desk:
        return Desk(self.begin, self.finish, self.ledger, self.clock)

    def begin(self, order: Order, on_step: Callable[[str], None]) -> Child:
        self.begun.append(Work())
        self.says.append(on_step)
        return cast("Child", self.begun[-1])

    def finish(self, order: Order, ended: Ended) -> Candidate:
        if ended.result is None:
            raise TrainingCrashed(order.run_key, ended.status, ended.last_words)
        return cast("Candidate", Trained())


@pytest.fixture
def office(home: Home) -> Office:
    return Office(home.ledger, SimulatedClock(NOW_US), [], [])


def test_a_desk_begins_once_and_hands_over_what_was_made(office: Office) -> None:
    desk = office.desk()
    begin(office.ledger, desk.train)
    assert (desk.is_under_way(KEY), desk.keys(), len(office.begun)) == (True, [KEY], 1)
    assert not desk.has_news()
    office.begun[0].ended = Ended(b"made", 0, False, "")
    assert (desk.has_news(), desk.is_under_way(KEY)) == (True, False)
    assert tick(office.ledger, desk.train, NOW_US + 1) == ["train"]
    assert (office.ledger.runs("late")[0].status, desk.keys(), office.begun[0].closed) == ("done", [], 1)


def test_the_ledger_is_told_of_the_process_and_its_steps(office: Office) -> None:
    desk = office.desk()
    begin(office.ledger, desk.train)
    office.says[0]("fitting linear on 7 rows")
    desk.has_news()
    note = office.ledger.runs("late")[0].result
    assert (note["pid"], note["step"], note["seen"]) == (4711, "fitting linear on 7 rows", "2013-04-11T00:00:00Z")
    office.clock.advance_to(NOW_US + HEARTBEAT_US)
    desk.has_news()
    assert office.ledger.runs("late")[0].result["seen"] == "2013-04-11T00:00:10Z"
    assert states_of(office.ledger, "late")[0].in_words == "fitting linear on 7 rows"
    noted = as_noted(situation_of(office.ledger, NOW_US), office.ledger.runs("late"))
    assert noted.training is not None
    assert noted.training.under_way


def test_a_child_that_was_killed_is_begun_again(office: Office) -> None:
    desk = office.desk()
    begin(office.ledger, desk.train)
    office.begun[0].ended = Ended(None, -9, False, "")
    assert tick(office.ledger, desk.train, NOW_US + 1) == ["train"]
    assert [each.action for each in office.ledger.decisions("late")] == ["train", "retry"]
    assert "pid" not in office.ledger.runs("late")[0].result

    def once(order: Order) -> Any:
        made = desk.train(order)
        office.begun[-1].ended = Ended(b"made", 0, False, "")
        return made

    assert tick(office.ledger, once, NOW_US + 1 + MINUTE_US) == ["train", "train"]
    assert (len(office.begun), office.ledger.runs("late")[0].status) == (2, "done")


def test_a_cancelled_child_is_news_and_is_ended(office: Office, home: Home) -> None:
    desk = office.desk()
    begin(office.ledger, desk.train)
    cancel(home, office.clock, KEY, actor="asha", reason="broken feed")
    assert desk.has_news()
    assert tick(office.ledger, desk.train, NOW_US, desk.end) == ["cancel"]
    assert (office.begun[0].closed, desk.keys()) == (1, [])


def test_a_desk_that_closes_leaves_runs_to_be_begun_again(office: Office) -> None:
    desk = office.desk()
    begin(office.ledger, desk.train)
    desk.close()
    assert (office.begun[0].closed, office.ledger.runs("late")[0].status) == (1, "running")
    begin(office.ledger, office.desk().train)
    assert len(office.begun) == 2
