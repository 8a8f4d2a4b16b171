"""Rollouts in a small world: through every stage to champion, and taken out where they make users worse off."""

import shutil
from pathlib import Path

import pytest
from operator_world import FIRST_DAY, NAME, Traffic, make_operator, make_project, midnight, project_in

import charkha as ck
from charkha.clock import SimulatedClock
from charkha.operations.answering import AnswerRefused, approve, decline, open_proposals
from charkha.operations.deploy import DeploymentRefused
from charkha.operations.look import look
from charkha.operations.rollout.by_hand import abort_rollout, promote_rollout, start_rollout
from charkha.operations.rollout.status import status_of
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Assignment, Decision

ROLLOUT = (
    ck.shadow("2d")
    >> ck.canary(0.25, min_requests=20, max_decision_change=1e6)  # a truth that turns round turns decisions round
    >> ck.compare("log_loss", mde=0.1, within="8d")
    >> ck.approval()
)
RETRAIN = ck.Retrain(cooldown="29d", window="21d")
# By then the labels of a week say that the champion has fallen, and most of what is learnt from is newer than that.
FALLEN, LAST_DAY = 46, 63


def live(project: Project, home: Home, clock: SimulatedClock, days: range) -> list[Decision]:
    """Live through days, each with an operator of its own, as if it had been killed; return what was decided."""
    traffic, decided = Traffic(project, home, clock), list[Decision]()
    for day in days:
        clock.advance_to(midnight(day))
        decided += make_operator(project, home, clock).tick(NAME)
        traffic.day(day)
    return decided


class World:
    """A world whose truth turned, and in which v1 was the champion until a challenger went through all the stages."""

    def __init__(self, folder: Path) -> None:
        self.project = make_project(folder / "project", rollout=ROLLOUT, retrain=RETRAIN)
        self.decided: list[Decision] = []
        clock = SimulatedClock(midnight(FIRST_DAY))
        with open_home(self.project.home) as home:
            traffic = Traffic(self.project, home, clock)
            for day in (FIRST_DAY, *range(FALLEN, LAST_DAY)):
                clock.advance_to(midnight(day))
                self.decided += make_operator(self.project, home, clock).tick(NAME)
                if open_proposals(home, NAME):
                    self.proposed = shutil.copytree(self.project.home, folder / "proposed", dirs_exist_ok=True)
                    self.proposed_day = day
                    approve(home, clock, NAME, actor="asha", reason="seen")
                    self.decided += make_operator(self.project, home, clock).tick(NAME)
                    self.ended = day
                    break
                traffic.day(day)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("rollout"))


@pytest.fixture
def later(world: World, tmp_path: Path) -> tuple[Project, Path]:
    """The world after the promotion, in a copy of its home."""
    return world.project, shutil.copytree(world.project.home, tmp_path / "home")


def of_rollout(world: World) -> list[Decision]:
    last = [each.action for each in world.decided].count("shadow")
    at = [place for place, each in enumerate(world.decided) if each.action == "shadow"][last - 1]
    return world.decided[at:]


def test_a_better_version_goes_through_every_stage(world: World) -> None:
    actions = [each.action for each in of_rollout(world)]
    assert [each for each in dict.fromkeys(actions) if each != "continue"] == [
        "shadow",
        "canary",
        "ab_test",
        "propose",
        "promote",
    ]
    with open_home(world.project.home) as home:
        deployments = home.ledger.deployments(NAME)
        home.ledger.verify()
    shares = [each.assignments[-1].share for each in deployments if each.assignments[-1].role == "challenger"]
    assert shares == [0.25, 0.5]
    assert len(deployments[-1].assignments) == 1


def test_the_plan_is_written_before_the_test_and_the_verdict_rests_on_it(world: World) -> None:
    test = next(each for each in of_rollout(world) if each.action == "ab_test")
    plan = test.evidence["plan"]
    assert "takes" in test.reason
    assert "matured labels, at the present traffic by 2013-0" in test.reason
    promoted = of_rollout(world)[-1]
    assert promoted.evidence["plan"] == plan
    assert promoted.evidence["difference"]["high"] < 0  # type: ignore[index]
    assert promoted.evidence["approval"]["by"] == "asha"  # type: ignore[index]
    assert set(promoted.evidence["guards"]) >= {"failures", "assignment", "loss"}  # type: ignore[call-overload]


