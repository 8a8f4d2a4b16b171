import pytest

from charkha.operations.drills.catalogue import INCIDENTS
from charkha.operations.drills.sizes import sizes_of, smallest_seen
from charkha.spec.drills import KINDS


def test_the_words_of_a_definition_know_the_catalogue() -> None:
    assert set(KINDS) == set(INCIDENTS)
    assert list(KINDS) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_grow_to_and_beyond_the_usual_one(kind: str) -> None:
    incident = INCIDENTS[kind]
    strengths = [abs(size) for size in sizes_of(incident)]
    assert incident.size in sizes_of(incident)
    assert strengths == sorted(set(strengths))
    if incident.unit.startswith("share"):
        assert max(strengths) <= 1.0


def test_a_factor_goes_by_powers_and_what_has_no_strength_has_one_size() -> None:
    assert sizes_of(INCIDENTS["unit_change"])[2] == pytest.approx(60**0.5)
    assert min(sizes_of(INCIDENTS["latency"])) > 1.0
    assert sizes_of(INCIDENTS["stale_store"]) == (INCIDENTS["stale_store"].size,)
    assert sizes_of(INCIDENTS["time_zone_shift"]) == (-0.625, -1.25, -2.5, -5.0, -10.0)


@pytest.mark.parametrize("first", range(6))
def test_the_smallest_that_is_seen_is_found_with_few_looks(first: int) -> None:
    sizes, asked = [1.0, 2.0, 3.0, 4.0, 5.0], []

    def is_seen(size: float) -> bool:
        asked.append(size)
        return size > first

    assert smallest_seen(sizes, is_seen) == (first + 1.0 if first < 5 else None)
    assert len(asked) <= 3
