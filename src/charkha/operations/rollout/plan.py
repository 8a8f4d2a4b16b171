"""The plan of an A/B test: how many labels it takes, by the variance within and between its entities."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import asdict, frozen

from charkha.monitoring.sequential.clusters import ClusterMean
from charkha.monitoring.sequential.mixtures import information_needed, sharpest_at
from charkha.operations.rollout.usual import Usual
from charkha.spec.durations import DAY_US
from charkha.spec.rollout import Rollout

# Fewer entities with labels tell too little of the variance, or of a difference.
LEAST_ENTITIES = 100
# A mean within so many standard errors of 0 is about 0: no share of it is a difference to plan for.
SURELY = 2.0
# Of the declared alpha the comparison has this much, all guardrails of all live stages the rest.
OF_COMPARISON = 0.7
# Of the variance that a difference allows, so much may stay however long the test lasts.
SATURATED = 0.95


@frozen(kw_only=True)
class Plan:
    """What an A/B test needs, written down when it begins.

    labels: of both arms, matured. information: 1 / the variance of the difference. tau2: of the mixture by which it is
    watched. loss: the champion's mean of what is compared, when it was planned; effect: the size of the difference that
    is to be found. alpha: of the comparison. days: how long it takes at the traffic of then, with the label's delay;
    None without traffic.
    """

    labels: int
    information: float
    tau2: float
    loss: float
    effect: float
    alpha: float
    power: float
    labels_per_day: float
    days: float | None

    @classmethod
    def read(cls, evidence: Mapping[str, Any]) -> "Plan | None":
        """Return the plan that a decision was written with; None where there is none."""
        written = evidence.get("plan")
        return cls(**written) if isinstance(written, dict) else None

    def written(self) -> dict[str, float | int | None]:
        """Return it as evidence."""
        return asdict(self)


def plan_test(rollout: Rollout, usual: Usual, delay_us: int) -> Plan | None:
    """Return the plan of a rollout's A/B test; None where nothing can be planned by what the champion usually shows.

    That is where too few of its labels have matured, where its mean is about 0, of which `mde` is a share, and where
    its entities are too few for the difference, whatever they bring (`least_mde`). The challenger is taken to vary as
    the champion does, and an arm's variance to be the champion's, divided by the arm's share.
    """
    champion = usual.mean
    if champion.clusters < LEAST_ENTITIES or not np.isfinite(champion.variance) or is_about_zero(champion):
        return None
    if least_mde(rollout, usual) > rollout.mde:
        return None
    alpha, share = OF_COMPARISON * rollout.alpha, rollout.share
    effect = rollout.mde * abs(champion.value)
    information = float(information_needed(effect, alpha, rollout.power))
    # The variance that the mean of both arms' rows may have, less what more rows do not take away.
    to_be = share * (1 - share) / information - usual.floor
    labels = int(np.ceil(usual.of_a_row / to_be))
    per_day = usual.per_day
    return Plan(
        labels=labels,
        information=information,
        tau2=float(sharpest_at(information, alpha)),
        loss=champion.value,
        effect=effect,
        alpha=alpha,
        power=rollout.power,
        labels_per_day=per_day,
        days=labels / per_day + delay_us / DAY_US if per_day > 0 else None,
    )


def least_mde(rollout: Rollout, usual: Usual) -> float:
    """Return the least difference, as a share of the champion's mean, that its entities can tell; 0 where any.

    Where the same entities come again, they vary however well each is known. A difference counts as out of reach from
    where 95 % of the variance that it allows stays for ever: what is nearer takes twenty times the labels and more.
    """
    needed = float(information_needed(1.0, OF_COMPARISON * rollout.alpha, rollout.power))
    allowed = SATURATED * rollout.share * (1 - rollout.share)
    return float(np.sqrt(needed * usual.floor / allowed)) / abs(usual.mean.value) if usual.floor > 0 else 0.0


def is_about_zero(champion: ClusterMean) -> bool:
    """Say whether a mean cannot be told from 0 by the entities that there are, enough of them for a plan."""
    return champion.clusters >= LEAST_ENTITIES and abs(champion.value) <= SURELY * np.sqrt(champion.variance)
