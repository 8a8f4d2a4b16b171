"""Rollouts by the thousand, looked at every hour: how often are equal versions told apart, and others found in time?

    python benchmarks/operator_rollout.py            # every figure, some minutes
    python benchmarks/operator_rollout.py --quick    # the same with few rollouts

The rules are those of production: guardrails (`operations.rollout.guards`), plan and verdicts. Simulated is what comes:
rows of a binary model, hour by hour, their log losses drawn in blocks of twenty from two million rows; requests that
fail, slow calls, positive decisions and scores. A version that is worse by 2 % loses 2 % more on every row.
Tests among entities that come again are in `rollout_again`.
"""

import sys
import time
from collections.abc import Sequence

import numpy as np
from attrs import frozen
from claims import Claim, Figure, Measured, at_least, at_most, claim_lines, claims_json, in_words, judge
from rollout_again import print_again

import charkha as ck
from charkha.monitoring.sequential.arrays import BoolArray, FloatArray, IntArray
from charkha.monitoring.sequential.clusters import ClusterMean
from charkha.operations.rollout.guards import Figures, alpha_of_guard, excesses
from charkha.operations.rollout.plan import LEAST_ENTITIES, Plan, plan_test
from charkha.operations.rollout.usual import Usual
from charkha.operations.rollout.verdicts import verdicts
from charkha.spec.durations import HOUR_US
from charkha.spec.rollout import Rollout

BLOCK, BLOCKS_PER_HOUR = 20, 20
ROWS_PER_HOUR = BLOCK * BLOCKS_PER_HOUR
POOL_BLOCKS = 100_000
SLICES, BINS = 4, 20
STEP_HOURS = 24
FAILS, SLOW, DECIDES, UNLABELLED = 0.002, 0.01, 0.2, 0.05
ROLLOUT = ck.canary(0.05, 0.25) >> ck.compare("log_loss", mde=0.02, alpha=0.05, power=0.8)
# How a rollout ended.
RUNNING, PROMOTED, ROLLED_BACK, INCONCLUSIVE = 0, 1, 2, 3
STEP = "rollout"
FIGURES: tuple[Figure, ...] = (
    at_most(STEP, "aa_false_promotions_and_rollbacks", ROLLOUT.alpha),
    at_least(STEP, "regression_2_percent_rolled_back_in_plan", ROLLOUT.power),
    at_least(STEP, "gain_2_percent_promoted_in_plan", ROLLOUT.power),
    at_most(STEP, "wrong_way_of_2_percent", 0.01),
    at_most(STEP, "loss_of_bad_rollout_to_half_half_switch", 1.0),
    # As planned, less what some hundred tests may miss by chance.
    at_least(STEP, "regression_found_where_entities_come_again", ROLLOUT.power - 0.05),
    in_words(STEP, "rollout_seconds", "reported"),
)


@frozen(eq=False)
class Pool:
    """Log losses in blocks: sums and sums of squares, float64 (blocks,)."""

    sums: FloatArray
    squares: FloatArray

    @property
    def mean(self) -> float:
        """The mean loss of a row."""
        return float(self.sums.mean() / BLOCK)

    @property
    def variance(self) -> float:
        """The variance of the loss of a row."""
        return float(self.squares.mean() / BLOCK - self.mean**2)


def pool(seed: int = 0) -> Pool:
    """Return the losses of a calibrated model whose log odds are normal."""
    random = np.random.default_rng(seed)
    chance = 1 / (1 + np.exp(-random.normal(-1.0, 1.5, (POOL_BLOCKS, BLOCK))))
    true = random.random(chance.shape) < chance
    losses = -np.log(np.where(true, chance, 1 - chance))
    return Pool(losses.sum(axis=1), np.square(losses).sum(axis=1))


def planned(rows: Pool, rollout: Rollout = ROLLOUT, delay_hours: int = 0) -> Plan:
    """Return the plan that the champion's last four weeks give."""
    count = 28 * 24 * ROWS_PER_HOUR
    champion = ClusterMean(rows.mean, rows.variance / count, count, count)
    plan = plan_test(rollout, Usual(mean=champion, per_day=24.0 * ROWS_PER_HOUR), delay_hours * HOUR_US)
    if plan is None:
        raise RuntimeError("a champion of four weeks can be planned by")
    return plan


