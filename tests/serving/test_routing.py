"""Routing: sticky, fair to the shares, and growing a share moves nobody away from the challenger."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.serving.routing import assign, position, positions

SHARES = st.lists(st.floats(0.0, 0.25), max_size=4)
PLACES = st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1)


def obvious(place: float, shares: list[float]) -> int:
    below = 0.0
    for number, share in enumerate(shares, 1):
        below += share
        if place < below:
            return number
    return 0


@given(PLACES, SHARES)
def test_assignment_equals_the_obvious_one(places: list[float], shares: list[float]) -> None:
    assert assign(np.array(places), shares).tolist() == [obvious(place, shares) for place in places]


@given(PLACES, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_larger_share_keeps_those_it_has(places: list[float], a: float, b: float) -> None:
    small, large = sorted((a, b))
    before, after = assign(np.array(places), [small]), assign(np.array(places), [large])
    assert (after[before == 1] == 1).all()


def test_shares_are_met_over_many_entities() -> None:
    places = positions("late", [(f"N{number}", "JFK") for number in range(20_000)])
    shares = np.bincount(assign(places, [0.1, 0.3]), minlength=3) / 20_000
    np.testing.assert_allclose(shares, [0.6, 0.1, 0.3], atol=0.015)


def test_the_place_of_an_entity_never_changes() -> None:
    """A change of this number would move live traffic between versions at an upgrade."""
    assert position("late", ("N1", 7, None, True)) == pytest.approx(0.3828958670847642, abs=1e-12)


def test_models_place_entities_independently_and_null_has_a_place() -> None:
    assert position("late", ("N1",)) != position("cancelled", ("N1",))
    assert 0.0 <= position("late", (None,)) < 1.0
    assert position("late", (None,)) != position("late", ("None",))


def test_full_and_empty_shares() -> None:
    places = np.array([0.0, 0.5, np.nextafter(1.0, 0.0)])
    assert assign(places, [1.0]).tolist() == [1, 1, 1]
    assert assign(places, [0.0]).tolist() == [0, 0, 0]
    assert assign(places, []).tolist() == [0, 0, 0]
