"""A/B tests where the same entities come again and again: found as often as planned, or out of reach and not planned.

Each entity has losses of a size of its own (log-normal), so what is told of a version varies between entities however
many rows come. Plan, difference and verdict are those of production.
"""

import numpy as np
from attrs import frozen

import charkha as ck
from charkha.monitoring.sequential.arrays import BoolArray, FloatArray
from charkha.monitoring.sequential.clusters import ClusterMean, cluster_mean
from charkha.operations.rollout.live import difference_of
from charkha.operations.rollout.plan import plan_test
from charkha.operations.rollout.usual import Usual, floor_of
from charkha.operations.rollout.verdicts import VERDICTS, verdicts
from charkha.spec.durations import DAY_US

PER_DAY, DAYS, LOOKS = 1_200, 28, 40
ROLLOUT = ck.canary(0.25) >> ck.compare("squared_error", mde=0.05)
ENTITIES = (2_000, 5_000, 20_000, 50_000)


@frozen
class Again:
    """Tests among so many entities.

    planned: the share that had a plan; days: of those, on average. found: of those, in which the version, worse by
    `mde`, was rolled back within the planned labels. None where nothing was planned.
    """

    entities: int
    planned: float
    days: float | None
    found: float | None


def simulate_among(entities: int, tests: int, seed: int = 8) -> Again:
    """Simulate A/B tests of a version that is worse by `mde`, of as many labels as are planned for each."""
    random = np.random.default_rng([seed, entities])
    days, found = [], 0
    for _ in range(tests):
        size = np.exp(random.normal(0, 0.5, entities))
        who = random.integers(0, entities, DAYS * PER_DAY)
        losses = size[who] * random.exponential(1, len(who))
        usual = Usual(mean=cluster_mean(losses, who), per_day=PER_DAY, floor=floor_of(losses, who))
        plan = plan_test(ROLLOUT, usual, DAY_US)
        if plan is None or plan.days is None:
            continue
        days.append(plan.days)
        mine = random.random(entities) < ROLLOUT.share
        counts, sums = np.zeros(entities), np.zeros(entities)
        for _ in range(LOOKS):
            who = random.integers(0, entities, plan.labels // LOOKS)
            losses = size[who] * random.exponential(1, len(who)) * np.where(mine[who], 1 + ROLLOUT.mde, 1)
            counts += np.bincount(who, minlength=entities)
            sums += np.bincount(who, weights=losses, minlength=entities)
            difference, information = difference_of(_mean(counts, sums, mine), _mean(counts, sums, ~mine))
            ended = VERDICTS[int(verdicts(np.array(difference), np.array(information), plan))]
            if ended != "continue":
                break
        found += ended == "roll back"
    planned = len(days)
    return Again(entities, planned / tests, sum(days) / planned if days else None, found / planned if days else None)


def _mean(counts: FloatArray, sums: FloatArray, arm: BoolArray) -> ClusterMean:
    """Return the mean of an arm's rows, as `cluster_mean` does, by the counts and sums of its entities."""
    inside = arm & (counts > 0)
    rows, entities = counts[inside].sum(), int(inside.sum())
    value = float(sums[inside].sum() / rows)
    parts = sums[inside] - value * counts[inside]
    return ClusterMean(value, float(np.square(parts).sum() / rows**2 * entities / (entities - 1)), int(rows), entities)


def print_again(tests: int) -> float:
    """Print the tests by how many entities there are, and return the least share found of those that were planned."""
    print(f"{ROLLOUT.mde:.0%} worse, {PER_DAY:,} rows a day of the same entities, {tests} tests each")
    print(f"{'entities':>10}{'planned':>10}{'days':>8}{'found':>8}")
    shares = []
    for each in (simulate_among(entities, tests) for entities in ENTITIES):
        found = "-" if each.found is None or each.days is None else f"{each.days:>8.0f}{each.found:>8.0%}"
        print(f"{each.entities:>10,}{each.planned:>10.0%}{found:>16}")
        shares += [] if each.found is None else [each.found]
    return min(shares)
