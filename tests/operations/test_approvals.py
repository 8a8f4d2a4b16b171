"""Proposals and approvals: a step waits for a person, is done once it is approved, and never where it was declined."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from situations import NOW_US, deployed, model

from charkha.clock import SimulatedClock
from charkha.operations.act import Workshop, act
from charkha.operations.answering import AnswerRefused, approve, decline, open_proposals
from charkha.operations.approvals import once_approved, proposal_key, proposals_of
from charkha.operations.deploy import DeploymentRefused
from charkha.operations.situation import Situation
from charkha.operations.steps import Promote, Propose, Reject, StartShadow, Step, Train
from charkha.storage.home import Home, open_home
from charkha.storage.ledger import Decision, StaleGeneration

MODEL = "late"
CLOCK = SimulatedClock(NOW_US)
PROMOTE = Promote(version="v1", generation=0, reason="it is better", evidence={"version": "v1"})
TRAIN = Train(run_key="late/train/7", as_of_us=NOW_US, reason="it fell", evidence={"champion": "v1"})


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path / ".charkha") as home:
        yield home


def workshop(home: Home) -> Workshop:
    return Workshop(model(), home.folder, home.ledger, CLOCK, lambda order: pytest.fail(str(order)))


def wanted(home: Home, step: Step, *, not_by: tuple[str, ...] = ()) -> Step | None:
    """Return what comes of a step that needs a person, at a fresh look."""
    situation = Situation(now_us=NOW_US, deployment=deployed(), proposals=proposals_of(home.ledger.decisions(MODEL)))
    return once_approved(step, situation.proposals, MODEL, not_by=not_by)


def proposed(home: Home, step: Step = PROMOTE, *, not_by: tuple[str, ...] = ()) -> Decision:
    found = wanted(home, step, not_by=not_by)
    assert isinstance(found, Propose)
    return act(found, workshop(home))


def test_a_step_is_proposed_once_and_waits(home: Home) -> None:
    decision = proposed(home)
    assert (decision.key, decision.action) == ("late/promote/v1/0/proposed", "propose")
    assert decision.reason == "promote v1? it is better"
    assert wanted(home, PROMOTE) is None
    assert home.ledger.deployment(MODEL).generation == 0
    again = Propose(key=decision.key, proposes="promote v1", generation=0, reason="again", evidence={})
    assert act(again, workshop(home)) == decision


def test_an_approved_step_is_the_step_with_who_approved_it(home: Home) -> None:
    proposed(home)
    answer = approve(home, CLOCK, MODEL, actor="asha", reason="seen with the team")
    assert (answer.action, answer.actor) == ("approve", "asha")
    step = wanted(home, PROMOTE)
    assert isinstance(step, Promote)
    assert step.reason == "it is better; approved by asha at 2013-04-11 00:00 UTC: seen with the team"
    assert act(step, workshop(home)).evidence["approval"] == {
        "proposal": "late/promote/v1/0/proposed",
        "by": "asha",
        "why": "seen with the team",
    }
    assert home.ledger.deployment(MODEL).generation == 1


def test_a_declined_step_is_not_proposed_again(home: Home) -> None:
    proposed(home)
    decline(home, CLOCK, MODEL, actor="asha", reason="not before the sale")
    assert wanted(home, PROMOTE) is None
    assert open_proposals(home, MODEL) == []


def test_an_approval_lapses_with_the_deployment_it_rests_on(home: Home) -> None:
    proposed(home)
    approve(home, CLOCK, MODEL, actor="asha", reason="fine")
    assert isinstance(wanted(home, evolve(PROMOTE, generation=1)), Propose)


def test_a_proposal_of_another_deployment_cannot_be_answered(home: Home) -> None:
    proposed(home)
    act(evolve(PROMOTE, version="v9", evidence={"version": "v9"}), workshop(home))
    assert open_proposals(home, MODEL) == []
    with pytest.raises(AnswerRefused, match="none waits"):
        approve(home, CLOCK, MODEL, actor="asha", reason="fine")
    with pytest.raises(AnswerRefused, match="the deployment has changed since it was proposed to promote v1"):
        approve(home, CLOCK, MODEL, proposal_key(MODEL, PROMOTE), actor="asha", reason="fine")


def test_a_proposal_is_not_made_of_what_has_changed(home: Home) -> None:
    step = wanted(home, evolve(PROMOTE, generation=4))
    assert isinstance(step, Propose)
    with pytest.raises(StaleGeneration):
        act(step, workshop(home))


def test_two_persons_have_to_agree(home: Home) -> None:
    assert "Somebody else than asha has to approve it" in proposed(home, not_by=("asha",)).reason
    with pytest.raises(AnswerRefused, match="expected somebody else than asha, who made what is to be approved"):
        approve(home, CLOCK, MODEL, actor="asha", reason="mine is good")
    assert wanted(home, PROMOTE) is None
    approve(home, CLOCK, MODEL, actor="ravi", reason="hers is good")
    assert isinstance(wanted(home, PROMOTE), Promote)


def test_an_approval_by_the_author_does_not_count_however_it_came(home: Home) -> None:
    decision = proposed(home, not_by=("asha",))
    forged = evolve(decision, action="approve", actor="asha", evidence={"proposal": decision.key})
    assert proposals_of([decision, forged])[decision.key].answer == "open"
    assert proposals_of([decision, forged, evolve(forged, actor="ravi")])[decision.key].by == "ravi"


def test_an_author_may_decline(home: Home) -> None:
    proposed(home, not_by=("asha",))
    decline(home, CLOCK, MODEL, actor="asha", reason="a bug in it")
    assert wanted(home, PROMOTE) is None


def test_the_first_answer_stands(home: Home) -> None:
    proposed(home)
    first = approve(home, CLOCK, MODEL, actor="asha", reason="fine")
    assert approve(home, CLOCK, MODEL, first.key.removesuffix("/answered"), actor="ravi", reason="too") == first
    with pytest.raises(AnswerRefused, match="was approved already, by asha: fine"):
        decline(home, CLOCK, MODEL, "late/promote/v1/0", actor="ravi", reason="no")


def test_which_one_is_asked_where_several_wait(home: Home) -> None:
    proposed(home)
    proposed(home, TRAIN)
    with pytest.raises(AnswerRefused, match=r"late/train/7/proposed \(to train\)"):
        approve(home, CLOCK, MODEL, actor="asha", reason="fine")
    with pytest.raises(AnswerRefused, match="expected the key of a proposal, got 'late/nothing'"):
        approve(home, CLOCK, MODEL, "late/nothing", actor="asha", reason="fine")
    approve(home, CLOCK, MODEL, "late/train/7", actor="asha", reason="fine")
    assert isinstance(wanted(home, TRAIN), Train)
    assert wanted(home, PROMOTE) is None


def test_who_and_why_are_asked_for(home: Home) -> None:
    proposed(home)
    with pytest.raises(DeploymentRefused, match="expected who does this and why"):
        approve(home, CLOCK, MODEL, actor="asha", reason=" ")


steps = st.sampled_from(
    [PROMOTE, TRAIN, *(kind(version="v2", generation=0, reason="so", evidence={}) for kind in (Reject, StartShadow))]
)


@given(st.lists(st.tuples(st.sampled_from(["propose", "approve", "decline"]), steps, st.booleans()), max_size=12))
def test_a_step_comes_only_of_a_proposal_that_another_person_approved(acts: list[tuple[str, Step, bool]]) -> None:
    decisions: list[Decision] = []
    for number, (action, step, by_author) in enumerate(acts):
        key = proposal_key(MODEL, step)
        evidence = {"proposes": "it", "not_by": ["asha"]} if action == "propose" else {"proposal": key}
        who = "operator" if action == "propose" else "asha" if by_author else "ravi"
        name = key if action == "propose" else f"{key}/{number}"
        decisions.append(Decision(name, number, MODEL, who, action, "so", evidence, number, None, "", ""))
    known = proposals_of(decisions)
    for step in (PROMOTE, TRAIN):
        found = once_approved(step, known, MODEL, not_by=("asha",))
        mine = [each for each in decisions if proposal_key(MODEL, step) in each.key]
        told = [each.action for each in mine]
        after = mine[told.index("propose") :] if "propose" in told else []
        counted = [
            each for each in after if (each.action, each.actor) == ("approve", "ravi") or each.action == "decline"
        ]
        assert isinstance(found, Propose) == ("propose" not in told)
        assert isinstance(found, type(step)) == bool(counted and counted[0].action == "approve")
