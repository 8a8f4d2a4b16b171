"""The operator in a small world: what it does over weeks, and that no death at any point makes it do otherwise."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from attrs import evolve
from lives import Lived
from operator_world import (
    DAYS,
    FIRST_DAY,
    NAME,
    TURN,
    Killed,
    make_model,
    make_operator,
    memory,
    midnight,
    mortal,
)

import charkha as ck
from charkha.bundles.store import BundleStore
from charkha.clock import SimulatedClock, SystemClock
from charkha.monitoring.outcomes import collect
from charkha.monitoring.performance import Span
from charkha.monitoring.skew_watch import SkewMeasure, SkewWatch
from charkha.operations.decide import decide
from charkha.operations.deploy import promote, rollback
from charkha.operations.look import look
from charkha.operations.operator import Operator
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Assignment, Decision, Draft, Ledger
from charkha.training.pipeline import Candidate, Order
from charkha.training.tracking import NoTracker, TrackingFailed


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    return Lived(tmp_path_factory.mktemp("lived"))


def test_the_wheel_turns(lived: Lived) -> None:
    """A first champion; after the turn a fall, challengers until one passes its gates, a shadow, and its promotion."""
    days = sorted(lived.acts)
    assert [decision.action for decision in lived.acts[FIRST_DAY]] == ["train", "promote"]
    assert min(days[1:]) > TURN
    actions = [decision.action for day in days[1:] for decision in lived.acts[day]]
    assert actions[0] == "train"
    assert set(actions) == {"train", "train_refused", "reject", "shadow", "promote"}
    assert lived.deployments[0].champion != lived.deployments[-1].champion


def test_no_training_within_the_cooldown_and_no_verdict_before_the_period(lived: Lived) -> None:
    when = {"train": list[int](), "shadow": list[int](), "promote": list[int]()}
    for day, decisions in lived.acts.items():
        for decision in decisions:
            when.get(decision.action, []).append(day)
    assert all(later - earlier >= 6 for earlier, later in zip(when["train"], when["train"][1:], strict=False))
    assert [min(day for day in when["promote"] if day > begun) - begun for begun in when["shadow"]] == [4]


def test_reasons_have_figures(lived: Lived) -> None:
    fall = next(each for day in sorted(lived.acts)[1:] for each in lived.acts[day] if each.action == "train")
    assert "matured labels of 7 days, against" in fall.reason
    assert fall.evidence["labels"] == 840
    verdict = [each for day in sorted(lived.acts) for each in lived.acts[day] if each.action == "promote"][-1]
    assert "against the champion's" in verdict.reason
    # The labels of the day before have not matured when the shadow is judged after 4 days.
    assert (verdict.evidence["labels"], verdict.evidence["days"]) == (360, 3)


def test_killed_at_every_change(lived: Lived, tmp_path: Path) -> None:
    """At every tick that did something: kill it at its n-th change, for every n, and let another operator go on.

    Before the change and after it in turn; `test_kill_points` does so with real kills, at points of every kind.
    """
    died = 0
    for day, folder in lived.before.items():
        expected = undisturbed(lived, tmp_path / f"{day}", folder, day)
        for deaths in range(1, 100):
            home_folder = shutil.copytree(folder, tmp_path / f"{day}-{deaths}")
            with open_home(home_folder) as home:
                clock = SimulatedClock(midnight(day))
                try:
                    make_operator(lived.project, mortal(home, deaths, after=deaths % 2 == 0), clock).tick(NAME)
                except Killed:
                    died += 1
                else:
                    break
                make_operator(lived.project, home, clock).tick(NAME)
                assert memory(home) == expected
    assert died > 8 * len(lived.before)


def undisturbed(lived: Lived, copy: Path, folder: Path, day: int) -> dict[str, object]:
    with open_home(shutil.copytree(folder, copy)) as home:
        make_operator(lived.project, home, SimulatedClock(midnight(day))).tick(NAME)
        return memory(home)


def test_a_sample_of_each_day_is_recomputed_once(lived: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Span] = []
    measure = SkewWatch.measure

    def noted(self: SkewWatch, version: str, span: Span) -> SkewMeasure:
        measured.append(span)
        return measure(self, version, span)

    monkeypatch.setattr(SkewWatch, "measure", noted)
    with open_home(shutil.copytree(lived.project.home, tmp_path / "home")) as home:
        operator = make_operator(lived.project, home, SimulatedClock(midnight(DAYS)))
        operator.tick(NAME)
        operator.tick(NAME)
        make_operator(lived.project, home, SimulatedClock(midnight(DAYS) + 1)).tick(NAME)
        (finding,) = [each for each in look(make_model(), home, midnight(DAYS)).findings if each.kind == "skew"]
        late = look(make_model(), home, midnight(DAYS + 3)).findings
    assert measured == [Span(midnight(DAYS - 1), midnight(DAYS))]
    assert (finding.subject, finding.value, finding.significant) == ("features", 0.0, False)
    assert finding.message == "the features of 120 predictions of 2013-03-05 agree with their recomputation"
    assert [each for each in late if each.kind == "skew"] == []


def test_a_sample_that_cannot_be_recomputed_stops_nothing(
    lived: Lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[str] = []

    def fail(self: SkewWatch, version: str, span: Span) -> None:
        tries.append(version)
        raise OSError("the disk is gone")

    monkeypatch.setattr(SkewWatch, "measure", fail)
    with open_home(shutil.copytree(lived.project.home, tmp_path / "home")) as home:
        operator = make_operator(lived.project, home, SimulatedClock(midnight(DAYS)))
        operator.tick(NAME)
        operator.tick(NAME)
    assert len(tries) == 1
    assert "visit: what was served could not be recomputed; trying again tomorrow" in caplog.text


def test_a_shadow_that_was_served_other_features_is_not_promoted(lived: Lived, tmp_path: Path) -> None:
    """What was logged of the days before is changed on the evening before the promotion."""
    day = next(day for day in sorted(lived.acts)[1:] if lived.acts[day][-1].action == "promote")
    with open_home(shutil.copytree(lived.before[day], tmp_path / "home")) as home:
        for part in home.tables.parts(f"predictions/{NAME}"):
            served = home.tables.read(f"predictions/{NAME}", part)
            home.tables.write(f"predictions/{NAME}", part, served.with_columns(pl.col("asked.x") + 1))
        decision, *later = make_operator(lived.project, home, SimulatedClock(midnight(day))).tick(NAME)
        assert [each.action for each in later] == ["train_refused"]
        champion = home.ledger.deployment(NAME).champion
        shadow = lived.acts[day][-1].evidence["version"]
        assert champion is not None
        assert champion.version != shadow
    assert (decision.action, decision.evidence["skewed"]) == ("reject", ["asked.x"])
    assert "; but asked.x was served otherwise than it is recomputed on " in decision.reason
    assert "(code, asked.x: all that it reads agrees: " in decision.reason


def test_a_rollback_by_hand_is_not_undone(lived: Lived, tmp_path: Path) -> None:
    """After a rollback the operator watches the champion that is back; it does not put back what was fled from."""
    with open_home(shutil.copytree(lived.project.home, tmp_path / "home")) as home:
        clock = SimulatedClock(midnight(DAYS))
        rollback(home, clock, NAME, actor="asha", reason="customers complain")
        decisions = make_operator(lived.project, home, clock).tick(NAME)
        assert [decision.action for decision in decisions if decision.action == "promote"] == []
        champion = home.ledger.deployment(NAME).champion
        assert champion is not None
        assert champion.version == "v1"


class FasterByHand:
    """A ledger in which somebody else deploys, once, just before whoever wanted to."""

    def __init__(self, ledger: Ledger, by_hand: Callable[[], object]) -> None:
        self._ledger, self._by_hand, self.done = ledger, by_hand, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def decide(self, draft: Draft, **named: Any) -> Decision:
        if named.get("deploy") and not self.done:
            self.done = True
            self._by_hand()
        return self._ledger.decide(draft, **named)


def test_a_deployment_changed_by_hand_meanwhile_is_looked_at_again(lived: Lived, tmp_path: Path) -> None:
    """Somebody promotes v2 just as the operator is about to promote its shadow, which then begins anew beside v2."""
    day = max(lived.before)
    with open_home(shutil.copytree(lived.before[day], tmp_path / "home")) as home:
        clock = SimulatedClock(midnight(day))
        (shadow,) = home.ledger.deployment(NAME).shadows

        def by_hand() -> None:
            promote(home, clock, NAME, "v2", actor="asha", reason="a hunch", force=True)

        ledger: Any = FasterByHand(home.ledger, by_hand)
        (decision,) = make_operator(lived.project, evolve(home, ledger=ledger), clock).tick(NAME)
        assert ledger.done
        assert decision.action == "shadow"
        assert home.ledger.deployment(NAME).assignments == (
            Assignment("v2", "champion"),
            Assignment(shadow.version, "shadow"),
        )


class Away(NoTracker):
    """A tracker that cannot be reached."""

    def aliases(self, model: str) -> dict[str, str]:
        raise TrackingFailed("http://mlflow:5000", "connection refused")


def test_a_tracker_that_is_away_hides_no_decision(
    lived: Lived, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    day = min(lived.before)
    with open_home(shutil.copytree(lived.before[day], tmp_path / "home")) as home:
        operator = make_operator(lived.project, home, SimulatedClock(midnight(day)), tracker=Away())
        assert [decision.action for decision in operator.tick(NAME)] == [each.action for each in lived.acts[day]]
    assert "connection refused" in caplog.text


def test_an_unknown_model_is_refused(lived: Lived) -> None:
    with open_home(lived.project.home) as home, pytest.raises(KeyError):
        make_operator(lived.project, home, SimulatedClock(midnight(DAYS))).tick("nobody")


# The loop.


@pytest.fixture
def fresh(lived: Lived, tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path / "home") as home:
        yield home


def ends(thread: threading.Thread) -> bool:
    thread.join(20)
    return not thread.is_alive()


def waits_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_the_loop_goes_on_after_an_error_and_ends_when_told(
    lived: Lived, fresh: Home, caplog: pytest.LogCaptureFixture
) -> None:
    ticks: list[str] = []
    stop = threading.Event()

    class Stumbling(Operator):
        def tick(self, model: str) -> list[Decision]:
            ticks.append(model)
            if len(ticks) == 3:
                stop.set()
            raise ConnectionError("the disk is away")

    Stumbling(lived.project, fresh, SystemClock(), refuse, NoTracker()).run(0.01, stop)
    assert ticks == [NAME] * 3
    assert "visit: the tick failed; trying again at the next one" in caplog.text
    assert "the disk is away" in caplog.text


def refuse(order: Order) -> Candidate:
    raise AssertionError(order)


def test_sigterm_breaks_off_a_training_and_the_next_operator_goes_on_with_it(lived: Lived, fresh: Home) -> None:
    def interrupted(order: Order) -> Candidate:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
        raise AssertionError("it went on")

    clock = SimulatedClock(midnight(FIRST_DAY))
    before = signal.getsignal(signal.SIGTERM)
    Operator(lived.project, fresh, clock, interrupted, NoTracker()).run(0.01)
    assert signal.getsignal(signal.SIGTERM) == before
    assert [run.status for run in fresh.ledger.runs(NAME)] == ["running"]
    make_operator(lived.project, fresh, clock).tick(NAME)
    assert [run.status for run in fresh.ledger.runs(NAME)] == ["done"]
    assert [decision.action for decision in fresh.ledger.decisions(NAME)] == ["train", "promote"]


def test_one_operator_is_on_duty_and_another_takes_over(lived: Lived, fresh: Home) -> None:
    ticks: list[str] = []

    class Named(Operator):
        def tick(self, model: str) -> list[Decision]:
            ticks.append(threading.current_thread().name)
            return []

    def start(name: str) -> tuple[threading.Event, threading.Thread]:
        stop = threading.Event()
        operator = Named(lived.project, fresh, SystemClock(), refuse, NoTracker())
        thread = threading.Thread(target=operator.run, args=(0.01, stop), name=name)
        thread.start()
        return stop, thread

    stop_first, first = start("first")
    assert waits_for(lambda: "first" in ticks)
    stop_second, second = start("second")
    stop_third, third = start("third")
    stop_third.set()
    assert ends(third)
    assert set(ticks) == {"first"}
    stop_first.set()
    assert ends(first)
    assert waits_for(lambda: "second" in ticks)
    stop_second.set()
    assert ends(second)


# Looking at the world.


def test_a_look_sees_the_window_of_the_champion(lived: Lived) -> None:
    with open_home(lived.project.home) as home:
        model = lived.project.models[NAME]
        collect(home, model, BundleStore(home.bundles))
        situation = look(model, home, midnight(DAYS))
    champion = situation.deployment.champion
    assert champion is not None
    assert situation.reference == BundleStore(home.bundles).manifest(NAME, champion.version).metrics["test"]["log_loss"]
    # Of the last day's predictions no label has come: seven days that end a day ago.
    assert situation.health is not None
    assert (situation.health.version, situation.health.labels, situation.health.days) == (champion.version, 840, 7)
    assert {finding.version for finding in situation.findings} == {champion.version}
    assert {"score", "asked.x", "asked.kind"} <= {finding.subject for finding in situation.findings}
    assert situation.contest is None
    assert situation.waiting == ()


def test_a_look_sees_a_source_that_went_silent(lived: Lived) -> None:
    watched = make_model(monitors=ck.Monitors(max_source_age={"visits": "2h"}))
    with open_home(lived.project.home) as home:
        situation = look(watched, home, midnight(DAYS))
    (stale,) = [finding for finding in situation.findings if finding.kind == "freshness"]
    assert stale.significant
    assert decide(situation, watched) is None


def test_a_look_at_nothing(lived: Lived, fresh: Home) -> None:
    situation = look(lived.project.models[NAME], fresh, midnight(DAYS))
    assert situation.deployment.champion is None
    assert (situation.health, situation.reference, situation.findings) == (None, None, ())
