"""The plan of an A/B test: how many labels it takes, by the champion's own variance, and until when that is."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import asdict, frozen

from charkha.monitoring.sequential.clusters import ClusterMean
from charkha.monitoring.sequential.mixtures import information_needed, sharpest_at
from charkha.spec.durations import DAY_US
from charkha.spec.rollout import Rollout

# Fewer entities with labels tell too little of the variance, or of a difference.
LEAST_ENTITIES = 100
# A mean within so many standard errors of 0 is about 0: no share of it is a difference to plan for.
SURELY = 2.0
# Of the declared alpha the comparison has this much, all guardrails of all live stages the rest.
OF_COMPARISON = 0.7


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


def plan_test(rollout: Rollout, champion: ClusterMean, span_days: float, delay_us: int) -> Plan | None:
    """Return the plan of a rollout's A/B test; None where nothing can be planned by what the champion shows.

    That is where too few of its labels have matured, or where its mean is about 0, of which `mde` is a share. champion:
    its mean over a span of so many days. The challenger is taken to vary as the champion does.
    """
    if champion.clusters < LEAST_ENTITIES or not np.isfinite(champion.variance) or is_about_zero(champion):
        return None
    alpha, share = OF_COMPARISON * rollout.alpha, rollout.share
    effect = rollout.mde * abs(champion.value)
    information = float(information_needed(effect, alpha, rollout.power))
    # A row's variance as it counts in a mean: more than its own where rows of one entity are alike.
    of_a_row = champion.variance * champion.rows
    labels = int(np.ceil(information * of_a_row / (share * (1 - share))))
    per_day = champion.rows / span_days if span_days > 0 else 0.0
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


def is_about_zero(champion: ClusterMean) -> bool:
    """Say whether a mean cannot be told from 0 by the entities that there are, enough of them for a plan."""
    return champion.clusters >= LEAST_ENTITIES and abs(champion.value) <= SURELY * np.sqrt(champion.variance)
