"""Guardrails of the live stages: tests that may be looked at as often as one likes.

All compare the challenger with the champion's answers of the same time. Pure, and vectorised: the figures may be
arrays, of as many rollouts as are simulated.

    failures    of the entities that a request failed for, the challenger's share     events
    assignment  the entities that it answered first, against its share                sequential multinomial
    latency     entities with a call slower than a bound                              events
    decisions   entities with a positive decision, more or fewer                      events, both ways
    scores      the largest distance of the distributions of the scores               band
    loss        the difference of what is compared                                    normal mixture
    slices      the same in each declared slice                                       normal mixture
    labels      entities whose matured rows have no label, more or fewer              events, both ways, mixed

All rates count entities, once each, for rows of one entity are not independent, and an entity belongs to one arm.
"""

from collections.abc import Mapping

import numpy as np
from attrs import frozen

from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.events import log_e_more, log_e_uneven, shift_at_least
from charkha.monitoring.sequential.mixtures import log_e_of_mean
from charkha.operations.rollout.plan import OF_COMPARISON
from charkha.spec.rollout import Canary, Rollout

GUARDS = ("failures", "assignment", "latency", "decisions", "scores", "loss", "slices", "labels")
# What is compared is watched for differences of about this share of the champion's.
WATCHED = 0.1

Pair = tuple[float | FloatArray, float | FloatArray]


@frozen(eq=False, kw_only=True)
class Figures:
    """What the guardrails are asked of. Pairs are the challenger's and the champion's; of one rollout, or arrays (…,).

    entities: those that were answered first by it. failed, slow, decided: how many of them ever had a request of which
    that is so. scores: counts (…, bins) of the first score of each. loss: how much worse it is by what is
    compared, with its information; slices: both (…, slices). Where too little is known the information is 0. labels: of
    the entities with matured rows, those whose first one has no label, those whose first one has, and those of which
    any has none. usual: the champion's mean, or another size of which differences are a share.
    """

    entities: Pair
    failed: Pair
    slow: Pair
    decided: Pair
    scores: tuple[FloatArray, FloatArray]
    loss: Pair
    slices: tuple[FloatArray, FloatArray]
    labels: tuple[Pair, Pair, Pair]
    usual: float | FloatArray


def alpha_of_guard(rollout: Rollout) -> float:
    """Return how often one guardrail of one live stage may stop a version that is equal to the champion."""
    return (1 - OF_COMPARISON) * rollout.alpha / (len(GUARDS) * len(rollout.shares))


def excesses(figures: Figures, limits: Canary, share: float, alpha: float) -> Mapping[str, FloatArray]:
    """Return of each guardrail by how much it is above its bar, (…,): above 0 it stops the challenger.

    In logarithms of e-values, but for the scores, whose distance is above the limit by so much. alpha: of each.
    """
    bar = -np.log(alpha)
    tau2 = np.square(WATCHED * np.asarray(figures.usual, dtype=np.float64))
    decided, others = figures.decided
    both_ways = (
        log_e_more(decided, others, share, limits.max_decision_change),
        log_e_more(others, decided, 1 - share, limits.max_decision_change),
    )
    return {
        "failures": log_e_more(*figures.failed, share, limits.max_failures) - bar,
        "assignment": log_e_uneven(*figures.entities, share) - bar,
        "latency": log_e_more(*figures.slow, share, limits.max_slowdown) - bar,
        "decisions": np.maximum(*both_ways) - np.log(2) - bar,
        "scores": shift_at_least(*figures.scores, alpha) - limits.max_score_shift,
        "loss": _worse(figures.loss[0], figures.loss[1], tau2) - bar,
        "slices": slice_excesses(figures, alpha).max(axis=-1, initial=-np.inf),
        "labels": _log_e_unlike(figures.labels, share) - bar,
    }


def _log_e_unlike(labels: tuple[Pair, Pair, Pair], share: float) -> FloatArray:
    """Return the logarithm of the e-value against labels being there as often in both arms: the mean of several.

    Where few are missing, those that are tell most; where few are there, those; and what goes missing later on, of
    entities that had one first, only the last pair tells. Each is asked both ways.
    """
    ways = [log_e_more(*pair, share) for pair in labels]
    ways += [log_e_more(others, mine, 1 - share) for mine, others in labels]
    return np.asarray(np.logaddexp.reduce(ways, axis=0) - np.log(len(ways)))


def slice_excesses(figures: Figures, alpha: float) -> FloatArray:
    """Return of each slice by how much its difference is above the bar, (…, slices); they share the alpha."""
    differences, information = figures.slices
    tau2 = np.square(WATCHED * np.asarray(figures.usual, dtype=np.float64))
    bar = -np.log(alpha / max(1, differences.shape[-1]))
    return np.asarray(_worse(differences, information, tau2[..., None]) - bar)


def _worse(difference: float | FloatArray, information: float | FloatArray, tau2: FloatArray) -> FloatArray:
    """Return the logarithm of the e-value against a difference of zero, where it is above; else none."""
    worse = (np.asarray(difference) > 0) & (np.asarray(information) > 0)
    return np.where(worse, log_e_of_mean(difference, information, tau2), -np.inf)
