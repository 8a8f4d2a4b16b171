import pytest
from msgspec.structs import replace
from replay_summaries import a_year

from charkha.operations.replay_summary import Interval, MonthRow
from charkha.web.headline import headline


def month(served: float | None, frozen: float | None, labels: int) -> MonthRow:
    first, second = (Interval(value, None, None, labels) for value in (served, frozen))
    return MonthRow("2013-04", labels, labels, first, second, ())


def test_months_count_by_their_labels_and_only_with_both_values() -> None:
    months = (month(0.8, 0.7, 300), month(0.6, 0.7, 100), month(None, 0.1, 10_000))

    found = headline(replace(a_year(), months=months))

    assert (found.served, found.frozen, found.gain) == pytest.approx((0.75, 0.7, 0.05))
    assert (found.better, found.worse) == (1, 1)


def test_a_lower_loss_is_a_gain() -> None:
    found = headline(replace(a_year(), months=(month(0.4, 0.5, 10),), higher_is_better=False))

    assert found.gain == pytest.approx(0.1)
    assert found.better == 1


def test_without_labels_there_is_nothing_to_compare() -> None:
    assert headline(replace(a_year(), months=(month(0.4, 0.5, 0),))).gain is None
