"""The A/A benchmark of the diagnosis at a small size: quiet months are quiet, and repeat."""

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