@frozen(eq=False)
class Outcome:
    """How simulated rollouts ended. ends, hours: (n,). exposed: the challenger's share of the traffic × hours."""

    ends: IntArray
    hours: FloatArray
    exposed: FloatArray
    planned_hours: float

    def share(self, end: int, *, within: float = np.inf) -> float:
        """Return the share of rollouts with an end, reached within so many hours."""
        return float(((self.ends == end) & (self.hours <= within)).mean())


@frozen(eq=False)
class _Tally:
    """What has been answered so far: float64 (n, 2, …), the challenger first."""

    rows: FloatArray
    sums: FloatArray
    squares: FloatArray
    of_slices: FloatArray
    events: FloatArray
    scores: FloatArray

    @classmethod
    def empty(cls, rollouts: int) -> "_Tally":
        two, events = np.zeros((rollouts, 2)), np.zeros((rollouts, 2, 4))
        return cls(two, two, two, np.zeros((rollouts, 2, SLICES, 3)), events, np.zeros((rollouts, 2, BINS)))

    def plus(self, other: "_Tally") -> "_Tally":
        return _Tally(
            self.rows + other.rows,
            self.sums + other.sums,
            self.squares + other.squares,
            self.of_slices + other.of_slices,
            self.events + other.events,
            self.scores + other.scores,
        )


def simulate(
    rows: Pool, rollouts: int, effect: float = 0.0, *, delay_hours: int = 0, seed: int = 1, every: int = 1
) -> Outcome:
    """Simulate rollouts of a version whose losses are `effect` greater, as a share. every: hours between two looks."""
    random = np.random.default_rng([seed, delay_hours, round(1e6 * (effect + 1))])
    plan, rollout = planned(rows, delay_hours=delay_hours), ROLLOUT
    ends, hours, exposed = np.zeros(rollouts, dtype=np.int64), np.zeros(rollouts), np.zeros(rollouts)
    test_hours = int(np.ceil(1.02 * plan.labels / ROWS_PER_HOUR)) + delay_hours
    clock = 0
    for step, share in enumerate(rollout.shares):
        is_test = step == len(rollout.shares) - 1
        history = [_Tally.empty(rollouts)]
        for hour in range(1, (test_hours if is_test else STEP_HOURS) + 1):
            clock += 1
            running = ends == RUNNING
            exposed += running * share
            history.append(history[-1].plus(_hour(random, rows, rollouts, share, effect)))
            if clock % every == 0 or hour == test_hours:
                _look(history, hour, (plan, rollout, share, delay_hours), ends, is_test=is_test)
                hours = np.where(running & (ends != RUNNING), clock, hours)
            if not (ends == RUNNING).any():
                break
            if len(history) > delay_hours + 2:
                history[-delay_hours - 3] = history[0]  # nobody looks back so far
    hours = np.where(ends == RUNNING, clock, hours)
    ends = np.where(ends == RUNNING, INCONCLUSIVE, ends)
    begins = STEP_HOURS * (len(rollout.shares) - 1)
    return Outcome(ends, hours, exposed, begins + plan.labels / ROWS_PER_HOUR + delay_hours)


def _hour(random: np.random.Generator, rows: Pool, rollouts: int, share: float, effect: float) -> _Tally:
    """Return an hour of traffic of each rollout."""
    blocks = random.integers(0, POOL_BLOCKS, (rollouts, BLOCKS_PER_HOUR))
    mine = np.arange(BLOCKS_PER_HOUR) < round(share * BLOCKS_PER_HOUR)
    scale = np.where(mine, 1 + effect, 1.0)
    sums, squares = rows.sums[blocks] * scale, rows.squares[blocks] * scale**2
    arms = (mine, ~mine)
    of_slices = np.zeros((rollouts, 2, SLICES, 3))
    where = random.integers(0, SLICES, (rollouts, BLOCKS_PER_HOUR))
    for place, arm in enumerate(arms):
        for each in range(SLICES):
            inside = (where == each) & arm
            of_slices[:, place, each] = np.stack(
                [BLOCK * inside.sum(axis=1), (sums * inside).sum(axis=1), (squares * inside).sum(axis=1)], axis=-1
            )
    entities = random.binomial(ROWS_PER_HOUR, share, rollouts)
    counts = np.stack([entities, ROWS_PER_HOUR - entities], axis=1)
    events = np.stack([random.binomial(counts, rate) for rate in (FAILS, SLOW, DECIDES, UNLABELLED)], axis=-1)
    scores = random.multinomial(counts, np.full(BINS, 1 / BINS))
    both = [np.stack([each[:, arm].sum(axis=1) for arm in arms], axis=1) for each in (sums, squares)]
    number = np.stack([np.full(rollouts, BLOCK * arm.sum()) for arm in arms], axis=1)
    return _Tally(number.astype(float), both[0], both[1], of_slices, events.astype(float), scores.astype(float))


