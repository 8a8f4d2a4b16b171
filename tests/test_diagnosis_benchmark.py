"""The benchmark of diagnosis at a small size: quiet months are quiet, and repeat; pairs count as what they are."""

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
        yield importlib.import_module("diagnosis_aa")


def test_quiet_months_are_quiet(bench: Any) -> None:
    """Twenty model-months at an alarm a month are allowed twenty, and at one a year two."""
    often = bench.quiet(20, 20, seed=1, budget=bench.Budget(12.0, 1.0, 20))
    assert often.alarms <= 20
    assert often.budget_alarms == pytest.approx(19.7, abs=0.1)
    assert bench.quiet(5, 20, seed=2).alarms <= 1
    assert bench.quiet(2, 10, seed=3).alarms == bench.quiet(2, 10, seed=3).alarms


def test_natural_weeks_and_drills_are_counted_apart(bench: Any) -> None:
    pairs, peers = importlib.import_module("diagnosis_pairs"), importlib.import_module("diagnosis_peers")
    flagged = {
        pairs.pair_name("taxi", 28): True,
        pairs.pair_name("taxi", 56): False,
        pairs.pair_name("taxi", 60, "unit_change"): True,
    }
    weeks, drills = peers._shares(flagged)
    assert (weeks.value, weeks.note) == (0.5, "1 of 2")
    assert (drills.value, drills.note) == (1.0, "1 of 1")
