"""Updates: when one is due, what holds it up, and that no bad one gets past gates and rollout."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import operator_world as world
import polars as pl
import pytest
from attrs import evolve
from operator_world import FIRST_DAY, NAME, Killed, Traffic, make_operator, make_project, memory, midnight, mortal
from situations import (
    NOW_US,
    START_US,
    contest,
    deployed,
    health,
    incident,
    model,
    reference,
    training,
    waiting,
)

import charkha as ck
from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock
from charkha.operations.autonomy import deed_of
from charkha.operations.decide import decide
from charkha.operations.outlook import outlook
from charkha.operations.retraining.cost import expected_cost, over_budget, spent
from charkha.operations.retraining.learnt import Learnt
from charkha.operations.retraining.orders import order_of
from charkha.operations.retraining.past import PastTraining, past_trainings
from charkha.operations.retraining.updates import update
from charkha.operations.situation import Situation
from charkha.operations.steps import HoldTraining, Note, NoteFailure, Propose, Step, Train
from charkha.operations.wording import step_in_words
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import Model
from charkha.storage.home import open_home
from charkha.storage.ledger import Decision, Run
from charkha.training.update import learnt_until_us


def updated_daily(**changes: Any) -> Model:
    settings: dict[str, Any] = {"update": "1d", "update_held_out": "4d", **changes.pop("retrain", {})}
    return model(estimator=ck.OnlineLinear(), retrain=ck.Retrain(**settings), **changes)


# Trained two days ago; its newest row is of thirty days ago.
DUE = Situation(
    now_us=NOW_US,
    deployment=deployed(),
    since_us=START_US,
    versions=("v1",),
    trainings=1,
    last_trained_us=NOW_US - 2 * DAY_US,
    reference=reference(0.741, 0.006),
    health=health(0.738, 0.007),
    learnt=Learnt(NOW_US - 30 * DAY_US),
)


def an_update(step: Step | None) -> Train:
    assert isinstance(step, Train)
    return step


def test_an_update_is_due_a_period_after_the_last_update_or_training() -> None:
    step = an_update(decide(DUE, updated_daily()))
    assert step.run_key == "late/update/1"
    assert step.reason.startswith(
        "2 days since the last update or training, and an update is due every 1 day: v1 goes on from its newest row, "
        "of 2013-03-12 00:00 UTC. Expected cost unknown"
    )
    assert (step_in_words(step), deed_of(step)) == ("update v1", "retrain")
    assert decide(evolve(DUE, last_updated_us=NOW_US - DAY_US + 1), updated_daily()) is None
    assert an_update(decide(evolve(DUE, updates=4, last_updated_us=NOW_US - DAY_US), updated_daily())).run_key.endswith(
        "5"
    )
    assert decide(DUE, model(estimator=ck.OnlineLinear())) is None
    assert "; the next update is due at 2013-04-10 00:00 UTC" in outlook(DUE, updated_daily())


def test_its_order_names_the_version_that_goes_on_whoever_serves_by_then() -> None:
    order = order_of(an_update(decide(DUE, updated_daily())), updated_daily(), Path(), "v9")
    assert (order.updates, order.champion, order.recalibrates_since_us) == ("v1", "v9", None)


def test_it_waits_while_a_version_is_on_trial_or_waits_for_its_turn() -> None:
    tried = evolve(DUE, deployment=deployed(shadow="v2"), versions=("v1", "v2"), contest=contest(0.0, 0.1))
    assert not isinstance(decide(tried, updated_daily()), Train)
    there = evolve(DUE, waiting=(waiting("v2"),), versions=("v1", "v2"))
    proposing = updated_daily(autonomy=ck.Autonomy(rollout="propose"))
    step = decide(there, proposing)
    assert isinstance(step, Propose)
    assert update(there, proposing) is None
    assert isinstance(update(evolve(there, waiting=(waiting("v2", "a"),)), proposing), Train)


@pytest.mark.parametrize("cause", ["source", "label", "skew", "infrastructure"])
def test_it_is_held_while_what_is_broken_is_open_and_leaves_out_what_is_over(cause: Any) -> None:
    held = evolve(DUE, incidents=(incident(cause, 5, culprit=""),))
    holding = after_remedies(held, updated_daily(autonomy=ck.Autonomy("act")))
    assert holding.key == f"late/update/1/waits/{held.incidents[0].id}"
    closed = incident(cause, 25, status="closed", closed_us=NOW_US - 20 * DAY_US, seen_us=NOW_US - 20 * DAY_US)
    left_out = an_update(decide(evolve(DUE, incidents=(closed,)), updated_daily())).evidence["left_out"]
    assert isinstance(left_out, list)
    assert left_out[0]["incident"] == closed.id
    # What was over before its newest row concerns the version, and no row that is still to be learnt.
    older = incident(cause, 50, status="closed", closed_us=NOW_US - 45 * DAY_US, seen_us=NOW_US - 45 * DAY_US)
    assert "left_out" not in an_update(decide(evolve(DUE, incidents=(older,)), updated_daily())).evidence


def after_remedies(situation: Situation, asked: Model) -> HoldTraining:
    """Return that an update is held, once whatever else is to be done about the incident is written."""
    for _ in range(9):
        step = decide(situation, asked)
        if isinstance(step, HoldTraining):
            return step
        assert step is not None
        assert not isinstance(step, Train)
        situation = evolve(situation, written={**situation.written, getattr(step, "key", ""): NOW_US})
    raise AssertionError("it was never held")


def test_what_cannot_go_on_is_said_once() -> None:
    other = evolve(DUE, learnt=Learnt(NOW_US, "the definition has other features by now"))
    step = decide(other, updated_daily())
    assert isinstance(step, Note)
    assert (step.action, step.key) == ("train_refused", "late/update/refused/v1")
    assert step.reason.startswith("no update: v1 cannot go on learning: the definition has other features by now.")
    assert decide(evolve(other, written={step.key: NOW_US}), updated_daily()) is None


def test_a_failed_update_says_why_and_is_tried_a_period_later() -> None:
    begun = an_update(decide(DUE, updated_daily()))
    failed = {"state": "failed", "run_key": begun.run_key, "error": "model 'late': v1 is not updated: … got 12"}
    tried = evolve(DUE, updates=1, last_updated_us=NOW_US, training=training(**failed, decided_us=NOW_US))
    step = decide(tried, updated_daily())
    assert isinstance(step, NoteFailure)
    assert step.reason == (
        "the update decided on at 2013-04-11 00:00 UTC was not made: model 'late': v1 is not updated: … got 12"
    )
    noted = evolve(tried, training=training(**failed, decided_us=NOW_US, noted=True))
    assert decide(noted, updated_daily()) is None
    assert an_update(decide(evolve(noted, now_us=NOW_US + DAY_US), updated_daily())).run_key == "late/update/2"


def test_updates_cost_what_updates_took_and_are_no_trainings_by_number() -> None:
    took = [
        PastTraining(run_key=f"late/update/{n}", began_us=NOW_US - n, updates=True, cpu_seconds=36.0) for n in (2, 1)
    ]
    past = (PastTraining(run_key="late/train/1", began_us=NOW_US - DAY_US, cpu_seconds=3600.0), *took)
    policy = ck.Retrain(budget_trainings=2, budget_cpu_hours=1.025)
    used = spent(past, policy, NOW_US)
    assert used.trainings == 1
    assert used.cpu_hours == pytest.approx(1.02)
    of_update = expected_cost(past, policy, updates=True)
    assert of_update.words.startswith("0.01 (0.01 to 0.01) CPU-hours")
    assert expected_cost(past, policy).measured == 1
    assert (over_budget(used, of_update, policy, counts=False) or "").startswith("the budget is 1.025 CPU-hours")
    step = decide(evolve(DUE, past=past), updated_daily(retrain={"budget_cpu_hours": 1.025}))
    assert isinstance(step, Note)
    assert step.key == "late/update/1/refused/budget"
    assert isinstance(decide(evolve(DUE, past=past), updated_daily(retrain={"budget_trainings": 1})), Train)


def test_a_training_is_due_beside_updates_as_without_them() -> None:
    due = evolve(DUE, last_trained_us=NOW_US - 31 * DAY_US, last_updated_us=NOW_US - HOUR_US, updates=20)
    step = an_update(decide(due, updated_daily(retrain={"every": "30d"})))
    assert step.run_key == "late/train/2"


def test_updates_are_told_from_trainings_in_the_ledger() -> None:
    decisions = [
        Decision(key, 10, "late", "operator", "train", "", {}, 1, None, "", "")
        for key in ("late/train/1", "late/update/1")
    ]
    runs = [Run("late/update/by-hand/x", "training", "late", 20, 21, "done", {"version": "v3"})]
    assert [each.updates for each in past_trainings(decisions, runs)] == [False, True, True]
    assert [each.is_plain for each in past_trainings(decisions, runs)] == [True, False, False]


def test_it_is_proposed_or_only_written_down_as_a_training_is() -> None:
    assert isinstance(decide(DUE, updated_daily(autonomy=ck.Autonomy(retrain="propose"))), Propose)
    step = decide(DUE, updated_daily(autonomy=ck.Autonomy("observe")))
    assert isinstance(step, Note)
    assert step.reason.startswith("would update v1: ")


# In the small world, whose truth turns round on day TURN.

DAILY: dict[str, Any] = {
    "estimator": ck.OnlineLinear(rate=0.2),
    "rollout": ck.shadow("1d", min_labels=50) >> ck.compare("log_loss"),
    "retrain": ck.Retrain(on_fall=False, update="1d", update_held_out="4d", cooldown="6d"),
}


def lived(folder: Path, until: int, **changes: Any) -> Iterator[tuple[int, list[Decision]]]:
    """Live through the world from FIRST_DAY on, and yield what was decided each day."""
    project = make_project(folder, **{**DAILY, **changes})
    clock = SimulatedClock(midnight(FIRST_DAY))
    with open_home(project.home) as home:
        operator, traffic = make_operator(project, home, clock), Traffic(project, home, clock)
        for day in range(FIRST_DAY, until):
            clock.advance_to(midnight(day))
            yield day, operator.tick(NAME)
            if day % 4 == 1:
                assert make_operator(project, home, SimulatedClock(midnight(day) + 1)).tick(NAME) == []
            traffic.day(day)


def test_the_champion_goes_on_with_the_world_without_another_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "TURN", FIRST_DAY + 2)
    acts = dict(lived(tmp_path, FIRST_DAY + 17))
    actions = [each.action for day in acts for each in acts[day]]
    trained = [each for day in acts for each in acts[day] if each.action == "train"]
    assert trained[0].key == f"{NAME}/train/1"
    assert all(each.key.startswith(f"{NAME}/update/") for each in trained[1:])
    # An update that is not shown to be better is rejected, and the next one learns its rows as well.
    assert "reject" in actions
    assert actions.count("promote") >= 2
    with open_home(tmp_path / ".charkha") as home:
        bundles, champion = BundleStore(home.bundles), home.ledger.deployment(NAME).champion
        assert champion is not None
        manifests = {row.version: bundles.manifest(NAME, row.version) for row in home.ledger.versions(NAME)}
    for manifest in manifests.values():
        if (found := manifest.lineage.updated) is not None:
            assert found.from_us > learnt_until_us(manifests[found.version])
            assert found.until_us < manifest.parts["validation"].from_us
    serves, first = manifests[champion.version], manifests["v1"]
    assert serves.metrics["test"]["roc_auc"].value > 0.75
    assert first.lineage.updated is None
    assert learnt_until_us(serves) > midnight(world.TURN)


def poisoned(monkeypatch: pytest.MonkeyPatch, days: range) -> None:
    """Turn round the labels of some days, in what is learnt from; what is told of what was answered stays true."""
    clean = world.history

    def history() -> pl.DataFrame:
        bad = pl.col("at").dt.epoch("us").is_between(midnight(days.start), midnight(days.stop))
        return clean().with_columns(pl.when(bad).then(~pl.col("y")).otherwise(pl.col("y")).alias("y"))

    monkeypatch.setattr(world, "history", history)


def test_an_update_from_poisoned_labels_is_stopped_by_its_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned(monkeypatch, range(14, 18))
    acts = dict(lived(tmp_path, FIRST_DAY + 3))
    assert [each.action for each in acts[FIRST_DAY]] == ["train", "promote"]
    update, rejected = acts[FIRST_DAY + 1]
    assert (update.action, update.key) == ("train", f"{NAME}/update/1")
    assert (rejected.action, rejected.evidence["version"]) == ("reject", "v2")
    assert "significantly worse than the champion v1" in rejected.reason
    # The next one goes on from the champion, which never learnt the poison.
    assert acts[FIRST_DAY + 2][0].evidence["updates"] == "v1"


def test_where_no_gate_stops_it_the_rollout_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned(monkeypatch, range(14, 18))
    acts = dict(lived(tmp_path, FIRST_DAY + 5, gates=()))
    about = [(each.action, each.evidence.get("version")) for day in acts for each in acts[day]]
    assert ("shadow", "v2") in about
    assert ("reject", "v2") in about
    assert ("promote", "v2") not in about


def test_killed_at_every_change_of_an_update_and_gone_on_with(tmp_path: Path) -> None:
    project = make_project(tmp_path / "world", **DAILY)
    due = SimulatedClock(midnight(FIRST_DAY + 1))
    with open_home(project.home) as home:
        clock = SimulatedClock(midnight(FIRST_DAY))
        traffic = Traffic(project, home, clock)
        make_operator(project, home, clock).tick(NAME)
        traffic.day(FIRST_DAY)
    kept = shutil.copytree(project.home, tmp_path / "kept")
    with open_home(project.home) as home:
        assert make_operator(project, home, due).tick(NAME)[0].key == f"{NAME}/update/1"
        expected = memory(home)
    died = 0
    for deaths in range(1, 100):
        with open_home(shutil.copytree(kept, tmp_path / f"died-{deaths}")) as home:
            try:
                make_operator(project, mortal(home, deaths, after=deaths % 2 == 0), due).tick(NAME)
            except Killed:
                died += 1
            else:
                break
            make_operator(project, home, due).tick(NAME)
            assert memory(home) == expected
    assert died > 4
