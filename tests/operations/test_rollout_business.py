"""Rollouts that a business metric decides: against the log loss where it must, on what was told of users' answers."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from attrs import evolve
from operator_world import FIRST_DAY, NAME, Traffic, make_operator, make_project, midnight, project_in
from situations import NOW_US, model

import charkha as ck
from charkha.clock import SimulatedClock
from charkha.monitoring.outcomes import OutcomeReader
from charkha.monitoring.performance import Span, contest
from charkha.monitoring.sequential.clusters import ClusterMean
from charkha.operations.hindsight.rerun import rerun
from charkha.operations.look import look
from charkha.operations.rollout.by_hand import start_rollout
from charkha.operations.rollout.live import Live, live_of
from charkha.operations.rollout.plan import Plan, is_about_zero, plan_test
from charkha.operations.rollout.status import status_of
from charkha.operations.rollout.usual import Usual, usual_of
from charkha.operations.rollout.verdicts import sequence, verdict
from charkha.operations.rollout.words import broken_guards, means_in_words, plan_in_words
from charkha.operations.steps import Promote
from charkha.operations.verdict import judge
from charkha.serving.routing import assign, positions
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Assignment, Decision
from charkha.training.influence import binary_log_losses

SPAN = Span(NOW_US - 5 * DAY_US, NOW_US)
BUSINESS: Mapping[str, Any] = {"margin": "higher", "complaints": "lower"}
MARGIN = ck.canary(0.5) >> ck.compare("margin", mde=0.1)
COUNT = 4_000


def judged_by(metric: str, **changes: Any) -> Any:
    return model(rollout=ck.canary(0.5) >> ck.compare(metric, mde=0.1), business=BUSINESS, **changes)


def answered(mean: float, gain: float, *, told: float = 1.0) -> pl.DataFrame:
    """Return what 2,000 cities asked twice each, half of whom the challenger's; its answers bring `gain` more.

    told: of how many a value is known; all have labels.
    """
    random = np.random.default_rng(4)
    cities = [f"city {number // 2}" for number in range(COUNT)]
    mine = assign(positions("late", [(city,) for city in cities]), [0.5]) == 1
    values = random.normal(mean, 1, COUNT) + np.where(mine, gain, 0)
    known = random.random(COUNT) < told
    columns = {
        "id": [str(number) for number in range(COUNT)],
        "_at_us": np.linspace(SPAN.since_us, SPAN.until_us - 1, COUNT).astype(np.int64),
        "version": np.where(mine, "v2", "v1"),
        "role": np.where(mine, "challenger", "champion"),
        "score": random.random(COUNT),
        "decision": random.random(COUNT) < 0.3,
        "latency_us": random.integers(1_000, 3_000, COUNT),
        "request.x": cities,
        "_label": (random.random(COUNT) < 0.5).astype(float),
        "_metric.margin": pl.Series(np.where(known, values, np.nan)).fill_nan(None),
        "_metric.complaints": pl.Series(np.where(known, values, np.nan)).fill_nan(None),
    }
    return pl.DataFrame(columns)


def compared(metric: str, mean: float, gain: float, **changes: float) -> tuple[Live, Plan | None]:
    """Return both arms, and the plan by what the champion showed in the same time."""
    rows, by = answered(mean, gain, **changes), judged_by(metric)
    usual = usual_of(rows, by, "v1", SPAN)
    found = live_of(rows, by, [("v2", 0.5)], ("v1", "v2"), SPAN)
    return found, plan_test(by.rollout, usual, DAY_US)


@pytest.mark.parametrize("mean", [12.5, -12.5])
@pytest.mark.parametrize(
    ("metric", "gain", "expected"),
    [
        ("margin", 0.5, "promote"),
        ("margin", -0.5, "roll back"),
        ("complaints", 0.5, "roll back"),
        ("complaints", -0.5, "promote"),
    ],
)
def test_either_way_may_be_better_whatever_the_sign(metric: str, mean: float, gain: float, expected: str) -> None:
    live, plan = compared(metric, mean, gain)
    assert plan is not None
    assert plan.effect == pytest.approx(1.25, rel=0.02)
    found = sequence(*live.difference, plan)
    assert found.value == pytest.approx(gain, abs=0.15)
    assert verdict(found, plan, over=False, higher_is_better=live.higher_is_better) == expected
    by = judged_by(metric)
    broken = broken_guards(live, by)
    assert bool(broken) == (expected == "roll back")
    said = means_in_words(live, by, found, plan)
    assert said.startswith(f"{metric} {live.challenger.matured.value:.1f}")
    assert f"on {live.challenger.matured.rows:,} matured values against the champion's" in said
    assert said.endswith(f", {BUSINESS[metric]} is better")


def test_what_is_not_told_is_no_zero() -> None:
    live, _ = compared("margin", 12.5, 0.5, told=0.3)
    both = (live.champion, live.challenger)
    assert sum(arm.matured.rows for arm in both) == pytest.approx(0.3 * 0.8 * COUNT, rel=0.1)
    assert all(arm.matured.rows < 0.4 * arm.predictions for arm in both)
    assert live.champion.matured.value == pytest.approx(12.5, abs=0.2)
    nobody, plan = compared("margin", 12.5, 0.5, told=0.0)
    assert (nobody.champion.matured.rows, nobody.difference, plan) == (0, (0.0, 0.0), None)
    assert broken_guards(nobody, judged_by("margin")) == []


def test_only_what_has_matured_counts() -> None:
    live, _ = compared("margin", 12.5, 0.5)
    assert live.challenger.matured.rows == live.challenger.predictions < live.challenger.early.rows


def test_a_worse_margin_is_stopped_also_where_the_usual_one_is_about_zero() -> None:
    live, plan = compared("margin", 0.0, -0.5)
    assert plan is None
    (said,) = broken_guards(live, judged_by("margin"))
    assert said.startswith("it is worse: margin -0.5")
    assert "values so far, the champion's" in said


@pytest.mark.parametrize(
    ("mean", "planned"),
    [
        (ClusterMean(12.5, 0.01, 4_000, 2_000), True),
        (ClusterMean(-12.5, 0.01, 4_000, 2_000), True),
        (ClusterMean(0.1, 0.01, 4_000, 2_000), False),
        (ClusterMean(-0.1, 0.01, 4_000, 2_000), False),
        (ClusterMean(0.0, 0.0, 4_000, 2_000), False),
        (ClusterMean(12.5, 0.01, 99, 99), False),
    ],
)
def test_a_share_of_about_nothing_is_no_plan(mean: ClusterMean, planned: bool) -> None:
    found = plan_test(MARGIN, Usual(mean=mean, per_day=100.0), DAY_US)
    assert (found is not None) == planned
    assert is_about_zero(mean) == (not planned and mean.clusters >= 100)
    if found is not None:
        assert found.effect == pytest.approx(1.25)
        assert "To find a difference of 1.2 (10 % of the champion's margin)" in plan_in_words(
            found, judged_by("margin"), NOW_US
        )


def test_a_cost_is_that_of_each_versions_decisions() -> None:
    costs = ck.Costs(false_positive=1, false_negative=4)
    by = judged_by("cost", costs=costs)
    right = pl.when(pl.col("version") == "v2").then(pl.col("_label") > 0.5).otherwise(pl.col("decision"))
    rows = answered(0, 0).with_columns(decision=right)
    live = live_of(rows, by, [("v2", 0.5)], ("v1", "v2"), SPAN)
    champion = rows.filter((pl.col("version") == "v1") & (pl.col("_at_us") < SPAN.until_us - DAY_US))
    missed = champion.filter((pl.col("_label") > 0.5) & ~pl.col("decision")).height
    alarms = champion.filter((pl.col("_label") < 0.5) & pl.col("decision")).height
    assert live.champion.matured.value == pytest.approx((4 * missed + alarms) / champion.height)
    assert live.challenger.matured.value == 0
    usual = usual_of(rows, by, "v1", SPAN)
    plan = plan_test(by.rollout, usual, DAY_US)
    assert plan is not None
    found = sequence(*live.difference, plan)
    assert verdict(found, plan, over=False, higher_is_better=live.higher_is_better) == "promote"
    assert means_in_words(live, by, found, plan).startswith("cost per decision 0.000 on")
    undecided = rows.with_columns(decision=pl.lit(None, pl.Boolean()))
    assert live_of(undecided, by, [("v2", 0.5)], ("v1", "v2"), SPAN).champion.early.rows == 0


class Shop(Traffic):
    """Traffic that earns: a margin is told of three answers in four a day later, more of those by a favourite."""

    def __init__(self, project: Project, home: Home, clock: SimulatedClock) -> None:
        super().__init__(project, home, clock)
        self.favourite = ""
        self._by: dict[str, str] = {}

    def _ask(self, day: int, hour: int, visits: pl.DataFrame) -> list[str]:
        self._clock.advance_to(midnight(day) + hour * HOUR_US)
        answers = self._service.predict(NAME, visits)
        self._by |= dict(zip(answers.ids, answers.versions, strict=True))
        return answers.ids

    def day(self, day: int) -> None:
        super().day(day)
        ids = self._asked.get(day - 1, [])
        random = np.random.default_rng(day)
        margins = random.normal(10, 1, len(ids)) + [2.0 * (self._by[each] == self.favourite) for each in ids]
        told = [place for place in range(len(ids)) if place % 4]
        if told:
            values = [float(margins[place]) for place in told]
            self._service.label(NAME, [ids[place] for place in told], [None] * len(told), {"margin": values})


STEPS = ck.canary(0.5, min_requests=20, max_decision_change=1e6, max_score_shift=1.0)


class World:
    """A world that turned: the new version has the better log loss, and the margin is another matter."""

    def __init__(self, folder: Path) -> None:
        rollout = STEPS >> ck.compare("margin", mde=0.05, within="8d")
        retrain = ck.Retrain(cooldown="29d", window="21d")
        self.project = make_project(folder, rollout=rollout, retrain=retrain, business={"margin": "higher"})
        self.decided: list[Decision] = []
        self.statuses: list[dict[str, Any]] = []
        clock = SimulatedClock(midnight(FIRST_DAY))
        with open_home(self.project.home) as home:
            shop = Shop(self.project, home, clock)
            self._live(home, clock, shop, (FIRST_DAY, *range(46, 58)))
            self.promoted = self.decided[-1]
            self.newer = str(self.promoted.evidence["version"])
            shop.favourite = "v1"
            begun = start_rollout(
                home, clock, self.project.models[NAME], "v1", actor="ravi", reason="it earned more", force=True
            )
            self.decided.append(begun)
            self._live(home, clock, shop, range(self.day + 1, self.day + 9))

    def _live(self, home: Home, clock: SimulatedClock, shop: Shop, days: Iterable[int]) -> None:
        """Live through days until another version than the first is promoted."""
        for day in days:
            clock.advance_to(midnight(day))
            decided = make_operator(self.project, home, clock).tick(NAME)
            self.decided += decided
            self.day = day
            found = look(self.project.models[NAME], home, clock.now())
            self.statuses.append(status_of(found, self.project.models[NAME], home.ledger.decisions(NAME)))
            shop.favourite = shop.favourite or next(
                (str(each.evidence["version"]) for each in decided if each.action == "canary"), ""
            )
            if day > FIRST_DAY and any(each.action in ("promote", "retract") for each in decided):
                return
            shop.day(day)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("shop") / "project")


def of_trial(world: World) -> list[Decision]:
    """Return what was decided of the first version when it was tried again, but that nothing is trained meanwhile."""
    place = next(place for place, each in enumerate(world.decided) if each.action == "rollout_start")
    return [each for each in world.decided[place:] if each.action != "train_refused"]


def test_a_margin_decides_against_the_log_loss(world: World) -> None:
    started, tested, promoted = of_trial(world)
    assert (started.action, tested.action, promoted.action) == ("rollout_start", "ab_test", "promote")
    assert "of the champion's margin) with a power of 80 % takes" in tested.reason
    assert promoted.reason.startswith("margin 12.")
    assert promoted.reason.endswith(", higher is better")
    evidence: Any = promoted.evidence
    assert (evidence["metric"], evidence["higher_is_better"], evidence["outcome"]) == ("margin", True, "promoted")
    assert evidence["difference"]["low"] > 0
    arms = evidence["arms"]
    assert arms["challenger"]["mean"] > arms["champion"]["mean"] + 1
    assert all(arm["labels"] < 0.8 * arm["of_matured_predictions"] for arm in arms.values())
    with open_home(world.project.home) as home:
        rows = OutcomeReader(home, world.project.models[NAME]).outcomes(
            tested.time_us, promoted.time_us - DAY_US, promoted.time_us
        )
        assert home.ledger.deployment(NAME).champion == Assignment("v1", "champion")
        home.ledger.verify()
    losses = {
        version: binary_log_losses(of["_label"].to_numpy(), of["score"].to_numpy()).mean()
        for (version,), of in rows.partition_by("version", as_dict=True).items()
    }
    assert losses["v1"] > losses["v2"] + 0.5


def test_the_version_that_earned_more_was_found_among_new_ones_too(world: World) -> None:
    assert (world.newer, world.promoted.evidence["metric"]) == ("v2", "margin")


def test_what_was_decided_by_a_margin_is_decided_again(world: World) -> None:
    with open_home(world.project.home) as home:
        for decision in (world.promoted, of_trial(world)[-1]):
            again = rerun(world.project, home, decision, decision.time_us + DAY_US)
            assert (again.verdict, again.differing, again.unseen) == ("equal", (), ())


def test_status_says_which_way_is_better(world: World) -> None:
    found = next(each for each in world.statuses if each["stage"] == "A/B test")
    assert (found["metric"], found["higher_is_better"]) == ("margin", True)
    assert found["difference"]["words"] == "the difference is not known yet"
    assert found["ends_when"][0] == "the whole sequence above zero: champion; below zero: rolled back"
    assert "(5 % of the champion's margin)" in found["ends_when"][-1]


def test_a_shadow_before_the_test_is_measured_by_a_loss(world: World, tmp_path: Path) -> None:
    """Nobody hears it, so the margin says nothing of it."""
    rollout = ck.shadow("2d") >> ck.compare("margin", mde=0.05, share=0.5)
    project = project_in(world.project.root, rollout=rollout, business={"margin": "higher"})
    by = project.models[NAME]
    with open_home(shutil.copytree(world.project.home, tmp_path / "home")) as home:
        clock = SimulatedClock(midnight(world.day) + HOUR_US)
        start_rollout(home, clock, by, world.newer, actor="ravi", reason="once more", force=True)
        found = look(by, home, clock.now())
        assert found.contest is not None
        assert found.contest.metric == "log_loss"
        told = status_of(found, by, home.ledger.decisions(NAME))
    assert (told["stage"], told["metric"]) == ("shadow", "margin")
    assert told["ends_when"][-1].startswith("To find a difference of 0.5")
    assert "(5 % of the champion's margin)" in told["ends_when"][-1]
    assert found.progress is not None
    about_zero = Usual(mean=ClusterMean(0.01, 0.0004, 900, 800), per_day=100.0)
    even = evolve(found, progress=evolve(found.progress, plan=None, usual=about_zero))
    assert status_of(even, by, [])["ends_when"][-1] == (
        "no A/B test yet: margin of v1 is 0.010 (95 % -0.030 to 0.050), about 0: 5 % of that is no difference that an "
        "A/B test can be planned for"
    )


def test_a_shadow_is_judged_by_what_its_own_decisions_would_have_cost() -> None:
    rows = answered(0, 0).with_columns(version=pl.lit("v1"), role=pl.lit("champion"))
    shadow = rows.with_columns(version=pl.lit("v2"), role=pl.lit("shadow"), decision=pl.col("_label") > 0.5)
    found = contest(pl.concat([rows, shadow]), "v1", "v2", ck.compare("cost"), SPAN, costs=ck.Costs(false_negative=4))
    assert found.difference is not None
    step = judge(1, found, found.difference)
    assert isinstance(step, Promote)
    assert step.reason.startswith("cost per decision 0.000 against the champion's 1.5")
    assert step.evidence["metric"] == "cost"