def _look(
    history: Sequence[_Tally], hour: int, terms: tuple[Plan, Rollout, float, int], ends: IntArray, *, is_test: bool
) -> None:
    """Let the rules of production decide at one hour; writes into `ends`."""
    plan, rollout, share, delay = terms
    now, known = history[hour], history[max(0, hour - delay // 2)]  # a label comes at half its delay, on average
    running = ends == RUNNING
    stopped = _broken(now, known, plan, rollout, share)
    ends[running & stopped] = ROLLED_BACK
    if is_test:
        difference, information = _difference(_matured(history, hour, delay))
        found = verdicts(difference, information, plan)
        ends[running & ~stopped] = found[running & ~stopped]


def _matured(history: Sequence[_Tally], hour: int, delay: int) -> _Tally:
    return history[max(0, hour - delay)]


def _broken(now: _Tally, known: _Tally, plan: Plan, rollout: Rollout, share: float) -> BoolArray:
    events, entities = now.events, now.scores.sum(axis=-1)
    without, told = known.events[..., 3], known.scores.sum(axis=-1)
    slices = _differences(known.of_slices[..., 0], known.of_slices[..., 1], known.of_slices[..., 2])
    figures = Figures(
        entities=(entities[:, 0], entities[:, 1]),
        failed=(events[:, 0, 0], events[:, 1, 0]),
        slow=(events[:, 0, 1], events[:, 1, 1]),
        decided=(events[:, 0, 2], events[:, 1, 2]),
        scores=(now.scores[:, 0], now.scores[:, 1]),
        loss=_difference(known),
        slices=slices,
        labels=(
            (without[:, 0], without[:, 1]),
            (told[:, 0] - without[:, 0], told[:, 1] - without[:, 1]),
            (without[:, 0], without[:, 1]),
        ),
        usual=np.full(len(entities), plan.loss),
    )
    above = excesses(figures, rollout.guardrails, share, alpha_of_guard(rollout))
    return np.asarray(np.any([each > 0 for each in above.values()], axis=0))


def _difference(tally: _Tally) -> tuple[FloatArray, FloatArray]:
    return _differences(tally.rows, tally.sums, tally.squares)


def _differences(rows: FloatArray, sums: FloatArray, squares: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return differences of means and their information; arms are the second axis."""
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sums / rows
        variances = (squares / rows - np.square(means)) / (rows - 1)
        information = 1 / variances.sum(axis=1)
    enough = rows.min(axis=1) >= LEAST_ENTITIES
    return np.where(enough, means[:, 0] - means[:, 1], 0.0), np.where(enough, information, 0.0)


def switch_exposure(rows: Pool, effect: float, rollouts: int, seed: int = 3) -> float:
    """Return share of the traffic × hours of a worse version in a 50/50 test of fixed length that decides at its end.

    As long as a test of the same power for 2 % takes that looks once. A version that it does not find to be worse goes
    on with half of the traffic for as long again, until somebody else notices.
    """
    random = np.random.default_rng([seed, round(1e6 * effect)])
    wanted = ROLLOUT.mde * rows.mean
    labels = (1.96 + 0.8416) ** 2 * rows.variance / (0.25 * wanted**2)
    error = np.sqrt(rows.variance / (0.25 * labels))
    found = random.normal(effect * rows.mean, error, rollouts) > 1.96 * error
    return float(np.where(found, 0.5, 1.0).mean() * labels / ROWS_PER_HOUR)


def measure(*, quick: bool = False) -> dict[str, Measured]:
    """Simulate, print the tables, and return the figures."""
    began, rows = time.perf_counter(), pool()
    many, some = (100, 40) if quick else (1_000, 300)
    same = simulate(rows, many)
    print(f"A/A, {many} rollouts, a look an hour: {_ends(same)}")
    worse, better = simulate(rows, some, 0.02, seed=4), simulate(rows, some, -0.02, seed=5)
    print(f"2 % worse: {_ends(worse)}\n2 % better: {_ends(better)}")
    _print_grid(rows, 30 if quick else 150, quick=quick)
    ratio = _print_exposure(rows, some)
    again = print_again(60 if quick else 200)
    false = same.share(PROMOTED) + same.share(ROLLED_BACK)
    in_plan = f"within {worse.planned_hours:.0f} h, as planned"
    wrong = max(worse.share(PROMOTED), better.share(ROLLED_BACK))
    return {
        "aa_false_promotions_and_rollbacks": Measured(
            false, f"{same.share(PROMOTED):.3f} promoted, {same.share(ROLLED_BACK):.3f} rolled back, of {many}"
        ),
        "regression_2_percent_rolled_back_in_plan": Measured(
            worse.share(ROLLED_BACK, within=worse.planned_hours * 1.02), in_plan
        ),
        "gain_2_percent_promoted_in_plan": Measured(
            better.share(PROMOTED, within=better.planned_hours * 1.02), in_plan
        ),
        "wrong_way_of_2_percent": Measured(wrong, "a gain rolled back, or a regression promoted"),
        "loss_of_bad_rollout_to_half_half_switch": Measured(ratio, "a version that is 10 % worse"),
        "regression_found_where_entities_come_again": Measured(again, "within the planned labels; else not planned"),
        "rollout_seconds": Measured(time.perf_counter() - began),
    }


def claims(*, quick: bool = False) -> list[Claim]:
    """Measure, and return the claims."""
    return judge(measure(quick=quick), {}, FIGURES)


def _ends(found: Outcome) -> str:
    named = ((PROMOTED, "promoted"), (ROLLED_BACK, "rolled back"), (INCONCLUSIVE, "inconclusive"))
    said = ", ".join(f"{found.share(end):.1%} {word}" for end, word in named)
    return f"{said}; median {np.median(found.hours):.0f} h of {found.planned_hours:.0f} h planned"


def _print_grid(rows: Pool, rollouts: int, *, quick: bool) -> None:
    """Print how often a difference is found in its right way, by effect and label delay."""
    effects = (-0.04, 0.01, 0.02, 0.04) if quick else (-0.04, -0.02, -0.01, 0.01, 0.02, 0.04)
    delays = (0, 24) if quick else (0, 24, 168)
    print(f"power over effect × label delay, {rollouts} rollouts each, a look every 6 hours; median hours in brackets")
    print(f"{'effect':>8}" + "".join(f"{f'{delay} h':>16}" for delay in delays))
    for effect in effects:
        cells = []
        for delay in delays:
            found = simulate(rows, rollouts, effect, delay_hours=delay, seed=6, every=6)
            right = found.share(ROLLED_BACK if effect > 0 else PROMOTED)
            cells.append(f"{f'{right:.0%} ({np.median(found.hours):.0f})':>16}")
        print(f"{effect:>+8.1%}" + "".join(cells))


def _print_exposure(rows: Pool, rollouts: int) -> float:
    """Print what a bad rollout costs against a 50/50 switch, and return the ratio for one that is 10 % worse."""
    print("a bad rollout: hours of the whole traffic on the worse version, until it is taken out")
    print(f"{'worse by':>10}{'by stages':>12}{'50/50 switch':>14}{'ratio':>8}")
    ratios = {}
    for effect in (0.02, 0.05, 0.1, 0.5):
        staged = float(simulate(rows, rollouts, effect, seed=7, every=1).exposed.mean())
        switch = switch_exposure(rows, effect, 20_000)
        ratios[effect] = staged / switch
        print(f"{effect:>10.0%}{staged:>12.1f}{switch:>14.1f}{ratios[effect]:>8.2f}")
    return ratios[0.1]


def main() -> None:
    """Print the tables and the claims."""
    found = claims(quick="--quick" in sys.argv)
    print("\n".join(claim_lines(found)))
    print(claims_json(found))


if __name__ == "__main__":
    main()