def test_what_matured_is_all_that_the_test_counts(world: World) -> None:
    promoted = of_rollout(world)[-1]
    arms = promoted.evidence["arms"]
    for arm in arms.values():  # type: ignore[attr-defined]
        assert arm["labels"] == arm["of_matured_predictions"]
        assert arm["labels"] < arm["requests"]


def test_a_declined_promotion_ends_the_rollout(world: World, tmp_path: Path) -> None:
    with open_home(shutil.copytree(world.proposed, tmp_path / "home")) as home:
        clock = SimulatedClock(midnight(world.proposed_day))
        decline(home, clock, NAME, actor="asha", reason="not before the sale")
        (ended, *_) = make_operator(world.project, home, clock).tick(NAME)
        assert (ended.action, ended.evidence["outcome"]) == ("retract", "declined")
        assert "was declined by asha: not before the sale" in ended.reason
        beside = [each.version for each in home.ledger.deployment(NAME).assignments[1:]]
        assert ended.evidence["version"] not in beside


def test_a_worse_version_is_taken_out_by_the_guardrails(later: tuple[Project, Path], world: World) -> None:
    folder = later[1]
    quick = ck.canary(0.5, period="10d", max_decision_change=1e6) >> ck.compare("log_loss")
    project = project_in(later[0].root, rollout=quick)
    with open_home(folder) as home:
        clock = SimulatedClock(midnight(world.ended))
        champion = home.ledger.deployment(NAME).champion
        begun = start_rollout(home, clock, project.models[NAME], "v1", actor="ravi", reason="try", force=True)
        assert (begun.action, begun.evidence["stage"]) == ("rollout_start", "canary")
        decided = live(project, home, clock, range(world.ended, world.ended + 4))
        assert [each.action for each in decided if each.evidence.get("version") == "v1"] == ["retract"]
        ended = next(each for each in decided if each.action == "retract")
        assert ended.evidence["outcome"] == "rolled back"
        assert "it is worse" in ended.reason
        assert home.ledger.deployment(NAME).assignments == (
            Assignment(champion.version if champion else "", "champion"),
        )
        assert look(project.models[NAME], home, clock.now()).waiting == ()


def test_without_traffic_a_rollout_ends_in_words(later: tuple[Project, Path], world: World) -> None:
    project, folder = later
    with open_home(folder) as home:
        clock = SimulatedClock(midnight(world.ended))
        start_rollout(home, clock, project.models[NAME], "v1", actor="ravi", reason="try", force=True)
        clock.advance_to(midnight(world.ended + 9))
        decided = make_operator(project, home, clock).tick(NAME)
        (ended,) = [each for each in decided if each.action == "reject" and each.evidence["version"] == "v1"]
        assert "it has scored only 0 requests" in ended.reason


def test_by_hand(later: tuple[Project, Path], world: World) -> None:
    project, folder = later
    model = project.models[NAME]
    with open_home(folder) as home:
        clock = SimulatedClock(midnight(world.ended))
        with pytest.raises(DeploymentRefused, match="expected a rollout under way, found none"):
            abort_rollout(home, clock, model, actor="ravi", reason="no")
        start_rollout(home, clock, model, "v1", actor="ravi", reason="try", force=True)
        with pytest.raises(DeploymentRefused, match="v1 is a shadow already"):
            start_rollout(home, clock, model, "v1", actor="ravi", reason="again", force=True)
        with pytest.raises(DeploymentRefused, match="expected somebody else than ravi"):
            promote_rollout(home, clock, model, actor="ravi", reason="mine")
        with pytest.raises(AnswerRefused):
            approve(home, clock, NAME, actor="ravi", reason="nothing is proposed")
        found = status_of(look(model, home, clock.now()), model, home.ledger.decisions(NAME))
        assert (found["stage"], found["version"], found["started_by"]) == ("shadow", "v1", "ravi")
        aborted = abort_rollout(home, clock, model, actor="ravi", reason="enough")
        assert (aborted.action, aborted.evidence["outcome"]) == ("rollout_abort", "rolled back")
        found = status_of(look(model, home, clock.now()), model, home.ledger.decisions(NAME))
        assert (found["stage"], found["last"]["outcome"]) == ("none", "rolled back")
