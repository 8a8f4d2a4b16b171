"""A case of the little traffic, small enough to be looked at again and again."""

from drill_world import PLAN, RESCORE, START_US, traffic

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import Traffic
from charkha.spec.durations import DAY_US

HEALTHY = Span(START_US, START_US + 16 * DAY_US)
WATCHED = Span(HEALTHY.until_us, HEALTHY.until_us + 3 * DAY_US)
WORLD = traffic(per_day=400)


def case_of(seen: Traffic = WORLD, watched: Span = WATCHED) -> Case:
    """Return it with some traffic in it."""
    return Case(
        traffic=seen,
        healthy=HEALTHY,
        watched=watched,
        task="binary",
        plan=PLAN,
        registered={"v1": "b" * 64},
        rescore=RESCORE,
        segments=("city",),
    )
