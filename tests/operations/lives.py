"""Lives of the small world, each of another rollout: what is declared, which days are lived, and what persons do.

shadow  the shadow decides; nobody does anything
live    canary, in two steps, A/B test and approval, at which a person is quick; the better version is promoted
equal   canary and A/B test of a version that a person trained, as good as the champion: nothing is found
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen
from operator_world import DAYS, FIRST_DAY, NAME, Traffic, make_operator, make_project, memory, midnight, trainer

import charkha as ck
from charkha.clock import SimulatedClock
from charkha.operations.answering import approve, open_proposals
from charkha.spec.project import Project
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Decision
from charkha.training.pipeline import Order
from charkha.training.tracking import NoTracker

Persons = Callable[[Project, Home, SimulatedClock], None]

TO_APPROVAL = (
    ck.shadow("2d")
    >> ck.canary(0.1, 0.25, min_requests=10, max_decision_change=1e6)  # a truth that turns round turns decisions round
    >> ck.compare("log_loss", mde=0.1, within="8d")
    >> ck.approval()
)
TO_A_TEST = ck.canary(0.25, min_requests=20) >> ck.compare("log_loss", mde=0.3, within="8d")


@frozen
class Life:
    """What becomes of the world. settings: of the model. days: that are lived. persons: after the look of each day."""

    settings: Mapping[str, object]
    days: Sequence[int]
    persons: Persons


def nobody(project: Project, home: Home, clock: SimulatedClock) -> None:
    """Do nothing."""


def approving(project: Project, home: Home, clock: SimulatedClock) -> None:
    """Approve what is proposed."""
    if open_proposals(home, NAME):
        approve(home, clock, NAME, actor="asha", reason="seen")


def training(project: Project, home: Home, clock: SimulatedClock) -> None:
    """Train a version beside the first champion, of the same rows: it is as good."""
    if len(home.ledger.versions(NAME)) == 1:
        order = Order(project.models[NAME], project.root, clock.now(), f"{NAME}/by-hand/1", champion="v1")
        trainer(home, clock, NoTracker())(order)


# By then the labels of a week say that the champion has fallen, and most of what is learnt from is newer than that.
FALLEN = 44
LIVES: Mapping[str, Life] = {
    "shadow": Life({}, range(FIRST_DAY, DAYS), nobody),
    "live": Life(
        {"rollout": TO_APPROVAL, "retrain": ck.Retrain(cooldown="29d", window="21d")},
        (FIRST_DAY, *range(FALLEN, DAYS)),
        approving,
    ),
    "equal": Life({"rollout": TO_A_TEST}, range(FIRST_DAY, FIRST_DAY + 12), training),
}


class Lived:
    """A world that was lived through undisturbed, and the home as it was before each tick that did something."""

    def __init__(self, folder: Path, name: str = "shadow") -> None:
        self.life, life = name, LIVES[name]
        self.project = make_project(folder / "project", **life.settings)
        self.acts: dict[int, list[Decision]] = {}
        self.before: dict[int, Path] = {}
        clock = SimulatedClock(midnight(FIRST_DAY))
        with open_home(self.project.home) as home:
            operator, traffic = make_operator(self.project, home, clock), Traffic(self.project, home, clock)
            for day in life.days:
                clock.advance_to(midnight(day))
                kept = shutil.copytree(self.project.home, folder / f"before-{day}")
                if decisions := operator.tick(NAME):
                    self.acts[day], self.before[day] = decisions, kept
                else:
                    shutil.rmtree(kept)
                life.persons(self.project, home, clock)
                traffic.day(day)
            self.memory = memory(home)
            self.deployments = home.ledger.deployments(NAME)

    @property
    def actions(self) -> list[str]:
        """What was done, in its order."""
        return [each.action for day in sorted(self.acts) for each in self.acts[day]]
