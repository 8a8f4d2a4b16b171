"""Two incidents at once: both are put in, and what harms is found whatever else goes on."""

import pytest
from drill_case import WATCHED, WORLD, case_of
from drill_world import PLAN, RESCORE

from charkha.operations.drills.catalogue import INCIDENTS, inject, inject_all
from charkha.operations.drills.fault import BadFault, Fault
from charkha.operations.drills.pairs import PairFault, kind_of
from charkha.operations.drills.power import drill, onset_us
from charkha.spec.durations import DAY_US


def test_a_pair_is_both_whatever_their_order() -> None:
    since_us = onset_us(WATCHED, 1)
    for name in ("latency+unit_change", "unit_change+latency"):
        pair = kind_of(name, INCIDENTS)
        resolved = pair.resolved(Fault(name, since_us, seed=1), WORLD, PLAN)
        assert isinstance(resolved, PairFault)
        assert {each.kind for each in resolved.parts} == {"latency", "unit_change"}
        assert (pair.cause, set(pair.causes)) == ("infrastructure", {"infrastructure", "source"})
        bent = inject(WORLD, Fault(name, since_us, seed=1), RESCORE)
        alone = inject_all(WORLD, resolved.parts, RESCORE)
        assert bent.predictions.equals(alone.predictions)
        one = [inject(WORLD, each, RESCORE).predictions for each in resolved.parts]
        assert not any(bent.predictions.equals(each) for each in one)


def test_a_pair_has_to_be_found_within_the_window_that_is_over_first() -> None:
    pair = kind_of("latency+concept_sudden", INCIDENTS)
    resolved = pair.resolved(Fault(pair.kind, onset_us(WATCHED, 1), seed=1), WORLD, PLAN)
    windows = [part.deadline_us(resolved, WORLD) for part in (INCIDENTS["latency"], INCIDENTS["concept_sudden"])]
    assert pair.deadline_us(resolved, WORLD) == min(windows) < max(windows)


def test_what_harms_is_found_beside_what_does_not() -> None:
    (found,) = drill(case_of(), [kind_of("seasonal_shift+bad_replica", INCIDENTS)]).drilled
    assert (found.kind, found.cause, found.verdict) == ("seasonal_shift+bad_replica", "infrastructure", "caught")
    assert found.delay_us is not None
    assert found.delay_us < DAY_US
    assert found.smallest is None


def test_a_pair_of_what_harms_nobody_must_stay_quiet() -> None:
    pair = kind_of("seasonal_shift+holiday", INCIDENTS)
    assert (pair.harmful, pair.cause) == (False, "benign")


def test_a_pair_needs_two_kinds_that_are_known() -> None:
    with pytest.raises(BadFault, match="two joined by"):
        inject(WORLD, Fault("latency+nonsense", WATCHED.since_us), RESCORE)
