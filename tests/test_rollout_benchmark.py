"""The benchmark of rollouts at a small size: equal versions are left alone, others are told apart, and it repeats."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield importlib.import_module("operator_rollout")


def test_a_bad_rollout_is_taken_out_early_and_a_good_one_promoted(bench: Any) -> None:
    rows = bench.pool()
    worse = bench.simulate(rows, 20, 0.1, seed=1, every=6)
    assert worse.share(bench.ROLLED_BACK) == 1.0
    assert worse.exposed.mean() < 0.3 * bench.switch_exposure(rows, 0.1, 1_000)
    better = bench.simulate(rows, 20, -0.1, seed=2, delay_hours=24, every=6)
    assert better.share(bench.PROMOTED) == 1.0
    again = bench.simulate(rows, 20, 0.1, seed=1, every=6)
    assert (again.hours == worse.hours).all()


def test_figures_are_judged(bench: Any) -> None:
    assert {figure.step for figure in bench.FIGURES} == {"rollout"}
    plan = bench.planned(bench.pool())
    assert plan.effect == pytest.approx(0.02 * plan.loss)


def test_where_entities_come_again_a_test_is_planned_rightly_or_not_at_all(bench: Any) -> None:
    again = importlib.import_module("rollout_again")
    few, many = again.simulate_among(2_000, 5), again.simulate_among(20_000, 10)
    assert (few.planned, few.found) == (0, None)
    assert many.planned == 1
    assert many.found is not None
    assert many.found >= 0.5
