"""Challengers, shadows and their shares by hand: what is refused, what they add up to, and what the ledger says."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import charkha as ck
from charkha.operations.beside import deploy_beside, shares_of, with_beside, withdraw
from charkha.operations.deploy import DeploymentRefused
from charkha.operations.look import open_versions
from charkha.operations.rollout.by_hand import start_rollout
from charkha.serving.problems import UnusableBundle
from charkha.serving.routing import assign, positions
from charkha.spec.model import Model
from charkha.storage.home import Home
from charkha.storage.ledger import Assignment, Decision, Deployment, UnknownVersion, VersionRow

sys.path.append(str(Path(__file__).parents[1] / "serving"))
from serving_project import MODEL, Stage, open_stage, write_bundle

SHADOW = Assignment("v3", "shadow")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A champion v1, and v2 to v4 that passed."""
    with open_stage(tmp_path) as opened:
        for number in (1, 2, 3, 4):
            record(opened, f"v{number}")
        yield opened


def record(stage: Stage, version: str, status: str = "accepted") -> None:
    write_bundle(stage.project, stage.home, version)
    now_us = stage.clock.now()
    row = VersionRow(MODEL, version, now_us, "0", "0", f"train/{version}", {}, status)  # type: ignore[arg-type]
    stage.home.ledger.record_version(row)


def late(stage: Stage) -> Model:
    return stage.project.models[MODEL]


def beside(stage: Stage, version: str, share: float | None, *, force: bool = False) -> Decision:
    given = Assignment(version, "shadow") if share is None else Assignment(version, "challenger", share)
    return deploy_beside(stage.home, stage.clock, late(stage), given, actor="asha", reason="a trial", force=force)


def serving(home: Home) -> list[tuple[str, str, float]]:
    return [(each.version, each.role, each.share) for each in home.ledger.deployment(MODEL).assignments]


def test_shares_are_given_changed_and_taken_back(stage: Stage) -> None:
    first = beside(stage, "v2", 0.1)
    assert serving(stage.home) == [("v1", "champion", 0.9), ("v2", "challenger", 0.1)]
    assert (first.action, first.actor, first.reason) == ("challenge", "asha", "a trial")
    assert first.evidence["shares"] == {"v1": 0.9, "v2": 0.1}
    beside(stage, "v3", None)
    beside(stage, "v4", 0.2)
    beside(stage, "v2", 0.3)
    after = [("v1", "champion", 0.5), ("v2", "challenger", 0.3), ("v4", "challenger", 0.2), ("v3", "shadow", 1.0)]
    assert serving(stage.home) == after
    last = withdraw(stage.home, stage.clock, MODEL, "v2", actor="asha", reason="slow")
    assert serving(stage.home) == [("v1", "champion", 0.8), ("v4", "challenger", 0.2), ("v3", "shadow", 1.0)]
    assert (last.action, last.evidence["version"], last.evidence["shares"]) == (
        "withdraw",
        "v2",
        {"v1": 0.8, "v4": 0.2},
    )
    beside(stage, "v3", 0.1)
    assert serving(stage.home)[-1] == ("v3", "challenger", 0.1)
    assert [each.action for each in stage.home.ledger.decisions(MODEL)][-5:] == [
        "shadow", "challenge", "challenge", "withdraw", "challenge",
    ]  # fmt: skip


def test_the_operator_leaves_alone_what_was_withdrawn(stage: Stage) -> None:
    beside(stage, "v2", 0.1)
    withdraw(stage.home, stage.clock, MODEL, "v2", actor="asha", reason="slow")
    ledger = stage.home.ledger
    waiting = open_versions(ledger.versions(MODEL), ledger.decisions(MODEL), ledger.deployment(MODEL))
    assert [row.version for row in waiting] == ["v3", "v4"]


