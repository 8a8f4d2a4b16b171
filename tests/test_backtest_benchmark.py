"""The benchmark of backtests: its figures and steps fit together, and what counts as a retraining on a fault."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from operator_backtest import FIGURES, PASTS, STEPS, kinds_for, on_faults

from charkha.clock import parse_time, to_iso
from charkha.monitoring.performance import Span
from charkha.operations.backtest.faults import DATA_FAULTS
from charkha.operations.backtest.results import Retraining
from charkha.operations.drills.fault import Fault
from charkha.spec.durations import DAY_US

BEGAN_US = parse_time("2013-06-01")


def retrained(day: float) -> Retraining:
    return Retraining(time=to_iso(BEGAN_US + int(day * DAY_US)), why="because", outcome="promoted", version="v2")


def test_every_figure_is_of_a_step_and_every_step_has_one() -> None:
    assert {figure.step for figure in FIGURES} == {step.name for step in STEPS}
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
    assert {past.folder.name for past in PASTS.values()} == set(PASTS)


@pytest.mark.parametrize(
    ("day", "clean", "counts"),
    [(-1, None, False), (1, None, True), (9, None, True), (11, None, False), (1, 3, False), (1, 20, True)],
)
def test_a_retraining_counts_where_it_would_not_be_made_without_the_fault(
    day: float, clean: float | None, counts: bool
) -> None:
    fault = Fault("null_flood", BEGAN_US, BEGAN_US + 3 * DAY_US)
    without = [] if clean is None else [retrained(clean)]
    assert bool(on_faults([retrained(day)], without, [fault])) is counts


def test_a_long_past_has_room_for_all_faults_and_a_short_one_for_some() -> None:
    def days(count: int) -> Span:
        return Span(BEGAN_US, BEGAN_US + count * DAY_US)

    assert kinds_for(days(400)) == list(DATA_FAULTS)
    assert 0 < len(kinds_for(days(90))) < len(DATA_FAULTS)
