"""Deploying by hand: what is refused, where a rollback leads, and that it is quick."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from operator_world import FIRST_DAY, NAME, make_model, make_project, midnight

import charkha as ck
from charkha.bundles.store import BundleCorrupt
from charkha.clock import SimulatedClock
from charkha.engines.local import LocalEngine
from charkha.operations.deploy import DeploymentRefused, promote, rollback
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Assignment, Decision, Deployment, Draft, UnknownVersion
from charkha.storage.ledger.deployments import champions
from charkha.training.pipeline import Order, train
from charkha.training.tracking import NoTracker

CLOCK = SimulatedClock(midnight(FIRST_DAY))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with v1, v2 and v3, which passed, and v4, which did not."""
    project = make_project(tmp_path_factory.mktemp("world"))
    hard = make_model(gates=(ck.at_least("roc_auc", 0.9999),))
    with open_home(project.home) as home:
        for number, model in enumerate([project.models[NAME]] * 3 + [hard]):
            order = Order(model, project.root, CLOCK.now(), f"by-hand/{number}")
            train(order, home, CLOCK, LocalEngine(1), NoTracker())
    return project.home


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Iterator[Home]:
    shutil.copytree(trained, tmp_path / "home")
    with open_home(tmp_path / "home") as home:
        yield home


def up(home: Home, version: str, *, force: bool = False) -> Decision:
    return promote(home, CLOCK, NAME, version, actor="asha", reason="a hunch", force=force)


def back(home: Home) -> Decision:
    return rollback(home, CLOCK, NAME, actor="asha", reason="it hurts")


def champion(home: Home) -> str | None:
    found = home.ledger.deployment(NAME).champion
    return found.version if found else None


def test_a_promotion_is_one_decision_and_one_deployment(home: Home) -> None:
    up(home, "v1")
    decision = up(home, "v2")
    assert home.ledger.deployment(NAME).assignments == (Assignment("v2", "champion"),)
    assert (decision.action, decision.actor, decision.reason, decision.generation) == ("promote", "asha", "a hunch", 2)
    assert decision.evidence == {"version": "v2", "champion": "v1", "forced": False, "failed_gates": []}


def test_a_version_that_failed_is_refused_unless_forced(home: Home) -> None:
    with pytest.raises(DeploymentRefused, match=r"expected a version that passed its gates, but v4 did not: .*0\.9999"):
        up(home, "v4")
    assert champion(home) is None
    evidence = up(home, "v4", force=True).evidence
    assert evidence["forced"]
    assert len(evidence["failed_gates"]) == 1  # type: ignore[arg-type]
    assert champion(home) == "v4"


@pytest.mark.parametrize(("actor", "reason"), [("", "why"), ("asha", " ")])
def test_nobody_and_no_reason_are_refused(home: Home, actor: str, reason: str) -> None:
    with pytest.raises(DeploymentRefused, match="expected who does this and why"):
        promote(home, CLOCK, NAME, "v4", actor=actor, reason=reason, force=True)
    assert home.ledger.decisions(NAME) == []


def test_the_champion_is_not_promoted_again(home: Home) -> None:
    up(home, "v1")
    with pytest.raises(DeploymentRefused, match="v1 is the champion already"):
        up(home, "v1")


def test_a_version_nobody_knows_is_refused(home: Home) -> None:
    with pytest.raises(UnknownVersion):
        up(home, "v9")


def test_a_bundle_that_was_changed_is_refused(home: Home) -> None:
    up(home, "v1")
    up(home, "v2")
    for name in ("v1", "v3"):
        with (home.bundles / NAME / name / "estimator.bin").open("ab") as file:
            file.write(b"!")
    with pytest.raises(BundleCorrupt):
        up(home, "v3")
    with pytest.raises(BundleCorrupt):
        back(home)
    assert champion(home) == "v2"


def test_a_promotion_ends_a_shadow(home: Home) -> None:
    up(home, "v1")
    beside = [Assignment("v1", "champion"), Assignment("v2", "shadow")]
    home.ledger.decide(Draft("k", 0, NAME, "operator", "shadow", "passed", {"version": "v2"}), deploy=beside)
    up(home, "v3")
    assert home.ledger.deployment(NAME).shadows == ()


def test_a_rollback_goes_back_and_never_to_what_was_fled_from(home: Home) -> None:
    for version in ("v1", "v2", "v3"):
        up(home, version)
    decision = back(home)
    assert (decision.action, decision.evidence) == ("rollback", {"version": "v2", "champion": "v3"})
    assert champion(home) == "v2"
    back(home)
    assert champion(home) == "v1"
    with pytest.raises(DeploymentRefused, match="expected a champion before v1 to go back to"):
        back(home)
    up(home, "v3")
    back(home)
    assert champion(home) == "v1"


def test_nothing_to_roll_back_to(home: Home) -> None:
    with pytest.raises(DeploymentRefused, match="expected a champion before the first to go back to"):
        back(home)


def test_a_rollback_takes_less_than_a_second(home: Home) -> None:
    up(home, "v1")
    up(home, "v2")
    started = time.perf_counter()
    back(home)
    assert time.perf_counter() - started < 1


# The line of champions, against its meaning.

HISTORY = st.lists(st.sampled_from(["v1", "v2", "v3", "v4", "shadow", "rollback"]), max_size=12)


@given(HISTORY)
def test_a_rollback_leads_to_the_champion_before_that_was_not_rolled_back_from(history: list[str]) -> None:
    """Play promotions, shadows and rollbacks, keeping for each champion's reign the one it would be rolled back to."""
    deployments: list[Deployment] = []
    rollbacks: set[int] = set()
    before: dict[int, int | None] = {}  # reign → the reign before it
    reigns: list[str] = []
    present: int | None = None
    for event in history:
        if event == "rollback":
            if present is None or before[present] is None:
                continue
            rollbacks.add(len(deployments) + 1)
            present = before[present]
        elif event != "shadow" and (present is None or reigns[present] != event):
            reigns.append(event)
            before[len(reigns) - 1] = present
            present = len(reigns) - 1
        if present is not None:
            assigned = (Assignment(reigns[present], "champion"),)
            deployments.append(Deployment(NAME, len(deployments) + 1, assigned, 0))
    line: list[str] = []
    while present is not None:
        line.insert(0, reigns[present])
        present = before[present]
    assert champions(deployments, rollbacks) == line
