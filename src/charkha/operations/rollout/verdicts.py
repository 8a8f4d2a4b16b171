"""What an A/B test comes to: promoted, rolled back, inconclusive, or to go on. Pure and vectorised, as guardrails."""

from typing import Literal

import numpy as np
from attrs import frozen

from charkha.monitoring.sequential.arrays import FloatArray, IntArray
from charkha.monitoring.sequential.mixtures import half_width
from charkha.operations.rollout.plan import Plan

Verdict = Literal["continue", "promote", "roll back", "inconclusive"]
VERDICTS: tuple[Verdict, ...] = ("continue", "promote", "roll back", "inconclusive")


@frozen
class Sequence:
    """A difference of means, challenger less champion, with its confidence sequence; infinite where nothing is known.

    information: 1 / the variance of the difference; 0 where too few labels have matured.
    """

    value: float
    low: float
    high: float
    information: float


def sequence(difference: float, information: float, plan: Plan) -> Sequence:
    """Return a difference with its confidence sequence by a plan."""
    width = float(half_width(information, plan.tau2, plan.alpha))
    return Sequence(difference, difference - width, difference + width, information)


def verdicts(difference: FloatArray, information: FloatArray, plan: Plan, over: bool | FloatArray = False) -> IntArray:
    """Return what A/B tests of losses come to, indices of `VERDICTS`, (…,).

    The whole sequence below zero promotes, above it rolls back, at whichever look; what neither does is inconclusive
    once the planned information is there, or the time is over.
    """
    width = half_width(information, plan.tau2, plan.alpha)
    ended = (np.asarray(information) >= plan.information) | np.asarray(over, dtype=np.bool_)
    undecided = np.where(ended, 3, 0)
    found = np.where(difference + width < 0, 1, np.where(difference - width > 0, 2, undecided))
    return np.asarray(found, dtype=np.int64)


def verdict(found: Sequence, plan: Plan, *, over: bool, higher_is_better: bool = False) -> Verdict:
    """Return what one A/B test comes to. over: whether its time is. higher_is_better: of what is compared."""
    value, information = np.array(-found.value if higher_is_better else found.value), np.array(found.information)
    return VERDICTS[int(verdicts(value, information, plan, over=over))]
