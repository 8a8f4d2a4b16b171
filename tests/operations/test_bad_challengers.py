"""Challengers that are truly bad, asked over HTTP at a real server: each is stopped where it should be, and told why.

    gates   that always answers the same; that harms a slice, where no slice may be worse; that reads the truth
    shadow  that answers a constant, since a source has ended; with two features exchanged; that is slow; that learnt
            from what is written when all is over
    canary  that is better on the whole, and harms a slice; that is slow, where no shadow is declared

One that is good goes through all stages beside them, on the same server and under the same traffic.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from challenger_world import BEGINS, Shop, World, midnight, open_world, serving
from challengers import FIELDS, GOOD, LASTS, make_model

import charkha as ck
from charkha.spec.check import check
from charkha.spec.durations import DAY_US
from charkha.storage.ledger import Decision

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root: Path = tmp_path_factory.mktemp("shop")
    with open_world(root) as made:
        with serving(root) as client:
            Shop(made, client).live(LASTS)
        yield made


def stopped(world: World, model: str, version: str = "v2") -> Decision:
    """Return the last decision on a model: the end of its challenger, whose traffic the champion has back."""
    ended = world.decisions(model)[-1]
    assert ended.evidence["version"] == version
    assert world.versions(model) == ["v1"]
    return ended


def stages(world: World, model: str) -> list[str]:
    return [each.action for each in world.decisions(model)]


def days(decision: Decision) -> float:
    """Return when something was decided, in days of traffic."""
    return (decision.time_us - midnight(BEGINS)) / DAY_US


def test_a_good_one_is_stopped_nowhere(world: World) -> None:
    assert stages(world, "good") == ["shadow", "canary", "ab_test", "promote"]
    assert world.versions("good") == ["v2"]
    assert world.answered["good"] == {"v1", "v2"}


def test_one_that_always_answers_the_same_does_not_pass_its_gates(world: World) -> None:
    ended = stopped(world, "flat")
    assert stages(world, "flat") == ["reject"]
    assert "v2 did not pass 2 of 2 gates: not significantly better than always answering the mean" in ended.reason
    assert "significantly worse than the champion v1" in ended.reason


def test_one_that_answers_a_constant_where_it_serves_is_stopped_as_a_shadow(world: World) -> None:
    """It passed its gates: in the history the diary was there."""
    ended = stopped(world, "constant")
    assert stages(world, "constant") == ["shadow", "reject"]
    assert "stopped as a shadow: it answers constants: its scores of 1,500 requests spread by 0" in ended.reason
    assert days(ended) == 1
    assert world.answered["constant"] == {"v1"}


def test_one_whose_features_are_exchanged_is_stopped_as_a_shadow(world: World) -> None:
    ended = stopped(world, "swapped", "v3")
    assert stages(world, "swapped") == ["shadow", "reject"]
    assert "feature asked.x differs from the champion's on 1,000 of 1,000 requests" in ended.reason
    assert world.answered["swapped"] == {"v1"}


def test_one_that_is_slow_is_stopped_as_a_shadow(world: World) -> None:
    ended = stopped(world, "slow")
    assert stages(world, "slow") == ["shadow", "reject"]
    assert "stopped as a shadow: it is slow: 95 % of its calls take up to" in ended.reason
    assert world.answered["slow"] == {"v1"}


def test_one_that_is_slow_is_taken_out_by_the_canary_where_there_is_no_shadow(world: World) -> None:
    """What is slow about it is its own: who meets the champion does not wait for the challenger's features."""
    ended = stopped(world, "unseen_slow")
    assert stages(world, "unseen_slow") == ["canary", "retract"]
    assert "stopped with 40 % of the entities: it is slow: " in ended.reason
    assert days(ended) == 1


def test_one_that_learnt_what_is_written_later_is_stopped_as_a_shadow(world: World) -> None:
    """Its receipts say that they are older than the visit, so the history cannot tell; what was served can."""
    ended = stopped(world, "leaky")
    assert stages(world, "leaky") == ["shadow", "reject"]
    assert "receipt.paid was served otherwise than it is recomputed on 300 of 300 predictions" in ended.reason
    assert "(late row, source receipts: " in ended.reason
    assert world.answered["leaky"] == {"v1"}


def test_one_that_reads_the_truth_is_not_even_trained() -> None:
    early = ck.Source("early", FIELDS, ck.parquet("visits.parquet"), time="at", key=("visit",))
    truth = ck.FeatureView("truth", ck.Entity("visit"), early, latest=["buys"])
    (fault,) = check([make_model("leaky", (truth, GOOD))])
    assert fault.where == "model 'leaky', view 'truth'"
    assert fault.expected.startswith("'buys', a column of the truth, to be seen only after the prediction")


def test_one_that_harms_a_slice_does_not_pass_the_gate_of_slices(world: World) -> None:
    ended = stopped(world, "narrow")
    assert stages(world, "narrow") == ["reject"]
    assert "v2 did not pass 1 of 3 gates: significantly worse where kind=b than the champion v1" in ended.reason


def test_one_that_harms_a_slice_is_taken_out_by_the_canary(world: World) -> None:
    """On the whole it is better, so that nothing but the slice can stop it."""
    ended = stopped(world, "biased")
    assert stages(world, "biased") == ["shadow", "canary", "retract"]
    assert (ended.evidence["stage"], ended.evidence["outcome"]) == ("canary", "rolled back")
    assert "stopped with 40 % of the entities: it is worse where kind is b: log loss by +" in ended.reason
    arms: Any = ended.evidence["arms"]
    assert arms["challenger"]["mean_so_far"] < arms["champion"]["mean_so_far"]
    guards: Any = ended.evidence["guards"]  # null where there is nothing at all against it
    assert {name for name, excess in guards.items() if excess is not None and excess > 0} == {"slices"}
    assert world.answered["biased"] == {"v1", "v2"}
