from math import inf

from charkha.operations.replay_summary import DriftRow
from charkha.web.drift_map import drift_map


def test_the_score_comes_first_then_the_most_drifted() -> None:
    rows = [DriftRow("2013-04", name, psi, 0.0) for name, psi in (("b", 0.1), ("a", 0.9), ("score", 0.0), ("c", 0.9))]

    found = drift_map(rows)

    assert found is not None
    assert [row.feature for row in found.rows] == ["score", "a", "c", "b"]
    assert found.drifted == 2


def test_months_are_in_order_and_missing_figures_are_gaps() -> None:
    found = drift_map([DriftRow("2013-05", "a", 0.3, 0.0), DriftRow("2013-04", "b", 0.02, 0.004)])

    assert found is not None
    assert found.months == ("Apr", "May")
    assert [[cell is None for cell in row.cells] for row in found.rows] == [[True, False], [False, True]]


def test_cells_say_their_psi_and_only_nulls_worth_saying() -> None:
    found = drift_map([DriftRow("2013-04", "a", 0.256, 0.12), DriftRow("2013-05", "a", inf, 0.004)])

    assert found is not None
    first, second = found.rows[0].cells
    assert first is not None
    assert second is not None
    assert (first.text, first.nulls, first.drifted, first.heat) == ("0.26", "12 % null", True, 0.427)
    assert first.title == "a, April 2013: PSI 0.26, 12 % null"
    assert (second.text, second.nulls, second.heat) == ("∞", "", 1.0)


def test_nothing_measured_is_no_map() -> None:
    assert drift_map([]) is None
