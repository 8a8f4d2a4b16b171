"""The plan of an A/B test holds where entities come again: its labels are enough, or it says that none are."""

import numpy as np
import polars as pl
import pytest
from situations import NOW_US, model

import charkha as ck
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.arrays import FloatArray, IntArray
from charkha.monitoring.sequential.clusters import ClusterMean, cluster_mean
from charkha.operations.rollout.compared import unplanned_in_words
from charkha.operations.rollout.live import difference_of
from charkha.operations.rollout.plan import Plan, least_mde, plan_test
from charkha.operations.rollout.usual import Usual, floor_of, usual_of
from charkha.operations.rollout.verdicts import sequence as sequence_of
from charkha.operations.rollout.verdicts import verdict
from charkha.spec.durations import DAY_US

ROLLOUT = ck.canary(0.25) >> ck.compare("squared_error", mde=0.05)
PER_DAY, DAYS = 1_200, 28


class Shoppers:
    """So many customers who come again and again, each with losses of a size of its own."""

    def __init__(self, number: int, seed: int) -> None:
        self.random = np.random.default_rng([number, seed])
        self.size = np.exp(self.random.normal(0, 0.5, number))

    def come(self, rows: int) -> tuple[IntArray, FloatArray]:
        """Return whose rows come, and their losses."""
        who = self.random.integers(0, len(self.size), rows)
        return who, self.size[who] * self.random.exponential(1, rows)

    def usual(self) -> Usual:
        who, losses = self.come(DAYS * PER_DAY)
        return Usual(mean=cluster_mean(losses, who), per_day=PER_DAY, floor=floor_of(losses, who))


def ends(shoppers: Shoppers, plan: Plan, worse: float, looks: int = 20) -> tuple[str, float]:
    """Return how a test of as many labels as planned ends, and its information, of the planned."""
    mine = shoppers.random.random(len(shoppers.size)) < ROLLOUT.share
    who, losses = shoppers.come(plan.labels)
    losses = losses * np.where(mine[who], 1 + worse, 1)
    for rows in np.linspace(0, len(who), looks + 1)[1:].astype(int):
        arms = [_mean(losses[:rows][inside], who[:rows][inside]) for inside in (mine[who[:rows]], ~mine[who[:rows]])]
        difference, information = difference_of(*arms)
        found = verdict(sequence_of(difference, information, plan), plan, over=False)
        if found in ("promote", "roll back"):
            break
    return found, information / plan.information


def _mean(losses: FloatArray, who: IntArray) -> ClusterMean:
    return cluster_mean(losses, np.unique(who, return_inverse=True)[1].astype(np.int64))


def test_a_plan_finds_its_difference_with_its_power_where_entities_come_again() -> None:
    found = []
    for seed in range(60):
        shoppers = Shoppers(20_000, seed)
        plan = plan_test(ROLLOUT, shoppers.usual(), DAY_US)
        assert plan is not None
        found.append(ends(shoppers, plan, 0.05)[0])
    assert found.count("promote") == 0
    assert found.count("roll back") / len(found) >= ROLLOUT.power - 0.1


def test_the_planned_labels_bring_the_planned_information() -> None:
    shoppers = Shoppers(20_000, 1)
    plan = plan_test(ROLLOUT, shoppers.usual(), DAY_US)
    assert plan is not None
    _, information = ends(shoppers, plan, 0.0, looks=1)
    assert information == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("number", [2_000, 5_000])
def test_what_all_time_does_not_find_is_not_planned_and_said(number: int) -> None:
    usual = Shoppers(number, 2).usual()
    assert plan_test(ROLLOUT, usual, DAY_US) is None
    least = least_mde(ROLLOUT, usual)
    assert ROLLOUT.mde < least
    enough = ck.canary(0.25) >> ck.compare("squared_error", mde=1.01 * least)
    assert plan_test(enough, usual, DAY_US) is not None
    said = unplanned_in_words(usual, "v1", model(rollout=ck.canary(0.25) >> ck.compare("log_loss", mde=0.05)))
    assert said.startswith("a difference of 5 % of log loss cannot be reached with these entities: the ")
    assert said.endswith(f"Declare ck.compare(mde={np.ceil(100 * least) / 100:g}) or more")


def test_entities_that_are_new_leave_no_floor() -> None:
    random = np.random.default_rng(3)
    number = 20_000
    sizes = np.exp(random.normal(0, 0.5, number))
    who = np.repeat(np.arange(number), 3)  # three rows each, one after the other, and then never again
    losses = sizes[who] * random.exponential(1, len(who))
    mean = cluster_mean(losses, who)
    assert floor_of(losses, who) <= 0.02 * mean.variance
    again = random.integers(0, number // 20, len(who))
    assert floor_of(sizes[again] * random.exponential(1, len(who)), again) > 0.5 * mean.variance
    assert floor_of(losses, np.arange(len(who))) == 0


def test_what_is_usual_is_read_from_the_answers() -> None:
    shoppers, span = Shoppers(300, 4), Span(NOW_US - DAYS * DAY_US, NOW_US)
    who, _ = shoppers.come(6_000)
    rough = 0.5 / (1 + shoppers.size[who])  # who is large is foreseen badly
    rows = pl.DataFrame(
        {
            "_at_us": np.linspace(NOW_US - 20 * DAY_US, NOW_US - 1, len(who)).astype(np.int64),
            "version": "v1",
            "role": "champion",
            "score": 1 - rough,
            "decision": True,
            "request.x": [f"city {each}" for each in who],
            "_label": pl.Series([1.0, None] * (len(who) // 2)),
        }
    )
    usual = usual_of(rows.sample(fraction=1.0, shuffle=True, seed=1), model(rollout=ROLLOUT), "v1", span)
    assert (usual.mean.rows, usual.mean.clusters) == (3_000, 300)
    assert usual.per_day == pytest.approx(150, rel=0.01)
    # Rows of one entity lose the same: of ten rows each, one part in eleven is that there are not more rows.
    assert usual.floor == pytest.approx(usual.mean.variance / 1.1, rel=0.05)
    assert usual.of_a_row / usual.mean.rows + usual.floor == pytest.approx(usual.mean.variance)