def test_no_second_challenger_comes_into_a_rollout(stage: Stage) -> None:
    by = evolve(late(stage), rollout=ck.canary(0.1, 0.25) >> ck.compare("log_loss"))
    start_rollout(stage.home, stage.clock, by, "v2", actor="asha", reason="a trial")
    with pytest.raises(DeploymentRefused, match=r"rollout of v2 is among users, .*charkha rollout abort late"):
        beside(stage, "v3", 0.1)
    assert serving(stage.home) == [("v1", "champion", 0.9), ("v2", "challenger", 0.1)]
    beside(stage, "v3", None)
    beside(stage, "v2", 0.2)  # now it is a person's own, and so may another one be
    beside(stage, "v4", 0.1)
    assert shares_of(stage.home.ledger.deployment(MODEL).assignments) == {"v1": 0.7, "v2": 0.2, "v4": 0.1}


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_share_is_above_0_and_below_1(stage: Stage, share: float) -> None:
    with pytest.raises(DeploymentRefused, match="expected a share above 0 and below 1 for v2, got"):
        beside(stage, "v2", share)
    assert serving(stage.home) == [("v1", "champion", 1.0)]


def test_shares_add_up_to_less_than_all(stage: Stage) -> None:
    beside(stage, "v2", 0.7)
    with pytest.raises(DeploymentRefused, match=r"add up to less than 1, .* got v2 0\.7, v3 0\.3\. Give them less"):
        beside(stage, "v3", 0.3)
    with pytest.raises(DeploymentRefused, match="v2 is that already"):
        beside(stage, "v2", 0.7)
    beside(stage, "v3", 0.2999)


def test_what_would_do_harm_is_refused(stage: Stage) -> None:
    with pytest.raises(UnknownVersion):
        beside(stage, "v9", 0.1)
    with pytest.raises(DeploymentRefused, match=r"v1 is the champion\. Promote"):
        beside(stage, "v1", 0.1)
    record(stage, "v5", "rejected")
    for share in (0.1, None):
        with pytest.raises(
            DeploymentRefused, match="expected a version that passed its gates, but v5 did not: rejected"
        ):
            beside(stage, "v5", share)
    assert beside(stage, "v5", 0.1, force=True).evidence["forced"]
    other = evolve(late(stage), request=("city", "stops", "pooled"))
    with pytest.raises(UnusableBundle, match=r"expected the request fields \['km'\] as they were"):
        deploy_beside(stage.home, stage.clock, other, SHADOW, actor="asha", reason="a trial")
    with pytest.raises(DeploymentRefused, match=r"expected one of those beside v1 \(v5\), got v3"):
        withdraw(stage.home, stage.clock, MODEL, "v3", actor="asha", reason="slow")
    with pytest.raises(DeploymentRefused, match="expected who does this and why"):
        withdraw(stage.home, stage.clock, MODEL, "v5", actor="asha", reason=" ")


def test_without_a_champion_nobody_is_beside_it(stage: Stage) -> None:
    other = evolve(late(stage), name="how_far")
    row = VersionRow("how_far", "v3", stage.clock.now(), "0", "0", "train/far", {}, "accepted")
    stage.home.ledger.record_version(row)
    with pytest.raises(DeploymentRefused, match="expected a champion, beside which v3 is to be; none serves"):
        deploy_beside(stage.home, stage.clock, other, SHADOW, actor="asha", reason="a trial")


@given(
    st.lists(st.tuples(st.sampled_from(["v2", "v3", "v4"]), st.none() | st.floats(0.01, 0.6)), min_size=1, max_size=8)
)
def test_whatever_is_done_the_shares_add_up_to_1(steps: list[tuple[str, float | None]]) -> None:
    deployment = Deployment(MODEL, 1, (Assignment("v1", "champion"),), 0)
    for version, share in steps:
        given = Assignment(version, "shadow") if share is None else Assignment(version, "challenger", share)
        try:
            deployment = evolve(deployment, assignments=with_beside(deployment, given))
        except DeploymentRefused:
            continue
        assert sum(shares_of(deployment.assignments).values()) == pytest.approx(1, abs=1e-8)
        assert deployment.champion is not None
        assert deployment.champion.share > 0
        assert sorted({each.version for each in deployment.assignments}) == sorted(
            each.version for each in deployment.assignments
        )


@given(st.floats(0.01, 0.9), st.floats(0.01, 0.9))
def test_a_larger_share_takes_entities_from_the_champion_alone(one: float, other: float) -> None:
    smaller, larger = sorted((one, other))
    places = positions(MODEL, [(f"city {number}",) for number in range(400)])
    before, after = assign(places, [smaller]), assign(places, [larger])
    assert set(before.nonzero()[0]) <= set(after.nonzero()[0])
